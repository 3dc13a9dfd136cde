package examples

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// patient is for requests that shall wait for one another however busy the
// machine is.
var patient = []string{"-wait-timeout", "20s"}

// cluster starts processes that share the cache on one server and its keys.
func cluster(t *testing.T, server string, names []string, args ...string) []*process {
	t.Helper()
	args = append(append([]string{"-dragonfly", server}, patient...), args...)
	processes := make([]*process, len(names))
	for i, name := range names {
		processes[i] = start(t, name, args...)
		processes[i].host = processes[0].host
	}
	return processes
}

func realServer(t *testing.T) string {
	t.Helper()
	if !storetest.HasServer() {
		t.Skip("no $DRAGONFLY_ADDR and no dragonfly, valkey-server or redis-server on the PATH")
	}
	return storetest.Server(t)
}

// crowd sends n requests at once, spread over the processes.
func crowd(processes []*process, n int, target string) (wait func() []answer) {
	answers := make([]answer, n)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range answers {
		all.Go(func() {
			<-begin
			answers[i] = processes[i%len(processes)].get(target)
		})
	}
	close(begin)
	return func() []answer {
		all.Wait()
		return answers
	}
}

// sum adds up what the processes count.
func sum(processes []*process) stats {
	total := stats{Cache: map[string]int{}}
	for _, p := range processes {
		s := p.stats()
		total.OriginReads += s.OriginReads
		for name, n := range s.Cache {
			total.Cache[name] += n
		}
	}
	return total
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func allAnswer(t *testing.T, answers []answer, body string) {
	t.Helper()
	wrong := map[string]int{}
	for _, a := range answers {
		if a.Status != http.StatusOK || a.Body != body || a.Err != "" {
			wrong[fmt.Sprintf("%d %q %s", a.Status, a.Body, a.Err)]++
		}
	}
	if len(wrong) > 0 {
		t.Errorf("wrong answers, want 200 %q: %v", body, wrong)
	}
}

const user7 = `{"id":7,"name":"User 7","email":"user7@example.com"}`

func TestOneQueryForAThousandClients(t *testing.T) {
	server := realServer(t)
	for _, names := range [][]string{
		{"fiber", "gin", "echo"},
		{"chi", "chi", "chi"},
		{"chi", "fiber", "gin"},
		{"echo", "chi", "fiber"},
		{"gin", "echo", "chi"},
	}[:storetest.Rounds(2, 5)] {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			processes := cluster(t, server, names, "-db-latency", "1s")
			allAnswer(t, crowd(processes, 1000, "/users/7")(), user7)
			s := sum(processes)
			t.Logf("%+v", s)
			if s.OriginReads != 1 || s.Cache["store_errors"] != 0 {
				t.Errorf("%d database queries and %d store errors, want 1 and 0", s.OriginReads, s.Cache["store_errors"])
			}
			if s.Cache["coalesced"] == 0 {
				t.Error("no request was coalesced")
			}
		})
	}
}

func TestKilledWhileOthersWait(t *testing.T) {
	t.Parallel() // it mostly waits
	server := realServer(t)
	const (
		lockTTL = 3 * time.Second
		latency = 2 * time.Second
		slack   = 4 * time.Second
		each    = 50
	)
	for _, names := range [][]string{
		{"fiber", "gin", "echo"},
		{"chi", "fiber", "gin"},
	} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			t.Parallel() // it mostly waits
			processes := cluster(t, server, names, "-db-latency", latency.String())
			victim, others := processes[0], processes[1:]
			lost := crowd(processes[:1], 1, "/users/7")
			eventually(t, "the first process asks its database", func() bool { return victim.stats().OriginReads == 1 })
			wait := crowd(others, each*len(others), "/users/7")
			eventually(t, "the others wait", func() bool { return sum(others).Cache["waiting"] == each*len(others) })
			if err := victim.Cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			<-victim.Done
			if a := lost()[0]; a.Status != 0 {
				t.Fatalf("the first process answered %d before it was killed", a.Status)
			}
			allAnswer(t, wait(), user7)
			if took := time.Since(killed); took > lockTTL+latency+slack {
				t.Errorf("the others were answered %v after the kill, want %v at most", took, lockTTL+latency+slack)
			} else {
				t.Logf("the others were answered %v after the kill", took)
			}
			if s := sum(others); s.OriginReads != 1 {
				t.Errorf("%d further database queries, want 1: %+v", s.OriginReads, s)
			}
		})
	}
}

// slowOrigin answers with a new body each time; all but the first wait for
// release, and stay fresh, so that there is no reason for another one.
type slowOrigin struct {
	mu      sync.Mutex
	n       int
	release chan struct{}
}

func (o *slowOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

func (o *slowOrigin) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	o.n++
	n := o.n
	o.mu.Unlock()
	if n > 1 {
		<-o.release
		w.Header().Set("Cache-Control", "max-age=3600")
	}
	_, _ = fmt.Fprint(w, "body ", n)
}

