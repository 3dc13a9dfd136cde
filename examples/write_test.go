package examples

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
)

const token = "sixteen bytes or more"

func bearer(token string) http.Header { return field("Authorization", "Bearer "+token) }

// together starts the services on one store and one database, under one host,
// as behind a load balancer: what is stored belongs to all of them.
func together(t *testing.T, names []string, args ...string) []*process {
	t.Helper()
	args = append([]string{"-db", filepath.Join(t.TempDir(), "blog.db"), "-db-latency", "1ms", "-ttl", "1h", "-purge-token", token}, args...)
	processes := make([]*process, len(names))
	for i, name := range names {
		processes[i] = start(t, name, args...)
		processes[i].host = processes[0].host
	}
	return processes
}

func status(a answer) string { return a.Header.Get("Cache-Status") }

// TestReadAfterWrite asks another process right after the answer of the one that
// has written. It never sees what was before, though it had it in the cache.
func TestReadAfterWrite(t *testing.T) {
	server := storetest.Server(t)
	all := together(t, frameworks, "-dragonfly", server)
	for i, writer := range all {
		reader := all[(i+1)%len(all)]
		t.Run(writer.name+" writes, "+reader.name+" reads", func(t *testing.T) {
			for n := range 50 {
				path, name := fmt.Sprint("/users/", 1+n%3), fmt.Sprint(writer.name, " ", n)
				reader.get(path)
				if a := reader.get(path); !strings.Contains(status(a), hit) {
					t.Fatalf("%s before: %q, want a hit", path, status(a))
				}
				body := fmt.Sprintf(`{"name":%q,"email":"e@example.com"}`, name)
				if a := writer.do("PUT", path, nil, body); a.Status != 200 || !strings.Contains(a.Body, name) {
					t.Fatalf("PUT %s: %d %q", path, a.Status, a.Body)
				}
				for _, p := range []*process{reader, writer} {
					if a := p.get(path); a.Status != 200 || !strings.Contains(a.Body, `"`+name+`"`) {
						t.Fatalf("%s: GET %s after the write of %q: %d %s %q", p.name, path, name, a.Status, a.Body, status(a))
					}
				}
			}
			if s := writer.stats(); s.Cache["purge_errors"] != 0 || s.Cache["purges"] < 50 {
				t.Errorf("/stats: %+v, want 50 purges and no errors", s.Cache)
			}
		})
	}
}

// TestNewBlog requires that a 404 in the cache ends when the blog is written.
func TestNewBlog(t *testing.T) {
	all := together(t, frameworks, "-dragonfly", storetest.Server(t), "-not-found-ttl", "1h")
	for i, writer := range all {
		reader, path := all[(i+1)%len(all)], fmt.Sprint("/blogs/", 1001+i)
		reader.get(path)
		reader.get("/blogs") // with those before
		reader.get("/")
		if a := reader.get(path); a.Status != 404 || !strings.Contains(status(a), hit) {
			t.Errorf("%s before: %d %q, want 404 from the cache", path, a.Status, status(a))
		}
		a := writer.do("POST", "/blogs", nil, `{"user_id":1,"title":"New","body":"Text"}`)
		if a.Status != 201 || a.Header.Get("Location") != path {
			t.Errorf("%s: POST /blogs: %d %q, Location %q, want 201 and %s", writer.name, a.Status, a.Body, a.Header.Get("Location"), path)
		}
		want := a.Body
		if a := reader.get(path); a.Status != 200 || a.Body != want {
			t.Errorf("%s: GET %s: %d %q, want 200 %q", reader.name, path, a.Status, a.Body, want)
		}
		if a := reader.get("/blogs"); !strings.HasPrefix(a.Body, "["+want+",") {
			t.Errorf("%s: GET /blogs begins with %.200q, want %q", reader.name, a.Body, want)
		}
		if a := reader.get("/"); !strings.Contains(a.Body, `href="`+path+`"`) {
			t.Errorf("%s: GET / does not have %s", reader.name, path)
		}
	}
}

