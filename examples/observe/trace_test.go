package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// span is what the exporter writes of one.
type span struct {
	Name        string
	SpanContext struct{ TraceID, SpanID string }
	Parent      struct{ TraceID, SpanID string }
	Attributes  []attribute
	Links       []struct {
		SpanContext struct{ TraceID, SpanID string }
	}
	Resource []attribute
}

type attribute struct {
	Key   string
	Value struct{ Value any }
}

func (s *span) attr(key string) string { return find(s.Attributes, key) }

func find(all []attribute, key string) string {
	for _, a := range all {
		if a.Key == key {
			return fmt.Sprint(a.Value.Value)
		}
	}
	return ""
}

// TestTraceOfAMissInTwoProcesses: two processes are asked for the same page at the same
// time. One runs the handler, the other waits for it, and the spans that both have
// written to their files say so.
func TestTraceOfAMissInTwoProcesses(t *testing.T) {
	store := storetest.StartServer(t)

	// The handler asks this origin, which answers when the test has seen the other wait.
	var asked atomic.Int64
	inHandler, release := make(chan string, 10), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		inHandler <- r.Header.Get("Traceparent")
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer origin.Close()

	const host, trace = "example.com", "0af7651916cd43dd8448eb211c80319c"
	clients := map[string]string{"a": "b7ad6b7169203331", "b": "00f067aa0ba902b7"} // their spans
	dir := t.TempDir()
	processes, urls := map[string]*process{}, map[string]string{}
	for name := range clients {
		p := start(t, programAt("traced"), "-addr", "127.0.0.1:0", "-dragonfly", store.Addr, "-wait-timeout", "10m",
			"-name", name, "-spans", filepath.Join(dir, name), "-origin", origin.URL)
		processes[name], urls[name] = p, "http://"+p.says(`listening addr=(\S+)`)[1]+"/pages/7"
	}
	type answer struct{ body, status string }
	ask := func(name string) <-chan answer {
		got := make(chan answer, 1)
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, urls[name], nil)
			if err != nil {
				t.Error(err)
			}
			req.Host = host
			req.Header.Set("Traceparent", "00-"+trace+"-"+clients[name]+"-01")
			var a answer
			if res, err := http.DefaultClient.Do(req); err != nil {
				a.body = err.Error()
			} else {
				b, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				a = answer{string(b), res.Header.Get("Cache-Status")}
			}
			got <- a
		}()
		return got
	}
	first := ask("a")
	parent := <-inHandler // a's handler runs
	second := ask("b")
	processes["b"].says(`begins span="cacheaside wait"`)
	close(release)
	a, b := <-first, <-second
	if a.body != "page 7, made by a\n" || b.body != a.body {
		t.Errorf("the answers are %q and %q", a.body, b.body)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	if !strings.Contains(a.status, "fwd=miss") || !strings.Contains(b.status, "collapsed") {
		t.Errorf("Cache-Status is %q and %q", a.status, b.status)
	}

	spans := map[string]map[string]*span{}
	for name, p := range processes {
		p.stop()
		spans[name] = spansOf(t, filepath.Join(dir, name), name)
	}
	server := "GET /pages/{id}"
	for name, want := range map[string][]string{
		"a": {server, "cacheaside fill", "HTTP GET"},
		"b": {server, "cacheaside wait"},
	} {
		for _, n := range want {
			if spans[name][n] == nil {
				t.Fatalf("process %s has no span %q: %v", name, n, spans[name])
			}
		}
		if len(spans[name]) != len(want) {
			t.Errorf("process %s has other spans than %q: %v", name, want, spans[name])
		}
		for _, s := range spans[name] {
			if s.SpanContext.TraceID != trace {
				t.Errorf("%s of process %s is in the trace %s", s.Name, name, s.SpanContext.TraceID)
			}
		}
		if got := spans[name][server].Parent.SpanID; got != clients[name] {
			t.Errorf("the parent of process %s's request is %s, want its client's span", name, got)
		}
	}
	miss, fill, call := spans["a"][server], spans["a"]["cacheaside fill"], spans["a"]["HTTP GET"]
	collapsed, wait := spans["b"][server], spans["b"]["cacheaside wait"]
	for _, c := range []struct{ in, of *span }{{fill, miss}, {call, fill}, {wait, collapsed}} {
		if c.in.Parent.SpanID != c.of.SpanContext.SpanID {
			t.Errorf("%s is not in %s", c.in.Name, c.of.Name)
		}
	}
	if !strings.Contains(parent, trace+"-"+call.SpanContext.SpanID) {
		t.Errorf("the origin was given %q", parent)
	}
	flight := fill.attr("cacheaside.flight.id")
	if flight == "" {
		t.Error("the fill has no flight id")
	}
	for _, s := range []*span{miss, wait, collapsed} {
		if got := s.attr("cacheaside.flight.id"); got != flight {
			t.Errorf("%s is of the flight %q, want that of the fill, %q", s.Name, got, flight)
		}
	}
	if len(wait.Links) != 0 { // the fill's span is known to the other process only
		t.Errorf("the wait has the links %v", wait.Links)
	}
	for _, c := range []struct {
		s         *span
		key, want string
	}{
		{miss, "cacheaside.result", "miss"},
		{miss, "cacheaside.cause", "cold"},
		{miss, "http.route", "/pages/{id}"},
		{fill, "cacheaside.mode", "foreground"},
		{fill, "http.response.status_code", "200"},
		{collapsed, "cacheaside.result", "collapsed"},
		{wait, "cacheaside.outcome", "shared"},
	} {
		if got := c.s.attr(c.key); got != c.want {
			t.Errorf("%s: %s is %q, want %q", c.s.Name, c.key, got, c.want)
		}
	}
}

// spansOf reads what a process has written.
func spansOf(t *testing.T, file, process string) map[string]*span {
	t.Helper()
	all := map[string]*span{}
	for _, line := range lines(read(t, file)) {
		s := new(span)
		if err := json.Unmarshal([]byte(line), s); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		t.Logf("%s %-16s %s in %s, flight %q", process, s.Name, s.SpanContext.SpanID, s.Parent.SpanID, s.attr("cacheaside.flight.id"))
		if all[s.Name] != nil {
			t.Errorf("process %s has two spans %q", process, s.Name)
		}
		if got := find(s.Resource, "service.instance.id"); got != process {
			t.Errorf("%s is of the instance %q, want %q", s.Name, got, process)
		}
		all[s.Name] = s
	}
	return all
}
