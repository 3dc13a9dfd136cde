package examples

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// step is one request of a script and what is known of its answer.
type step struct {
	method, target string
	header         http.Header
	body           string
	status         int
	cache          string // part of Cache-Status; "-" where there must be none
	want           string // the body, where it is said here
	own            string // why body and its fields are each framework's own
}

func (s step) String() string {
	out := s.method + " " + s.target
	for name, values := range s.header {
		out += fmt.Sprintf(" [%s: %s]", name, strings.Join(values, ", "))
	}
	return out
}

func field(name string, values ...string) http.Header { return http.Header{name: values} }

const (
	miss = "cacheaside; fwd=miss"
	hit  = "cacheaside; hit"
	none = "-"
)

// ownFields come with a body that a framework makes up itself: its text, the
// list of allowed methods, and protection against sniffing.
var ownFields = []string{"Content-Type", "Content-Length", "Allow", "X-Content-Type-Options"}

var serviceScript = []step{
	{method: "GET", target: "/users/7", status: 200, cache: "; stored", want: `{"id":7,"name":"User 7","email":"user7@example.com"}`},
	{method: "GET", target: "/users/7", status: 200, cache: hit, want: `{"id":7,"name":"User 7","email":"user7@example.com"}`},
	{method: "HEAD", target: "/users/7", status: 200, cache: hit},
	{method: "HEAD", target: "/users/8", status: 200, cache: miss}, // a HEAD stores nothing
	{method: "GET", target: "/users/8", status: 200, cache: miss},
	{method: "GET", target: "/users/8", status: 200, cache: hit},
	{method: "GET", target: "/blogs/1000", status: 200, cache: miss},
	{method: "GET", target: "/blogs/1000", status: 200, cache: hit},
	{method: "GET", target: "/blogs/1000?b=2&a=1", status: 200, cache: miss},
	{method: "GET", target: "/blogs/1000?a=1&b=2", status: 200, cache: hit}, // parameters have no order
	{method: "GET", target: "/blogs/1000?a=2&b=1", status: 200, cache: miss},
	{method: "GET", target: "/users/1001", status: 404, cache: miss, want: `{"error":"there is none with this id"}`},
	{method: "GET", target: "/users/1001", status: 404, cache: miss},
	{method: "GET", target: "/users/99999999999999999999", status: 404, cache: miss},
	{method: "GET", target: "/users/seven", status: 400, cache: miss, want: `{"error":"the id is not a number"}`},
	{method: "GET", target: "/blogs/-1", status: 400, cache: miss},
	{method: "GET", target: "/users/7", header: field("If-None-Match", `"other"`), status: 200, cache: hit},
	{method: "GET", target: "/users/7", header: field("Range", "bytes=0-3"), cache: "cacheaside"},
	{method: "GET", target: "/users/7", header: field("Cache-Control", "no-cache"), status: 200, cache: "cacheaside; fwd=request"},
	{method: "GET", target: "/users/9", header: field("Cache-Control", "only-if-cached"), status: 504, cache: "cacheaside"},
	{method: "GET", target: "/users/9", header: field("Authorization", "Basic eA=="), status: 200, cache: "cacheaside; fwd="},
	{method: "GET", target: "/users/9", status: 200, cache: miss}, // the answer before was for one user
	{method: "GET", target: "/users/9", header: field("Cache-Control", "no-store"), status: 200, cache: "cacheaside"},
	{method: "GET", target: "/", status: 200, cache: miss},
	{method: "GET", target: "/", status: 200, cache: hit},
	{method: "GET", target: "/style.css", status: 200, cache: miss},
	{method: "HEAD", target: "/style.css", status: 200, cache: hit},
	{method: "GET", target: "/blogs", status: 200, cache: miss},
	{method: "GET", target: "/blogs", header: field("Accept-Encoding", "gzip"), status: 200, cache: hit}, // of nothing that is compressed
	{method: "GET", target: "/users", status: 404, cache: none, own: "no such route"},
	{method: "GET", target: "/nowhere", status: 404, cache: none, own: "no such route"},
	{method: "POST", target: "/users/7", body: "{}", status: 405, cache: none, own: "no such method"},
	{method: "DELETE", target: "/users/7", status: 405, cache: none, own: "no such method"},
	{method: "GET", target: "/users/7", status: 200, cache: hit},
	{method: "HEAD", target: "/stats", status: 200, cache: none},
}