func TestWritesAnswerAlike(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	script := []step{
		{method: "PUT", target: "/users/007", body: `{"name":"Seven","email":"7@example.com"}`, status: 200, cache: none, want: `{"id":7,"name":"Seven","email":"7@example.com"}`},
		{method: "GET", target: "/users/7", status: 200, cache: miss, want: `{"id":7,"name":"Seven","email":"7@example.com"}`},
		{method: "GET", target: "/users/007", status: 200, cache: miss},
		{method: "GET", target: "/users/7", status: 200, cache: hit},
		{method: "PUT", target: "/users/7", body: `{"id":7,"name":"Again","email":"7@example.com"}`, status: 200, cache: none},
		{method: "GET", target: "/users/7", status: 200, cache: miss, want: `{"id":7,"name":"Again","email":"7@example.com"}`},
		{method: "GET", target: "/users/007", status: 200, cache: miss, want: `{"id":7,"name":"Again","email":"7@example.com"}`}, // one tag for both
		{method: "PUT", target: "/users/8", body: `{"id":7,"name":"x","email":"x"}`, status: 400, cache: none},
		{method: "PUT", target: "/users/7", body: `{"name":"x"`, status: 400, cache: none},
		{method: "PUT", target: "/users/7", status: 400, cache: none},
		{method: "PUT", target: "/users/7", body: `{"name":"x"}`, status: 400, cache: none, want: `{"error":"name and email are needed"}`},
		{method: "PUT", target: "/users/7", body: `{"name":"x","email":"x","admin":true}`, status: 400, cache: none},
		{method: "PUT", target: "/users/7", body: `{"name":"x","email":"x"} {}`, status: 400, cache: none},
		{method: "PUT", target: "/users/7", body: `{"name":"x","email":"` + long + `"}`, status: 413, cache: none},
		{method: "PUT", target: "/users/1001", body: `{"name":"x","email":"x"}`, status: 404, cache: none},
		{method: "PUT", target: "/users/99999999999999999999", body: `{"name":"x","email":"x"}`, status: 404, cache: none},
		{method: "PUT", target: "/users/seven", body: `{"name":"x","email":"x"}`, status: 400, cache: none},
		{method: "GET", target: "/users/7", status: 200, cache: hit}, // nothing was purged by those
		{method: "POST", target: "/blogs", body: `{"user_id":7,"title":"New","body":"Text"}`, status: 201, cache: none, want: `{"id":1001,"user_id":7,"title":"New","body":"Text"}`},
		{method: "GET", target: "/blogs/1001", status: 200, cache: miss, want: `{"id":1001,"user_id":7,"title":"New","body":"Text"}`},
		{method: "POST", target: "/blogs", body: `{"user_id":1001,"title":"New","body":"Text"}`, status: 422, cache: none},
		{method: "POST", target: "/blogs", body: `{"user_id":7,"title":"New"}`, status: 400, cache: none},
		{method: "POST", target: "/blogs", body: `{"id":5,"user_id":7,"title":"New","body":"Text"}`, status: 400, cache: none},
		{method: "POST", target: "/blogs", body: `[]`, status: 400, cache: none},
		{method: "POST", target: "/blogs", body: long + "xx", status: 413, cache: none},
		{method: "DELETE", target: "/users/7", status: 405, cache: none, own: "no such method"},
		// Without -purge-token there is nothing to purge with.
		{method: "POST", target: "/purge", header: bearer(token), body: `{"all":true}`, status: 404, cache: none, own: "no such route"},
		{method: "PURGE", target: "/users/7", header: bearer(token), status: 405, cache: none, own: "no such method"},
		{method: "GET", target: "/users/7", status: 200, cache: hit},
	}
	onBothStores(t, func(t *testing.T, args ...string) {
		processes := make([]*process, len(frameworks))
		for i, name := range frameworks {
			processes[i] = start(t, name, append([]string{"-db-latency", "1ms"}, args...)...)
		}
		run(t, processes, script)
		for _, p := range processes {
			if a := p.get("/users/7"); a.Header.Get("Cache-Tag") != "" {
				t.Errorf("%s: the client sees Cache-Tag: %s", p.name, a.Header.Get("Cache-Tag"))
			}
			p.stop()
		}
	})
}

