package coretest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// The inspector, mounted by the means of the framework.
var inspectCases = []testCase{
	{name: "inspector", run: testInspector},
	{name: "explanations", run: testExplanations},
	{name: "NewInspect", run: testNewInspect, once: true},
}

// InspectPath is below which an [App] has its handler of NewInspect, for GET and POST.
const InspectPath = "/inspect/"

// Inspector is what NewInspect is given.
type Inspector struct {
	Recorder *inspect.Recorder
	Access   inspect.Access
}

const (
	inspectToken = "an-inspector-that-may-all"
	readingToken = "an-inspector-that-may-read"
)

func newInspector(c *run) (*Inspector, func(*cacheaside.Config)) {
	i := &Inspector{inspect.NewRecorder(c.Clock.Now), inspect.Access{Token: inspectToken, ReadToken: readingToken}}
	return i, func(cfg *cacheaside.Config) { cfg.Observer = i.Recorder }
}

// asked is an answer of the API, decoded into v.
func (s *site) asked(v any, token, name, body string) int {
	method := http.MethodGet
	fields := []string{"Authorization: Bearer " + token}
	if body != "" {
		method = http.MethodPost
		fields = append(fields, "Content-Type: application/json")
	}
	r := s.Do(method, InspectPath+"api/"+name, body, fields...)
	if v != nil && r.Status == http.StatusOK {
		if err := json.Unmarshal([]byte(r.Body), v); err != nil {
			s.c.Errorf("%s: %v in %.200q", name, err, r.Body)
		}
	}
	return r.Status
}

func testInspector(c *run) {
	inspector, observed := newInspector(c)
	cache := c.Cache(observed, func(cfg *cacheaside.Config) { cfg.Policy.Name = "pages" })
	s := c.Site(App{Global: cache, Inspect: inspector, Routes: []Route{
		{Path: "/x", Handler: func(x Ctx) error {
			x.SetHeader("Cache-Tag", "news")
			return x.Send(200, plain, []byte("page"))
		}},
		{Path: "/vary", Handler: func(x Ctx) error {
			x.SetHeader("Vary", "X-Kind")
			return x.Send(200, plain, []byte(x.Header("X-Kind")))
		}},
	}})
	page := s.Get(InspectPath)
	if page.Status != 200 || !strings.Contains(page.Body, "<script") || !strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src 'self'") {
		c.Errorf("the page is %d %.100q with the policy %q", page.Status, page.Body, page.Header.Get("Content-Security-Policy"))
	}
	if r := s.Get(InspectPath + "inspect.js"); r.Status != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/javascript") {
		c.Errorf("the script is %d %q", r.Status, r.Header.Get("Content-Type"))
	}
	if got := s.asked(nil, "a-token-that-is-wrong", "status", ""); got != 401 {
		c.Errorf("status %d with a wrong token", got)
	}
	s.Get("/x").Miss()
	s.Get("/vary", "X-Kind: a").Miss()
	c.flush(cache)
	s.Get("/vary", "X-Kind: b")
	c.flush(cache)
	s.Get("/x").Hit()

	var status inspect.Status
	c.Eventually("two requests are counted", func() bool {
		return s.asked(&status, readingToken, "status", "") == 200 && status.Recent.Results["hit"] == 1
	})
	nameless := c.server != nil && !storetest.HasServer() // what stands in for one does not say what it is
	if status.Access != "read" || status.Server.Name == "" && !nameless || status.Server.InProcess != (c.server == nil) || status.Namespace != c.namespace {
		c.Errorf("status %+v", status)
	}
	var routes inspect.Routes
	if s.asked(&routes, readingToken, "routes", ""); len(routes.Routes) < 2 {
		c.Errorf("routes %+v", routes)
	}
	var config inspect.Config
	if s.asked(&config, readingToken, "config", ""); len(config.Handles) != 1 || config.Handles[0].Name != "pages" || len(config.Handles[0].Settings) < 20 {
		c.Errorf("configuration %+v", config)
	}

	c.Clock.Advance(20 * time.Second)
	look := func(path, header string) inspect.Found {
		var l inspect.Lookup
		if got := s.asked(&l, readingToken, "lookup", `{"url": "http://example.test`+path+`"`+header+`}`); got != 200 || len(l.Found) != 1 {
			c.Fatalf("looking %s up: %d %+v", path, got, l)
		}
		return l.Found[0]
	}
	f := look("/x", "")
	if f.Result != "hit" || len(f.Entries) != 1 || f.Entries[0].Age != 20 || f.Entries[0].TTL != 40 || f.Entries[0].BodyBytes != 4 ||
		len(f.Entries[0].Tags) != 1 || f.Entries[0].Tags[0].Name != "news" || f.Entries[0].Tags[0].State != "valid" {
		c.Errorf("/x is %+v", f)
	}
	if f := look("/vary", `, "header": [{"name": "X-Kind", "value": "a"}]`); f.Result != "hit" || len(f.Entries) != 2 || len(f.Vary) != 1 {
		c.Errorf("/vary for a is %+v", f)
	}
	if f := look("/vary", ""); f.Result != "miss" || f.Cause != "vary" {
		c.Errorf("/vary for nothing is %+v", f)
	}
	if f := look("/other", ""); f.Result != "miss" || f.Cause != "cold" || len(f.Entries) != 0 {
		c.Errorf("/other is %+v", f)
	}
	var preview inspect.Preview
	if got := s.asked(&preview, readingToken, "preview", `{"tags": ["news"]}`); got != 200 || preview.Confirm != "news" {
		c.Errorf("preview: %d %+v", got, preview)
	}
	if got := s.asked(nil, inspectToken, "preview", `{"urls": ["nowhere"]}`); got != 400 {
		c.Errorf("preview of nonsense: %d", got)
	}
	if got := s.asked(nil, readingToken, "purge", `{"tags": ["news"]}`); got != 403 {
		c.Errorf("purging with the token that may read: %d", got)
	}
	if got := s.asked(nil, inspectToken, "purge", `{"tags": ["news"]}`); got != 200 {
		c.Errorf("purging: %d", got)
	}
	if f := look("/x", ""); f.Result != "miss" || f.Cause != "purged" || f.Entries[0].Tags[0].State != "purged" {
		c.Errorf("/x after the purge is %+v", f)
	}
	s.Handled("/x", 1)
	s.Get("/x").Miss()
}

