package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/fiberadapter"
	"github.com/cacheaside/cacheaside/ginadapter"
)

// policy is one way to make keys, and what a handler behind it may look at.
type policy struct {
	name   string
	change func(*cacheaside.Policy)
	vary   string // what the handler sends
	search string // as No-Vary-Search

	fields    []string          // that it may read, canonical
	cookies   []string          // that it may read
	parameter func(string) bool // which of the parameters it may read; nil: all
	ordered   bool              // it may see in which order they came
	anyHost   bool              // it may not look at the host
	direct    bool              // it may not look at what a proxy says
}

var policies = []policy{
	{name: "default", change: func(*cacheaside.Policy) {}},
	{name: "KeyHeaders", change: func(c *cacheaside.Policy) { c.Key.Headers = []string{"X-Tenant", "Accept-Language"} }, fields: []string{"X-Tenant", "Accept-Language"}},
	{name: "KeyCookies", change: func(c *cacheaside.Policy) { c.Key.Cookies = []string{"role", "k"} }, cookies: []string{"role", "k"}},
	{name: "Only", change: func(c *cacheaside.Policy) { c.Key.Query = cacheaside.Only("id", "a b") }, parameter: func(n string) bool { return n == "id" || n == "a b" }},
	{name: "Except", change: func(c *cacheaside.Policy) { c.Key.Query = cacheaside.Except("id", "utm_*") }, parameter: func(n string) bool { return n != "id" && !strings.HasPrefix(n, "utm_") }},
	{name: "KeepQueryOrder", change: func(c *cacheaside.Policy) { c.Key.KeepQueryOrder = true }, ordered: true},
	{name: "KeepQueryOrder Except", change: func(c *cacheaside.Policy) { c.Key.KeepQueryOrder, c.Key.Query = true, cacheaside.Except("id") }, parameter: func(n string) bool { return n != "id" }},
	{name: "IgnoreHost", change: func(c *cacheaside.Policy) { c.Key.IgnoreHost, c.Key.Headers = true, []string{"Host"} }, fields: []string{"Host"}},
	{name: "Vary Host", change: func(c *cacheaside.Policy) { c.Key.IgnoreHost, c.Key.IgnoreForwarded = true, true }, vary: "host", fields: []string{"Host"}, anyHost: true, direct: true},
	{name: "IgnoreForwarded", change: func(c *cacheaside.Policy) { c.Key.IgnoreForwarded = true }, direct: true},
	{name: "Vary", change: func(*cacheaside.Policy) {}, vary: "x-tenant, Cookie", fields: []string{"X-Tenant", "Cookie"}, cookies: []string{"role", "k"}},
	{name: "Vary Accept", change: func(*cacheaside.Policy) {}, vary: "Accept, Accept-Language, Accept-Encoding", fields: []string{"Accept", "Accept-Language", "Accept-Encoding"}},
}

var frameworks = []string{"net/http", "chi", "gin", "echo", "fiber", "fiber with names as they are"}

// service is a server with a cache, asked over one connection in memory. In front
// of the cache each answer gets the field Seen: what a handler can see now. Behind
// it the same is the body.
type service struct {
	listener listener
	cache    *cacheaside.Cache
	conn     net.Conn
	in       *bufio.Reader
}

type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "memory" }

func (listener) Close() error   { return nil }
func (listener) Addr() net.Addr { return address{} }

var (
	services = make(map[[2]int]*service)
	mu       sync.Mutex
)

// serviceOf starts each service once.
func serviceOf(tb testing.TB, framework, pol int) *service {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	s := services[[2]int{framework, pol}]
	if s == nil {
		s = &service{listener: make(listener)}
		p := &policies[pol]
		cfg := cacheaside.Config{Store: cacheaside.Must(memory.New(4 << 20)), Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour}}
		cfg.Policy.Requests.Methods = append([]string{http.MethodHead}, methods...)
		cfg.Policy.Requests.Content.OfGet = true
		p.change(&cfg.Policy)
		s.cache = cacheaside.Must(cacheaside.New(cfg))
		serve(frameworks[framework], p, s)
		services[[2]int{framework, pol}] = s
	}
	return s
}

