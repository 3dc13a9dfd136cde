package coretest

import (
	"net/http"
	"strings"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Requests with content: the content is part of the key, and the handler gets all of it.
var contentCases = []testCase{
	{name: "content: keyed", run: testContentKeyed},
}

// withContent answers requests with content at /x.
var withContent = []string{http.MethodGet, http.MethodHead, "QUERY", http.MethodPost}

// keyed makes a cache answer all requests with content.
func keyed(cfg *cacheaside.Config) {
	cfg.Policy.Requests = cacheaside.RequestPolicy{
		Methods: withContent, Content: cacheaside.ContentPolicy{OfGet: true},
	}
}

// echoed answers with what it sees of its content.
func echoed(x Ctx) error {
	b, err := x.Body()
	if err != nil {
		return x.Error(http.StatusBadRequest, "unread: "+err.Error())
	}
	return x.Send(200, plain, []byte(strings.Join([]string{x.Method(), x.Header("Content-Type"), x.Header("Content-Encoding"), string(b)}, "|")))
}

// contentSite is a service that echoes content at /x.
func (c *run) contentSite(change ...func(*cacheaside.Config)) *site {
	c.Helper()
	return c.Site(contentApp(c.Cache(append([]func(*cacheaside.Config){keyed}, change...)...), echoed))
}

func contentApp(cache *cacheaside.Cache, h Handler) App {
	return App{Global: cache, Routes: []Route{{Path: "/x", Methods: append([]string{http.MethodPut}, withContent...), Handler: h}}}
}

// eachMethod runs f for all methods whose content may be part of a key.
func eachMethod(f func(method string)) {
	for _, method := range []string{"QUERY", http.MethodPost, http.MethodGet} {
		f(method)
	}
}

func testContentKeyed(c *run) {
	s := c.contentSite()
	eachMethod(func(method string) {
		const json = "Content-Type: application/json"
		s.Do(method, "/x", `{"a":1}`, json).Miss().Stored().Is(200, method+`|application/json||{"a":1}`)
		s.Do(method, "/x", `{"a":1}`, json).Hit().Is(200, method+`|application/json||{"a":1}`)
		s.Do(method, "/x", `{"a":2}`, json).Miss().Stored().Is(200, method+`|application/json||{"a":2}`)
		s.Do(method, "/x", `{"a":1}`, "Content-Type: text/plain").Miss().Stored().Is(200, method+`|text/plain||{"a":1}`)
		s.Do(method, "/x", `{"a":1}`).Miss().Stored().Is(200, method+`|||{"a":1}`)
		s.Do(method, "/x", `{"a":2}`, json).Hit().Is(200, method+`|application/json||{"a":2}`)
	})
	s.Get("/x").Miss().Stored()
	s.Get("/x").Hit()
	s.Do("QUERY", "/x", "").Miss().Stored()
	s.Do("QUERY", "/x", "").Hit()
}
