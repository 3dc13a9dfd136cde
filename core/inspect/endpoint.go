package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/bearer"
	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/internal/strictjson"
)

// MaxBody is the longest body that an [Endpoint] reads, in bytes.
const MaxBody = cacheaside.MaxPurgeBody

// patience bounds what the store is asked for a page. Purges have their own.
const patience = 5 * time.Second

// Endpoint is the inspector of a cache: its page and its API. Adapters make a handler of
// it (their function NewInspect). It is mounted with everything below a path, such as
// /cache/, outside of the cache and of what limits requests by their path. It may be
// called concurrently.
type Endpoint struct {
	engine   engine
	recorder *Recorder
	guard    *guard
	host     string
	sharing  bool
	slot     atomic.Int32 // of its snapshot in the store
}

// Option changes what [New] makes.
type Option func(*Endpoint)

// WithInstance gives the process the name under which the page shows it. Without it, it
// is the name of the host.
func WithInstance(name string) Option { return func(e *Endpoint) { e.host = name } }

// New returns an endpoint that shows cache, and what recorder has seen of it: the one
// that is, alone or by [observe.All], the Observer of its Config. It fails where access lets
// nobody in, or everybody.
func New(cache *cacheaside.Cache, recorder *Recorder, access Access, opts ...Option) (*Endpoint, error) {
	if cache == nil {
		return nil, errors.New("inspect: the cache is nil: make one with cacheaside.New")
	}
	eng, err := engineOf(cache)
	if err != nil {
		return nil, err
	}
	return newEndpoint(eng, recorder, access, opts...)
}

func newEndpoint(eng engine, recorder *Recorder, access Access, opts ...Option) (*Endpoint, error) {
	if recorder == nil {
		return nil, errors.New("inspect: the recorder is nil: make one with NewRecorder, and give it to the cache as Config.Observer")
	}
	g, err := newGuard(access)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{engine: eng, recorder: recorder, guard: g, host: hostname()}
	for _, o := range opts {
		o(e)
	}
	if e.sharing {
		recorder.share(e.publish)
	}
	return e, nil
}