func TestStaleWhileRevalidateAcrossProcesses(t *testing.T) {
	t.Parallel() // it mostly waits
	server := realServer(t)
	for _, names := range [][]string{
		{"fiber", "gin", "echo"},
		{"chi", "fiber", "gin"},
	} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			t.Parallel() // it mostly waits
			origin := &slowOrigin{release: make(chan struct{})}
			ts := httptest.NewServer(origin)
			t.Cleanup(ts.Close)
			var once sync.Once
			release := func() { once.Do(func() { close(origin.release) }) }
			t.Cleanup(release)

			processes := make([]*process, len(names))
			for i, name := range names {
				processes[i] = start(t, "proxy", "-framework", name, "-origin", ts.URL, "-dragonfly", server,
					"-ttl", "2s", "-stale-while-revalidate", "10m")
				processes[i].host = processes[0].host
			}
			allAnswer(t, crowd(processes[:1], 1, "/")(), "body 1")
			eventually(t, "the response is stale", func() bool { // without asking for it anew
				a := processes[0].do(http.MethodGet, "/", field("Cache-Control", "only-if-cached, min-fresh=0"), "")
				return a.Status == http.StatusGatewayTimeout
			})
			answers := crowd(processes, 300, "/")()
			allAnswer(t, answers, "body 1")
			for _, a := range answers {
				if s := a.Header.Get("Cache-Status"); !strings.Contains(s, "detail=stale-while-revalidate") {
					t.Fatalf("Cache-Status %q, want stale-while-revalidate", s)
				}
			}
			eventually(t, "the refresh asks the origin", func() bool { return origin.count() == 2 })
			release()
			for _, p := range processes {
				eventually(t, "the new body", func() bool { return p.get("/").Body == "body 2" })
			}
			if n := origin.count(); n != 2 {
				t.Errorf("%d requests to the origin, want 2", n)
			}
		})
	}
}

func TestServicesServeStaleWhileTheyRevalidate(t *testing.T) {
	t.Parallel() // it mostly waits
	server := realServer(t)
	const ttl = 3 * time.Second
	processes := cluster(t, server, frameworks, "-db-latency", "1s", "-ttl", ttl.String(), "-stale-while-revalidate", "10m")
	began := time.Now()
	first := processes[0].get("/users/7")
	allAnswer(t, []answer{first}, user7)
	eventually(t, "a stale answer", func() bool {
		processes[0].get("/users/7")
		return sum(processes[:1]).Cache["stale_while_revalidate"] > 0
	})
	crowded := time.Now()
	allAnswer(t, crowd(processes, 300, "/users/7")(), user7)
	t.Logf("300 clients took %v", time.Since(crowded))
	var s stats
	eventually(t, "a refresh", func() bool { s = sum(processes); return s.Cache["refreshed"] > 0 })
	t.Logf("%+v", s)
	refreshes := int(time.Since(began) / ttl) // one, unless the machine was busy
	if s.OriginReads < 2 || s.OriginReads > 1+refreshes || s.Cache["stale"] != 0 || s.Cache["misses"] != 1 {
		t.Errorf("%+v, want 2 database queries (up to %d after %v), and nobody who waited for the second", s, 1+refreshes, time.Since(began))
	}
}

func TestRefreshAheadAcrossProcesses(t *testing.T) {
	t.Parallel() // it mostly waits
	server := realServer(t)
	processes := cluster(t, server, []string{"fiber", "gin", "echo"}, "-db-latency", "1ms", "-ttl", "20s", "-refresh-ahead", "0.1")
	const ahead = time.Second // a tenth of it, or less by chance
	began := time.Now()
	processes[0].get("/users/7")
	var s stats
	eventually(t, "a refresh", func() bool {
		allAnswer(t, crowd(processes, 30, "/users/7")(), user7)
		s = sum(processes)
		return s.Cache["refreshed"] > 0
	})
	t.Logf("%+v", s)
	refreshes := max(1, int(time.Since(began)/ahead)-1) // one, unless the machine was busy
	if s.OriginReads < 2 || s.OriginReads > 1+refreshes || s.Cache["misses"]-s.Cache["coalesced"] != 1 || s.Cache["refresh_errors"] != 0 {
		t.Errorf("%+v, want one miss and one refresh (up to %d after %v)", s, refreshes, time.Since(began))
	}
}

func TestEndsDuringARefresh(t *testing.T) {
	t.Parallel() // it mostly waits
	server := realServer(t)
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			p := cluster(t, server, []string{name}, "-db-latency", "1s", "-ttl", "3s", "-stale-while-revalidate", "10m")[0]
			p.get("/users/7")
			var s stats
			eventually(t, "a refresh under way", func() bool {
				p.get("/users/7")
				s = p.stats()
				return s.OriginReads == 2+s.Cache["refreshed"]
			})
			if s.Cache["stale_while_revalidate"] == 0 {
				t.Fatalf("%+v, want a refresh under way", s)
			}
			p.stop() // waits for the refresh, which others now find
			next := cluster(t, server, []string{name}, "-stale-while-revalidate", "10m")[0]
			next.host = p.host
			allAnswer(t, crowd([]*process{next}, 1, "/users/7")(), user7)
			if s := next.stats(); s.Cache["hits"]+s.Cache["stale_while_revalidate"] != 1 {
				t.Errorf("%+v, want an answer from the store", s)
			}
		})
	}
}