// counts are what p counts, without the memory that it takes: Fiber has bodies in its own.
func counts(p *process) stats {
	s := p.stats()
	delete(s.Cache, "capture_bytes")
	delete(s.Cache, "capture_peak")
	return s
}

func TestServicesAnswerAlike(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		processes := make([]*process, len(frameworks))
		for i, name := range frameworks {
			processes[i] = start(t, name, append([]string{"-db-latency", "1ms"}, args...)...)
		}
		run(t, processes, serviceScript)
		// What goes on beside an answer counts a moment later.
		var want stats
		var differ string
		defer func() {
			if t.Failed() {
				t.Log(differ)
			}
		}()
		eventually(t, "all count alike", func() bool {
			want = counts(processes[0])
			for _, p := range processes[1:] {
				if got := counts(p); !reflect.DeepEqual(got, want) {
					differ = fmt.Sprintf("%s counts %+v, %s %+v", p.name, got, processes[0].name, want)
					return false
				}
			}
			return true
		})
		for _, p := range processes {
			p.stop()
		}
		if want.OriginReads != 13 || want.Cache["store_errors"] != 0 {
			t.Errorf("counts %+v, want 13 origin reads and no store errors", want)
		}
	})
}

func onBothStores(t *testing.T, test func(t *testing.T, args ...string)) {
	t.Run("memory", func(t *testing.T) { test(t) })
	t.Run("server", func(t *testing.T) { test(t, "-dragonfly", storetest.Server(t)) })
}

// run sends the script to all processes and requires the same answers.
func run(t *testing.T, processes []*process, script []step) {
	for _, s := range script {
		var first answer
		for i, p := range processes {
			got := p.do(s.method, s.target, s.header, s.body)
			status := got.Header.Get("Cache-Status")
			switch {
			case s.status != 0 && got.Status != s.status:
				t.Errorf("%s: %v: status %d %s, want %d", p.name, s, got.Status, got.Err, s.status)
			case s.cache == none && status != "", s.cache != none && !strings.Contains(status, s.cache):
				t.Errorf("%s: %v: Cache-Status %q, want %q", p.name, s, status, s.cache)
			case s.want != "" && got.Body != s.want:
				t.Errorf("%s: %v: body %q, want %q", p.name, s, got.Body, s.want)
			}
			if i == 0 {
				first = got
				continue
			}
			if a, b := sameParts(got, s), sameParts(first, s); !reflect.DeepEqual(a, b) {
				t.Errorf("%v: two answers\n%s: %+v\n%s: %+v", s, p.name, a, processes[0].name, b)
			}
		}
	}
}

var seconds = regexp.MustCompile(`ttl=\d+`)

// sameParts leaves out what may differ: the Date, the length (the client has
// compared it with the body), the seconds that have passed, and what is a
// framework's own.
func sameParts(a answer, s step) answer {
	h := maps.Clone(a.Header)
	delete(h, "Date")
	delete(h, "Content-Length") // a server's own, where the handler states none
	if _, ok := h["Age"]; ok {
		h["Age"] = []string{"n"}
	}
	if v := h.Get("Cache-Status"); v != "" {
		h["Cache-Status"] = []string{seconds.ReplaceAllString(v, "ttl=n")}
	}
	if s.own != "" {
		a.Body = ""
		for _, name := range ownFields {
			delete(h, name)
		}
	}
	a.Header = h
	return a
}