func testExplanations(c *run) {
	inspector, observed := newInspector(c)
	cache := c.Cache(observed)
	s := c.Site(App{Global: cache, Inspect: inspector,
		Outer: []Middleware{func(x Ctx, next func() error) error {
			if x.Header("X-Forbidden") != "" {
				return x.Send(403, plain, []byte("not you"))
			}
			return next()
		}},
		Routes: []Route{
			{Path: "/x", Handler: func(x Ctx) error { return x.Send(200, plain, []byte("page")) }},
			{Path: "/mine", Handler: func(x Ctx) error {
				x.SetHeader("Cache-Control", "private")
				return x.Send(200, plain, []byte("yours"))
			}},
			{Path: "/part", Handler: (&file{body: tenDigits, etag: `"a"`}).handle},
			{Path: "/panics", Handler: func(Ctx) error { panic("inside") }},
		},
	})
	explain := func(path, more string) (x inspect.Explanation) {
		if got := s.asked(&x, inspectToken, "explain", `{"url": "http://example.test`+path+`"`+more+`}`); got != 200 {
			c.Fatalf("explaining %s: %d", path, got)
		}
		return x
	}
	s.Get("/mine") // which shows how a request is sent
	if x := explain("/x", ""); x.Result != "miss" || x.Cause != "cold" || x.Sent || len(x.Steps) == 0 || !strings.HasSuffix(x.Route, "/x") {
		c.Errorf("/x, of which nothing is stored: %+v", x)
	}
	s.Handled("/x", 0)
	s.Get("/x").Miss()
	c.flush(cache)
	if x := explain("/x", ""); x.Result != "hit" {
		c.Errorf("/x: %+v", x)
	}
	if x := explain("/x", `, "header": [{"name": "Cache-Control", "value": "no-cache"}]`); x.Result != "miss" || x.Cause != "request" {
		c.Errorf("/x with no-cache: %+v", x)
	}
	if x := explain("/x", `, "header": [{"name": "X-Forbidden", "value": "1"}]`); x.Result != "bypass" || x.Status != 403 {
		c.Errorf("/x where it is forbidden: %+v", x)
	}
	s.Get("/part", "Range: bytes=0-4").Stored()
	if x := explain("/part", ""); x.Result != "miss" || x.Cause != "partial" || !strings.Contains(fmt.Sprint(x.Steps), "in parts: bytes 0-4 of 10") {
		c.Errorf("/part: %+v", x)
	}
	if x := explain("/part", `, "header": [{"name": "Range", "value": "bytes=1-2"}]`); x.Result != "hit" {
		c.Errorf("a range of /part: %+v", x)
	}
	s.Handled("/part", 1)
	s.Handled("/x", 1)
	if got := s.asked(nil, readingToken, "explain", `{"url": "http://example.test/mine", "send": true}`); got != 403 {
		c.Errorf("sending with the token that may read: %d", got)
	}
	if x := explain("/mine", `, "send": true`); x.Result != "miss" || x.Reason != "private" || !x.Sent || x.Status != 200 || x.Remedy == "" {
		c.Errorf("/mine, sent: %+v", x)
	}
	s.Handled("/mine", 2)
	var dry atomic.Int64
	dry.Store(int64(cache.Stats().Misses))
	for i := range 3 {
		explain("/other/"+strconv.Itoa(i), "")
	}
	if n := int64(cache.Stats().Misses); n != dry.Load() {
		c.Errorf("explanations count as %d misses", n-dry.Load())
	}
	var status inspect.Status
	if s.asked(&status, inspectToken, "status", ""); status.Recent.Results["error"] != 0 {
		c.Errorf("explanations are told of: %+v", status.Recent)
	}
}

func testNewInspect(c *run) {
	inspector, observed := newInspector(c)
	cache := c.Cache(observed)
	for _, access := range []inspect.Access{{}, {Token: "short"}} {
		if err := c.fw.NewInspect(cache, inspector.Recorder, access); err == nil || !strings.Contains(err.Error(), "Access") {
			c.Errorf("NewInspect takes the token %q: %v", access.Token, err)
		}
	}
	if err := c.fw.NewInspect(nil, inspector.Recorder, inspector.Access); err == nil || !strings.Contains(err.Error(), "NewInspect") {
		c.Errorf("NewInspect takes no cache: %v", err)
	}
	if err := c.fw.NewInspect(cache, nil, inspector.Access); err == nil {
		c.Errorf("NewInspect takes no recorder")
	}
}