func serve(framework string, p *policy, s *service) {
	gin.SetMode(gin.ReleaseMode)
	header := func(h http.Header) {
		h.Set("Cache-Control", "public, max-age=3600")
		if p.vary != "" {
			h.Set("Vary", p.vary)
		}
		if p.search != "" {
			h.Set("No-Vary-Search", p.search)
		}
	}
	var h http.Handler
	switch framework {
	case "net/http":
		h = seeing(p, nethttp.New(s.cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header(w.Header())
			_, _ = io.WriteString(w, seen(p, r))
		})))
	case "chi":
		r := chi.NewRouter()
		r.Use(func(next http.Handler) http.Handler { return seeing(p, next) }, chiadapter.New(s.cache))
		for _, method := range methods {
			r.MethodFunc(method, "/*", func(w http.ResponseWriter, r *http.Request) {
				header(w.Header())
				_, _ = io.WriteString(w, seen(p, r))
			})
		}
		h = r
	case "gin":
		e := gin.New()
		see := func(c *gin.Context) string {
			out := seen(p, c.Request)
			for _, name := range p.cookies {
				v, err := c.Cookie(name)
				out += fmt.Sprintf("%q %v\n", v, err)
			}
			return out
		}
		e.Use(func(c *gin.Context) { spell(c.Request); c.Header("Seen", hex(see(c))) }, ginadapter.New(s.cache))
		e.Match(methods, "/*x", func(c *gin.Context) { header(c.Writer.Header()); c.String(http.StatusOK, "%s", see(c)) })
		h = e
	case "echo":
		e := echo.New()
		see := func(c echo.Context) string {
			out := seen(p, c.Request())
			for _, name := range p.cookies {
				if v, err := c.Cookie(name); err == nil {
					out += fmt.Sprintf("%q\n", v.Value)
				}
			}
			if !p.direct {
				out += c.Scheme()
			}
			return out
		}
		e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				spell(c.Request())
				c.Response().Header().Set("Seen", hex(see(c)))
				return next(c)
			}
		}, echoadapter.New(s.cache))
		e.Match(methods, "/*", func(c echo.Context) error { header(c.Response().Header()); return c.String(http.StatusOK, see(c)) })
		h = e
	default:
		app := fiber.New(fiber.Config{DisableStartupMessage: true, DisableHeaderNormalizing: framework != "fiber", ReadBufferSize: 1 << 16, RequestMethods: append([]string{"QUERY"}, fiber.DefaultMethods...)})
		app.Use(func(c *fiber.Ctx) error { c.Set("Seen", hex(seenByFiber(p, c))); return c.Next() }, fiberadapter.New(s.cache))
		app.All("/*", func(c *fiber.Ctx) error {
			c.Set("Cache-Control", "public, max-age=3600")
			if p.vary != "" {
				c.Set("Vary", p.vary)
			}
			if p.search != "" {
				c.Set("No-Vary-Search", p.search)
			}
			return c.SendString(seenByFiber(p, c))
		})
		go func() { _ = app.Listener(s.listener) }()
		return
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(s.listener) }()
}

func hex(s string) string { return strconv.QuoteToASCII(s) }

func seeing(p *policy, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spell(r)
		w.Header().Set("Seen", hex(seen(p, r)))
		next.ServeHTTP(w, r)
	})
}

// spell is middleware that puts fields into the map under names that net/http would
// have changed: "Spelled: x-tenant=a".
func spell(r *http.Request) {
	for _, line := range r.Header["Spelled"] {
		if name, value, ok := strings.Cut(line, "="); ok {
			r.Header[name] = append(r.Header[name], value)
		}
	}
}

// ask sends a request and gives what the cache's front saw, what was answered, and
// whether that came from the cache. Where the server refuses the request, ok is
// false.
func (s *service) ask(request string) (saw, body string, hit, ok bool) {
	if s.conn == nil {
		client, server := net.Pipe()
		s.listener <- server
		s.conn, s.in = client, bufio.NewReader(client)
	}
	res, body, err := s.exchange(request)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Seen") == "" || res.Close {
		_ = s.conn.Close()
		s.conn = nil
		if err != nil || res.Header.Get("Seen") == "" || res.StatusCode != http.StatusOK {
			return "", "", false, false
		}
	}
	saw, err = strconv.Unquote(res.Header.Get("Seen"))
	return saw, body, strings.Contains(res.Header.Get("Cache-Status"), "; hit"), err == nil
}

