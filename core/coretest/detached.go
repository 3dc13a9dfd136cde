package coretest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Detached keeps what runs a request of net/http again (see [adapter.Exchange]), the
// marker of one that is, and what the handler sees. It is the part of an adapter's own
// tests of that which they have in common.
type Detached struct {
	Refreshers []adapter.Refresher // of the requests that came first
	Seen       []Seen              // by the handler, in order
	Outer      int                 // how often the layer in front has run

	mu     sync.Mutex
	reruns []*adapter.Rerun
	ctx    context.Context // of the last request
}

// Seen is what a handler knows of a request.
type Seen struct {
	Method, Path, ID, Route, Query, Host, Target, Remote string
	TLS, Body                                            bool
	Header                                               http.Header
}

// Detach takes the refresher of x, or its marker.
func (d *Detached) Detach(x adapter.Exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rerun := x.Request().Rerun; rerun != nil {
		d.reruns = append(d.reruns, rerun)
	} else {
		d.Refreshers = append(d.Refreshers, x.Detach())
	}
}

// See is called by the handler.
func (d *Detached) See(r *http.Request, id, route string) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = r.Context()
	d.Seen = append(d.Seen, Seen{
		Method: r.Method, Path: r.URL.EscapedPath(), ID: id, Route: route, Query: r.URL.RawQuery, Host: r.Host,
		Target: r.RequestURI, Remote: r.RemoteAddr, TLS: r.TLS != nil, Body: len(body) > 0, Header: r.Header.Clone(),
	})
}

type outermostKey struct{}

// InFront is the layer in front of the cache.
func (d *Detached) InFront(r *http.Request) *http.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Outer++
	return r.WithContext(context.WithValue(r.Context(), outermostKey{}, d.Outer))
}

// Check sends requests to h, runs the first one again and compares.
func (d *Detached) Check(t *testing.T, h http.Handler, method, target string) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	defer server.Close()
	d.send(t, server, method, target)
	d.send(t, server, http.MethodPost, path.Dir(target)+"/other") // takes the first one's context
	original := d.Seen[0]

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	rerun := new(adapter.Rerun)
	d.Refreshers[0](ctx, rerun)

	want := original
	want.Method, want.Body = http.MethodGet, false
	want.Header = want.Header.Clone()
	maps.DeleteFunc(want.Header, func(name string, _ []string) bool { return adapter.OmittedInRerun(name, false) })
	if len(want.Header) > len(original.Header)-3 || original.ID == "" || !original.TLS {
		t.Errorf("the original: %+v", original)
	}
	if got := d.Seen[2]; !reflect.DeepEqual(got, want) {
		t.Errorf("the handler saw\n%+v\nwant\n%+v", got, want)
	}
	if len(d.reruns) != 1 || d.reruns[0] != rerun {
		t.Error("the marker has not come back")
	}
	if deadline, ok := d.ctx.Deadline(); !ok || time.Until(deadline) < time.Minute {
		t.Errorf("deadline %v %v", deadline, ok)
	}
	if got := d.ctx.Value(outermostKey{}); got != 3 {
		t.Errorf("the layer in front ran %v times", got)
	}
	cancel()
	if !errors.Is(d.ctx.Err(), context.Canceled) {
		t.Error("the request does not end with the given context")
	}
}

func (d *Detached) send(t *testing.T, server *httptest.Server, method, target string) {
	t.Helper()
	req, err := http.NewRequest(method, server.URL+target, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Range", "If-None-Match", "Cache-Control", "Content-Type", "Accept-Language", "Cookie"} {
		req.Header.Set(name, "a=1")
	}
	req.Host = "shop.example"
	res, err := server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

// CheckConcurrently runs requests again while others are served.
func (d *Detached) CheckConcurrently(t *testing.T, h http.Handler) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/a") })
	}
	wg.Wait()
	for _, refresh := range d.Refreshers {
		wg.Go(func() { refresh(t.Context(), new(adapter.Rerun)) })
		wg.Go(func() { d.send(t, server, http.MethodGet, "/app/b") })
	}
	wg.Wait()
	n := 0
	for _, s := range d.Seen[8:] {
		if s.ID == "a" {
			n++
		}
	}
	if len(d.reruns) != 8 || n != 8 {
		t.Errorf("%d requests were run again, %d to their target", len(d.reruns), n)
	}
}