// purgedBy sends a purge to the first process and says what of the targets the
// second one still has in the cache.
func purgedBy(t *testing.T, all []*process, method, target, body string, targets ...string) (left []string) {
	t.Helper()
	for _, path := range targets {
		all[1].get(path)
		if a := all[1].get(path); !strings.Contains(status(a), hit) {
			t.Fatalf("%s before: %q, want a hit", path, status(a))
		}
	}
	a := all[0].do(method, target, bearer(token), body)
	if a.Status != 200 || a.Body != "{\"purged\":true}\n" {
		t.Errorf("%s: %s %s %s: %d %q", all[0].name, method, target, body, a.Status, a.Body)
	}
	for _, path := range targets {
		if a := all[1].get(path); strings.Contains(status(a), hit) {
			left = append(left, path)
		}
	}
	return left
}

// TestPurgeEndpoint purges in one process what another one has stored.
func TestPurgeEndpoint(t *testing.T) {
	t.Parallel() // it mostly waits
	targets := []string{"/users/1", "/users/1?a=b", "/users/11", "/blogs/1", "/blogs/2"}
	for i, name := range frameworks {
		names := []string{name, frameworks[(i+1)%len(frameworks)]}
		t.Run(names[0]+" purges for "+names[1], func(t *testing.T) {
			t.Parallel()
			server := storetest.StartServer(t).Addr // its own: it is purged of everything
			all := together(t, names, "-dragonfly", server)
			base := "http://" + all[0].host
			for _, c := range []struct {
				method, target, body string
				left                 []string
			}{
				{"POST", "/purge", `{"tags":["user-1","blog-2"]}`, []string{"/users/11", "/blogs/1"}},
				{"POST", "/purge", `{"urls":["` + base + `/users/1","` + base + `/blogs/1"]}`, []string{"/users/1?a=b", "/users/11", "/blogs/2"}},
				{"POST", "/purge", `{"prefixes":["` + base + `/users/1"]}`, []string{"/users/11", "/blogs/1", "/blogs/2"}},
				{"POST", "/purge", `{"prefixes":["` + base + `/blogs/"]}`, []string{"/users/1", "/users/1?a=b", "/users/11"}},
				{"POST", "/purge", `{"all":true}`, nil},
				{"PURGE", "/users/1", "", []string{"/users/1?a=b", "/users/11", "/blogs/1", "/blogs/2"}},
				{"PURGE", "/users/1?a=b", "", []string{"/users/1", "/users/11", "/blogs/1", "/blogs/2"}},
				{"PURGE", "/blogs/2", "", []string{"/users/1", "/users/1?a=b", "/users/11", "/blogs/1"}},
			} {
				if left := purgedBy(t, all, c.method, c.target, c.body, targets...); !reflect.DeepEqual(left, c.left) {
					t.Errorf("%s %s %s has left %v, want %v", c.method, c.target, c.body, left, c.left)
				}
			}

			// A soft purge leaves what is stale to answer while it is renewed.
			all[1].get("/users/5")
			if a := all[1].get("/users/5"); !strings.Contains(status(a), hit) { // it has arrived in the store
				t.Errorf("before a soft purge: %q, want a hit", status(a))
			}
			if a := all[0].do("POST", "/purge", bearer(token), `{"tags":["user-5"],"soft":true}`); a.Status != 200 {
				t.Errorf("a soft purge: %d %q", a.Status, a.Body)
			}
			if a := all[1].get("/users/5"); !strings.Contains(status(a), "stale-while-revalidate") {
				t.Errorf("after a soft purge: %q, want stale-while-revalidate", status(a))
			}
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				a := all[1].get("/users/5")
				if strings.Contains(status(a), hit) && !strings.Contains(status(a), "stale") {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("not renewed after a soft purge: %q", status(a))
				}
			}
		})
	}
}