func (s *service) exchange(request string) (*http.Response, string, error) {
	_ = s.conn.SetDeadline(time.Now().Add(5 * time.Second))
	done := make(chan error, 1)
	go func() { // a server may answer before it has read all
		_, err := io.WriteString(s.conn, request)
		done <- err
	}()
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		_ = s.conn.Close()
		return nil, "", errors.Join(err, <-done)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		_ = s.conn.Close()
	}
	return res, string(body), errors.Join(err, res.Body.Close(), ignoring(res.StatusCode, <-done))
}

func ignoring(status int, err error) error {
	if status != http.StatusOK {
		return nil
	}
	return err
}

// forwarded are the fields by which frameworks and handlers let themselves be told
// how the client came.
var forwarded = []string{
	"Front-End-Https", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl",
	"X-Forwarded-Uri", "X-Host", "X-Http-Host-Override", "X-Original-Host", "X-Scheme", "X-Url-Scheme",
}

// seen is all that a handler of net/http can see of what the policy selects by.
func seen(p *policy, r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "path %q %q\n", r.URL.Path, r.URL.EscapedPath())
	if !p.anyHost {
		fmt.Fprintf(&b, "host %q\n", lower(r.Host))
	}
	values, _ := url.ParseQuery(r.URL.RawQuery)
	seeQuery(&b, p, values)
	semicolons, _ := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "&")) // http.AllowQuerySemicolons
	seeQuery(&b, p, semicolons)
	if p.ordered {
		fmt.Fprintf(&b, "query %q\n", r.URL.RawQuery)
	}
	for _, name := range p.cookies {
		for _, c := range r.CookiesNamed(name) {
			fmt.Fprintf(&b, "cookie %s=%q %v\n", name, c.Value, c.Quoted)
		}
	}
	seeContent(&b, r)
	names := p.fields
	if r.Method != http.MethodGet || r.ContentLength != 0 {
		names = slices.Concat(names, ofContent)
	}
	if !p.direct {
		names = slices.Concat(names, forwarded)
		for _, line := range r.Header["Forwarded"] {
			if said := seeForwarded(line); said != "" {
				fmt.Fprintf(&b, "Forwarded %q\n", said)
			}
		}
	}
	for _, name := range names {
		if name == "Host" {
			fmt.Fprintf(&b, "Host %q\n", r.Host)
			continue
		}
		fmt.Fprintf(&b, "%s %q\n", name, seeValues(name, r.Header[name]))
		var others []string
		for as := range r.Header {
			if as != name && lower(as) == lower(name) {
				others = append(others, as)
			}
		}
		slices.Sort(others)
		for _, as := range others {
			fmt.Fprintf(&b, "%s %q\n", as, seeValues(name, r.Header[as]))
		}
	}
	return b.String()
}

// ofContent are fields that describe the content.
var ofContent = []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Digest"}

// seeContent reads the content, and leaves it there.
func seeContent(b *strings.Builder, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(content))
	fmt.Fprintf(b, "%s %d %q %v %v\n", r.Method, r.ContentLength, content, err, r.TransferEncoding)
	form := r.Clone(r.Context())
	form.Body = io.NopCloser(bytes.NewReader(content))
	err = form.ParseMultipartForm(1 << 16)
	fmt.Fprintf(b, "form %v %v\n", form.PostForm, err)
}