// Serve deals with one request. The body, which the adapter reads up to one byte more
// than [MaxBody], is nil where there is none.
func (e *Endpoint) Serve(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response {
	path := req.Path
	if path == "" && req.Target != "" { // http.StripPrefix has taken all of it
		path, _, _ = strings.Cut(req.Target, "?")
	}
	name, redirect := within(path)
	query, err := url.ParseQuery(req.RawQuery)
	if err != nil {
		return failure(http.StatusBadRequest, "the query makes no sense")
	}
	for q := range query {
		if strings.Contains(strings.ToLower(q), "token") {
			return failure(http.StatusBadRequest, "a token in a URL stays in histories and logs: replace that token by a new one, "+
				"and send it as Authorization: Bearer TOKEN, or open the page with #token=TOKEN, which is sent to nobody")
		}
	}
	api, ok := strings.CutPrefix(name, "api/")
	if !ok {
		return shell(req, name, redirect)
	}
	return e.serveAPI(ctx, api, req, query, body)
}

// calls of the API, by name.
var calls = map[string]struct {
	post  bool
	needs level
	takes []string // parameters of the query
	do    func(*Endpoint, call) (any, error)
}{
	"status":    {needs: reading, do: (*Endpoint).status},
	"instances": {needs: reading, do: (*Endpoint).instances},
	"charts":    {needs: reading, do: (*Endpoint).charts, takes: []string{"range"}},
	"routes":    {needs: reading, do: (*Endpoint).routes},
	"reasons":   {needs: reading, do: (*Endpoint).reasons},
	"top":       {needs: reading, do: (*Endpoint).top, takes: []string{"by", "period", "limit"}},
	"tail":      {needs: reading, do: (*Endpoint).tail, takes: []string{"after", "limit", "kind", "result", "cause", "reason", "outcome", "route", "key"}},
	"config":    {needs: reading, do: (*Endpoint).config},
	"lookup":    {needs: reading, do: (*Endpoint).lookup, post: true},
	"explain":   {needs: reading, do: (*Endpoint).explain, post: true},
	"preview":   {needs: reading, do: (*Endpoint).preview, post: true},
	"purge":     {needs: everything, do: (*Endpoint).purge, post: true},
}

// call is a request to the API that is allowed.
type call struct {
	ctx    context.Context //nolint:containedctx // a call is an argument
	req    *adapter.Request
	access level
	query  url.Values
	body   []byte
}

func (e *Endpoint) serveAPI(ctx context.Context, name string, req *adapter.Request, query url.Values, body []byte) *adapter.Response {
	access, problem := e.guard.allows(ctx, req)
	if name == "session" {
		if req.Method != http.MethodGet {
			return wrongMethod("GET")
		}
		if _, sent := bearer.Sent(req.Header); !sent && sameOrigin(req) {
			problem = "" // nobody has tried yet
		}
		return answer(http.StatusOK, Session{Access: access.String(), Token: e.guard.tokens(), Problem: problem})
	}
	if access == nothing {
		r := failure(http.StatusUnauthorized, problem)
		r.Header = append(r.Header, adapter.Field{Name: "Www-Authenticate", Value: `Bearer realm="inspect"`})
		return r
	}
	c, ok := calls[name]
	switch {
	case !ok:
		return failure(http.StatusNotFound, "the API has nothing of that name")
	case c.post && req.Method != http.MethodPost:
		return wrongMethod("POST")
	case !c.post && req.Method != http.MethodGet && req.Method != http.MethodHead:
		return wrongMethod("GET, HEAD")
	case access < c.needs:
		return failure(http.StatusForbidden, "this token may only read: use the one that may purge")
	}
	for q, values := range query {
		if !slices.Contains(c.takes, q) || len(values) != 1 {
			return failure(http.StatusBadRequest, fmt.Sprintf("%q in the query: there is no such parameter, or it is there twice", redact.Clean(q, 40)))
		}
	}
	if c.post {
		if t, _, err := mime.ParseMediaType(first(req.Header.Values("Content-Type"))); err != nil || t != "application/json" {
			return failure(http.StatusUnsupportedMediaType, "send JSON, with Content-Type: application/json")
		}
		if len(body) > MaxBody {
			return failure(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body exceeds %d bytes", MaxBody))
		}
	}
	v, err := c.do(e, call{ctx, req, access, query, body})
	if err != nil {
		return failed(err)
	}
	if r, ok := v.(*adapter.Response); ok {
		return r
	}
	return answer(http.StatusOK, v)
}

// requestError is what is wrong with a request.
type requestError struct{ error }

var errForbidden = errors.New("this token may only read: a request that is sent runs a handler, which needs the token that may purge")

// failed is the answer where something has gone wrong. What the store says is no text for
// clients, as it may name what they do not know.
func failed(err error) *adapter.Response {
	var bad requestError
	switch {
	case errors.Is(err, cacheaside.ErrCannotPurge):
		return failure(http.StatusNotImplemented, redact.Text(err.Error(), 300))
	case errors.As(err, &bad), errors.Is(err, errAsk):
		return failure(http.StatusBadRequest, redact.Text(err.Error(), 300))
	case errors.Is(err, errForbidden):
		return failure(http.StatusForbidden, err.Error())
	case errors.Is(err, errCannot):
		return failure(http.StatusNotImplemented, redact.Text(err.Error(), 300))
	case errors.Is(err, context.DeadlineExceeded):
		return failure(http.StatusServiceUnavailable, "the store has not answered in time: repeat")
	}
	return failure(http.StatusServiceUnavailable, "the store has failed: "+redact.Text(err.Error(), 200)+": repeat")
}

func (e *Endpoint) status(c call) (any, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	s := Status{Access: c.access.String()}
	e.recorder.status(&s)
	s.Instance.Host = redact.Clean(e.host, 100)
	e.engine.status(ctx, &s)
	s.Server.Error, s.Problem = redact.Text(s.Server.Error, 200), redact.Text(s.Problem, 200)
	s.Server.Address = redact.Clean(redact.URL(s.Server.Address), 200)
	s.Server.Name, s.Server.Version = redact.Clean(s.Server.Name, 60), redact.Clean(s.Server.Version, 60)
	return s, nil
}

func (e *Endpoint) charts(c call) (any, error) {
	span := c.query.Get("range")
	if span == "" {
		span = spans[0].name
	}
	for i := range spans {
		if spans[i].name == span {
			return e.recorder.charts(i), nil
		}
	}
	return nil, requestError{errors.New("range: use 15m, 1h or 24h")}
}

func (e *Endpoint) routes(call) (any, error)  { return e.recorder.routeTable(), nil }
func (e *Endpoint) reasons(call) (any, error) { return e.recorder.reasonTable(), nil }

func (e *Endpoint) top(c call) (any, error) {
	limit, err := number(c.query, "limit", 50, 1, maxTop)
	if err != nil {
		return nil, err
	}
	by, err := oneOf(c.query, "by", topNames[:]...)
	if err != nil {
		return nil, err
	}
	period, err := oneOf(c.query, "period", "current", "previous")
	if err != nil {
		return nil, err
	}
	return e.recorder.top(slices.Index(topNames[:], by), period == "previous", int(limit)), nil
}

func (e *Endpoint) tail(c call) (any, error) {
	q := tailQuery{
		kind: c.query.Get("kind"), result: c.query.Get("result"), cause: c.query.Get("cause"), reason: c.query.Get("reason"),
		outcome: c.query.Get("outcome"), route: c.query.Get("route"), key: c.query.Get("key"),
	}
	limit, err := number(c.query, "limit", 200, 1, 500)
	if err != nil {
		return nil, err
	}
	q.limit = int(limit)
	if q.after, err = number(c.query, "after", 0, 0, 1<<63); err != nil {
		return nil, err
	}
	return e.recorder.tailPage(q), nil
}

func (e *Endpoint) config(call) (any, error) {
	config := e.engine.config()
	cleanSettings(config.Cache)
	for i := range config.Handles {
		h := &config.Handles[i]
		h.Name = redact.Clean(h.Name, 100)
		cleanSettings(h.Settings)
	}
	return config, nil
}

func cleanSettings(settings []Setting) {
	for i := range settings {
		settings[i].Name, settings[i].Value = redact.Clean(settings[i].Name, 100), redact.Text(settings[i].Value, 2000)
	}
}

func (e *Endpoint) lookup(c call) (any, error) {
	a, err := ask(c.body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	l, err := e.engine.lookup(ctx, a)
	if err != nil {
		return nil, err
	}
	redactLookup(&l)
	return l, nil
}

func (e *Endpoint) explain(c call) (any, error) {
	a, err := ask(c.body)
	if err != nil {
		return nil, err
	}
	if a.Send && c.access < everything {
		return nil, errForbidden
	}
	ctx, cancel := context.WithTimeout(c.ctx, explainPatience)
	defer cancel()
	x, err := e.engine.explain(ctx, a)
	if err != nil {
		return nil, err
	}
	redactExplanation(&x)
	return x, nil
}

// explainPatience is longer, because a request that is sent runs a handler.
const explainPatience = 30 * time.Second

func (e *Endpoint) preview(c call) (any, error) {
	var p cacheaside.Purge
	err := decode(c.body, map[string]any{"tags": &p.Tags, "urls": &p.URLs, "prefixes": &p.Prefixes, "all": &p.All, "soft": &p.Soft})
	if err != nil {
		return nil, err
	}
	targets, err := e.engine.preview(p)
	if errors.Is(err, cacheaside.ErrCannotPurge) {
		return nil, err
	}
	if err != nil {
		return nil, requestError{err}
	}
	// Who previews has typed the targets, query and all: nothing of them is a secret.
	for i := range targets {
		t := &targets[i]
		t.Text = redact.Clean(t.Text, 8<<10)
		for j := range t.Reaches {
			t.Reaches[j] = redact.Clean(t.Reaches[j], 8<<10)
		}
	}
	return Preview{Targets: targets, Soft: p.Soft, Confirm: confirmation(targets)}, nil
}

// confirmation is what is typed before a purge.
func confirmation(targets []Target) string {
	for _, t := range targets {
		if t.Kind == "all" {
			return "everything"
		}
	}
	if len(targets) == 1 {
		return targets[0].Text
	}
	return fmt.Sprintf("%d targets", len(targets))
}

func (e *Endpoint) purge(c call) (any, error) {
	r := e.engine.purge(c.ctx, c.req, c.body)
	return respond(r.Status, "application/json", r.Body), nil
}

// ask reads an Ask.
func ask(body []byte) (a Ask, err error) {
	if err = decode(body, map[string]any{"url": &a.URL, "method": &a.Method, "header": &a.Header, "send": &a.Send}); err != nil {
		return a, err
	}
	if a.Method == "" {
		a.Method = http.MethodGet
	}
	u, err := url.Parse(a.URL)
	switch {
	case a.Method != http.MethodGet && a.Method != http.MethodHead:
		return a, requestError{errors.New("method: use GET or HEAD")}
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return a, requestError{errors.New("url: use an absolute one, such as https://example.com/path")}
	case u.User != nil:
		return a, requestError{errors.New("url: leave user and password out")}
	case len(a.Header) > 64:
		return a, requestError{errors.New("header: 64 fields are enough")}
	}
	for _, f := range a.Header {
		if !token(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") {
			return a, requestError{errors.New("header: that is no field")}
		}
	}
	return a, nil
}

// token reports whether s can be the name of a field (RFC 9110 section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// decode reads the body of a request.
func decode(body []byte, members map[string]any) error {
	if err := strictjson.Object(body, members); err != nil {
		return requestError{err}
	}
	return nil
}

func number(query url.Values, name string, otherwise, least, most uint64) (uint64, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, requestError{fmt.Errorf("%s: use a number from %d to %d", name, least, most)}
	}
	return n, nil
}

// oneOf is the value of a parameter; the first one if there is none.
func oneOf(query url.Values, name string, values ...string) (string, error) {
	text := query.Get(name)
	if text == "" {
		return values[0], nil
	}
	if !slices.Contains(values, text) {
		return "", requestError{fmt.Errorf("%s: use %s", name, strings.Join(values, ", "))}
	}
	return text, nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func answer(status int, v any) *adapter.Response {
	body, err := json.Marshal(v)
	if err != nil { // a number that is none
		return failure(http.StatusInternalServerError, "the answer cannot be written")
	}
	return respond(status, "application/json", append(body, '\n'))
}

func failure(status int, message string) *adapter.Response {
	return answer(status, struct {
		Error string `json:"error"`
	}{message})
}

func wrongMethod(allow string) *adapter.Response {
	r := failure(http.StatusMethodNotAllowed, "use "+allow)
	r.Header = append(r.Header, adapter.Field{Name: "Allow", Value: allow})
	return r
}