func TestPurgeRefused(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		processes := make([]*process, len(frameworks))
		for i, name := range frameworks {
			processes[i] = start(t, name, append([]string{"-db-latency", "1ms", "-ttl", "1h", "-purge-token", token}, args...)...)
		}
		script := []step{{method: "GET", target: "/users/1", status: 200, cache: miss}}
		for _, s := range []step{
			{method: "POST", target: "/purge", body: `{"all":true}`, status: 401},
			{method: "POST", target: "/purge", body: `{"all":true}`, header: bearer("sixteen bytes or less"), status: 401},
			{method: "POST", target: "/purge", body: `{"all":true}`, header: bearer(""), status: 401},
			{method: "POST", target: "/purge", body: `{"all":true}`, header: field("Authorization", token), status: 401},
			{method: "POST", target: "/purge", body: `{"all":true}`, header: field("Authorization", "Basic "+token), status: 401},
			{method: "POST", target: "/purge", body: `nonsense`, status: 401},
			{method: "PURGE", target: "/users/1", status: 401},
			{method: "PURGE", target: "/users/1", header: bearer("sixteen bytes or less"), status: 401},
			{method: "GET", target: "/purge", header: bearer(token), status: 405, own: "no such method"},
			{method: "PURGE", target: "/stats", header: bearer(token), status: 405, own: "no such method"},
			{method: "POST", target: "/purge", header: bearer(token), status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `nonsense`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{}`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{"everything":true}`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{"all":true}{"all":true}`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{"all":true,"tags":[""]}`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{"all":true,"urls":["/users/1"]}`, status: 400},
			{method: "POST", target: "/purge", header: bearer(token), body: `{"all":true,"tags":["` + strings.Repeat("x", 64<<10) + `"]}`, status: 413},
		} {
			s.cache = none
			script = append(script, s, step{method: "GET", target: "/users/1", status: 200, cache: hit})
		}
		run(t, processes, script)
		for _, p := range processes {
			if s := p.stats(); s.Cache["purges"] != 0 || s.Cache["purge_errors"] != 0 {
				t.Errorf("%s has purged: %+v", p.name, s.Cache)
			}
			p.stop()
		}
	})
}

// TestPurgeNotAcknowledged takes the server away: the writer learns that readers
// may see the old response.
func TestPurgeNotAcknowledged(t *testing.T) {
	for _, name := range frameworks {
		server := storetest.StartServer(t)
		p := start(t, name, "-dragonfly", server.Addr, "-purge-token", token)
		p.get("/users/1")
		server.Stop()
		for _, c := range []struct{ method, target, body string }{
			{"PUT", "/users/1", `{"name":"New","email":"new@example.com"}`},
			{"POST", "/blogs", `{"user_id":1,"title":"New","body":"Text"}`},
			{"POST", "/purge", `{"tags":["user-1"]}`},
			{"PURGE", "/users/1", ""},
		} {
			a := p.do(c.method, c.target, bearer(token), c.body)
			var said struct{ Error string }
			if err := json.Unmarshal([]byte(a.Body), &said); err != nil || a.Status != 503 || !strings.Contains(said.Error, "not acknowledged") {
				t.Errorf("%s: %s %s without the server: %d %q, want 503", name, c.method, c.target, a.Status, a.Body)
			}
		}
		if s := p.stats(); s.Cache["purge_errors"] != 4 {
			t.Errorf("%s: %+v, want 4 purge_errors", name, s.Cache)
		}
	}
}