func seeQuery(b *strings.Builder, p *policy, values url.Values) {
	var names []string
	for name := range values {
		if p.parameter == nil || p.parameter(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(b, "parameter %q=%q\n", name, values[name])
	}
}

// seenByFiber is the same by the means of Fiber.
func seenByFiber(p *policy, c *fiber.Ctx) string {
	var b strings.Builder
	h := &c.Request().Header
	fmt.Fprintf(&b, "path %q\n", c.Path())
	if !p.anyHost {
		fmt.Fprintf(&b, "host %q %q\n", c.Request().URI().Host(), lower(c.Get("Host")))
	}
	values := url.Values{}
	c.Request().URI().QueryArgs().VisitAll(func(name, value []byte) { values.Add(string(name), string(value)) })
	seeQuery(&b, p, values)
	if p.ordered {
		fmt.Fprintf(&b, "query %q\n", c.Request().URI().QueryString())
	}
	for _, name := range p.cookies {
		fmt.Fprintf(&b, "cookie %s=%q\n", name, c.Cookies(name))
		h.VisitAllCookie(func(n, v []byte) {
			if string(n) == name {
				fmt.Fprintf(&b, "cookie %s=%q\n", name, v)
			}
		})
		wrapped := http.Request{Header: http.Header{"Cookie": {string(h.Peek("Cookie"))}}} // Fiber's adaptor for net/http
		for _, c := range wrapped.CookiesNamed(name) {
			fmt.Fprintf(&b, "cookie %s=%q of net/http\n", name, c.Value)
		}
	}
	names := p.fields
	if n := h.ContentLength(); c.Method() != http.MethodGet || n != 0 && n != -2 {
		names = slices.Concat(names, ofContent)
		form, err := c.MultipartForm()
		fmt.Fprintf(&b, "%s %q %q %q %d\n", c.Method(), c.Body(), c.Request().Body(), c.Request().PostArgs().QueryString(), n)
		if err == nil {
			fmt.Fprintf(&b, "form %v\n", form.Value)
		}
	}
	if !p.direct {
		names = slices.Concat(names, forwarded)
		fmt.Fprintf(&b, "%q %q %q %v\n", c.Protocol(), c.Hostname(), c.BaseURL(), c.Secure())
	}
	for _, name := range names {
		if name == "Host" {
			fmt.Fprintf(&b, "Host %q\n", lower(string(h.Host())))
			continue
		}
		fmt.Fprintf(&b, "%s %q %q\n", name, seeValues(name, []string{c.Get(name)}), seeValues(name, []string{c.Get(lower(name))}))
		h.VisitAll(func(as, value []byte) {
			if lower(string(as)) == lower(name) {
				fmt.Fprintf(&b, "%s %q\n", as, seeValues(name, []string{string(value)}))
			}
		})
	}
	return b.String()
}

// seeForwarded is what a parser takes for the host and the scheme that does not
// look too closely.
func seeForwarded(line string) string {
	var out []string
	for element := range strings.SplitSeq(line, ",") {
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name = strings.TrimSpace(name); strings.EqualFold(name, "host") || strings.EqualFold(name, "proto") {
				out = append(out, name, value)
			}
		}
		out = append(out, ",")
	}
	if len(out) == strings.Count(line, ",")+1 {
		return "" // nothing is said
	}
	return strings.Join(out, "\x00")
}

// seeValues leaves out what HTTP gives no meaning: the rest of such a value is what
// a handler may go by.
func seeValues(name string, lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		switch name {
		case "Accept":
			out[i] = strings.NewReplacer(" ", "", "\t", "").Replace(line)
		case "Accept-Encoding":
			out[i] = seeCodings(line)
		case "Accept-Language":
			out[i] = strings.Join(seeLanguages(line), ",")
		}
	}
	return out
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

type weighted struct {
	name   string
	weight float64
}

// weights reads a list of weighted names. What is none is nil.
func weights(line string) (out []weighted) {
	for member := range strings.SplitSeq(line, ",") {
		name, param, ok := strings.Cut(member, ";")
		w := weighted{lower(strings.Trim(name, " \t")), 1}
		if w.name == "" && !ok {
			continue
		}
		if ok {
			q, found := strings.CutPrefix(lower(strings.Trim(param, " \t")), "q=")
			var err error
			if w.weight, err = strconv.ParseFloat(q, 64); err != nil || !found {
				return nil
			}
		}
		out = append(out, w)
	}
	return out
}

// seeLanguages are the languages in the order in which a handler tries them.
func seeLanguages(line string) (out []string) {
	list := weights(line)
	slices.SortStableFunc(list, func(a, b weighted) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return 0
	})
	for _, w := range list {
		if w.weight > 0 {
			out = append(out, w.name)
		}
	}
	return out
}

// seeCodings are those of a few codings that may be sent.
func seeCodings(line string) string {
	list := weights(line)
	var out []string
	for _, coding := range []string{"gzip", "br", "k", "identity"} {
		star, found := -1.0, -1.0
		for _, w := range list {
			switch w.name {
			case "*":
				star = w.weight
			case coding, "x-" + coding:
				if w.name == coding || coding == "gzip" {
					found = max(found, w.weight)
				}
			}
		}
		if found > 0 || found < 0 && star > 0 || found < 0 && star < 0 && coding == "identity" {
			out = append(out, coding)
		}
	}
	return strings.Join(out, ",")
}
