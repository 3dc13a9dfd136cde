package dragonfly_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// tape notes what goes over the wire: the commands of each write, in order.
type tape struct {
	mu     sync.Mutex
	groups []string
	// answered is closed when the client has its answer: what is sent after the handler
	// is held back until then.
	answered chan struct{}
	from     int  // where this request begins in groups
	late     bool // the answer did not come in time
}

type taped struct {
	net.Conn
	*tape
}

// heads are those of the commands in what is written at once, or nil for what goes on
// with a command from before, as a large value does.
func heads(p []byte) (names []string) {
	for len(p) > 0 && p[0] == '*' {
		line, rest, _ := bytes.Cut(p[1:], []byte("\r\n"))
		n, err := strconv.Atoi(string(line))
		if err != nil {
			return names
		}
		for i := range n {
			length, after, ok := bytes.Cut(rest, []byte("\r\n"))
			size, err := strconv.Atoi(strings.TrimPrefix(string(length), "$"))
			if !ok || err != nil {
				return names
			}
			if i == 0 {
				names = append(names, strings.ToUpper(string(after[:min(size, len(after))])))
			}
			if len(after) < size+2 { // the rest comes with the next write
				return names
			}
			rest = after[size+2:]
		}
		p = rest
	}
	return names
}

func (c taped) Write(p []byte) (int, error) {
	names := slices.DeleteFunc(heads(p), func(name string) bool { return name == "HELLO" || name == "CLIENT" || name == "PING" })
	if len(names) > 0 {
		var group []string
		for len(names) > 0 {
			n := 1
			for n < len(names) && names[n] == names[0] {
				n++
			}
			if n == 1 {
				group = append(group, names[0])
			} else {
				group = append(group, fmt.Sprint(n, " ", names[0]))
			}
			names = names[n:]
		}
		c.mu.Lock()
		answered := c.answered
		held := answered != nil && slices.Contains(c.groups[c.from:], "handler")
		c.groups = append(c.groups, strings.Join(group, ", "))
		held = held && !slices.Equal(group, []string{"GET"}) // of the record, before a first variant can be made
		c.mu.Unlock()
		if held {
			select {
			case <-answered:
			case <-time.After(10 * time.Second):
				c.mu.Lock()
				c.late = true
				c.mu.Unlock()
			}
		}
	}
	return c.Conn.Write(p)
}

func (t *tape) note(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups = append(t.groups, what)
}

// of is what f sends.
func (t *tape) of(f func()) string {
	t.mu.Lock()
	t.groups, t.from, t.late = nil, 0, false
	t.mu.Unlock()
	f()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.late {
		return "the client waits for what comes after the handler"
	}
	return strings.Join(t.groups, " | ")
}

// beside is what was sent side by side, in whatever order and pieces.
func beside(groups string) string {
	counts := map[string]int{}
	for part := range strings.SplitSeq(strings.ReplaceAll(groups, " | ", ", "), ", ") {
		n, name := 1, part
		if count, rest, ok := strings.Cut(part, " "); ok {
			n, _ = strconv.Atoi(count)
			name = rest
		}
		counts[name] += n
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > 1 {
			name = fmt.Sprint(n, " ", name)
		}
		all = append(all, name)
	}
	return strings.Join(all, " & ")
}

// documented is the table of the package's documentation.
func documented(t *testing.T) (rows [][2]string) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line, ok := strings.CutPrefix(line, "//\t"); ok {
			cells := regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), 2)
			if len(cells) != 2 {
				t.Fatalf("a row of the table: %q", line)
			}
			rows = append(rows, [2]string{cells[0], cells[1]})
		}
	}
	return rows
}

// TestWireTable measures each row of the documented table.
func TestWireTable(t *testing.T) {
	p := storetest.StartServer(t)
	tape := &tape{}
	dial := func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", addr)
		return taped{conn, tape}, err
	}
	openTaped := func(opts ...dragonfly.Option) *dragonfly.Store {
		s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
			InitAddress: []string{p.Addr}, DialCtxFn: dial, PipelineMultiplex: -1, Dialer: patient, ConnWriteTimeout: time.Minute,
		}, append(opts, dragonfly.WithCallTimeout(time.Minute))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	now := time.Now()
	ctx := t.Context()
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Store:     openTaped(),
		Namespace: "wire",
		Now:       func() time.Time { return now },
		Timeouts:  cacheaside.Timeouts{Lookup: time.Minute, Write: time.Minute, Purge: time.Minute, Lock: time.Hour},
		Policy:    cacheaside.Policy{TTL: time.Hour},
	}))
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	with := func(cache *cacheaside.Cache, change func(*cacheaside.Policy)) *cacheaside.Cache {
		return cacheaside.Must(cache.With(change))
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tape.note("handler")
		for name, values := range r.URL.Query() {
			w.Header()[name] = values
		}
		if r.URL.Path == "/etag" {
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		body := coretest.BenchBody
		if strings.HasPrefix(r.URL.Path, "/large") {
			body = bytes.Repeat(body, store.LargeValue/len(body)+1)
		}
		_, _ = w.Write(body)
	})
	get := func(cache *cacheaside.Cache, target, want string, fields ...string) {
		t.Helper()
		tape.mu.Lock()
		tape.answered, tape.from = make(chan struct{}), len(tape.groups)
		answered := tape.answered
		tape.mu.Unlock()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "http://example.com"+target, nil)
		for i := 0; i+1 < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		nethttp.New(cache)(handler).ServeHTTP(w, r)
		close(answered)
		if s := w.Header().Get("Cache-Status"); !strings.Contains(s, want) {
			t.Errorf("%s: Cache-Status %q, want %s", target, s, want)
		}
		if err := cache.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	fresh := func(query string) string { n++; return fmt.Sprint("/", n, query) }
	five := "?Cache-Tag=a,b,c,d,e"
	// Everything that is remembered, and all scripts.
	for range 3 {
		for _, target := range []string{"/hit", "/tags" + five, "/vary?Vary=Accept", "/large", "/etag", "/private?Cache-Control=private"} {
			get(cache, target, "")
		}
	}
	must(cache.PurgeTags(ctx, "a"))
	must(cache.PurgeURL(ctx, "http://example.com/none"))
	get(cache, "/tags"+five, "")

	settle := func() { // the release of a token, which is done aside
		until(t, "what is done aside", func() bool {
			tape.mu.Lock()
			defer tape.mu.Unlock()
			return len(tape.groups) > 0 && tape.groups[len(tape.groups)-1] == "EVALSHA"
		})
	}
	near := openTaped(withNear())
	nearCache := cacheaside.Must(cacheaside.New(cacheaside.Config{Store: near, Namespace: "wire", Now: func() time.Time { return now }, Timeouts: cacheaside.Timeouts{Lookup: time.Minute, Lock: time.Hour}, Policy: cacheaside.Policy{TTL: time.Hour}}))
	t.Cleanup(func() { _ = nearCache.Close(context.Background()) })
	until(t, "a near hit", func() bool { get(nearCache, "/hit", "; hit;"); return nearCache.Stats().Near > 0 })

	measured := map[string]string{
		"hit":            tape.of(func() { get(cache, "/hit", "; hit;") }),
		"near hit":       "nothing" + tape.of(func() { get(nearCache, "/hit", "detail=near") }),
		"hit, five tags": tape.of(func() { get(cache, "/tags"+five, "; hit;") }),
		"hit, a variant": tape.of(func() { get(cache, "/vary?Vary=Accept", "; hit;") }),
		"hit, large":     tape.of(func() { get(cache, "/large", "; hit;") }),
		"miss":           tape.of(func() { get(cache, fresh(""), "stored") }),
		"miss, five tags": tape.of(func() {
			get(cache, fresh(five), "stored")
		}),
		"miss, five new tags":     tape.of(func() { get(cache, fresh("?Cache-Tag=v,w,x,y,z"), "stored") }),
		"miss, the first variant": tape.of(func() { get(cache, fresh("?Vary=Accept"), "stored") }),
		"miss, another variant":   tape.of(func() { get(cache, "/vary?Vary=Accept", "stored", "Accept", "text/plain") }),
		"miss, large":             tape.of(func() { get(cache, fresh("")[:0]+"/large2", "stored") }),
		"miss, CoalesceProcess": tape.of(func() {
			get(with(cache, func(c *cacheaside.Policy) { c.Coalescing.Scope = cacheaside.CoalesceProcess }), fresh(""), "stored")
		}),
		"miss, CoalesceNone": tape.of(func() {
			get(with(cache, func(c *cacheaside.Policy) { c.Coalescing.Scope = cacheaside.CoalesceNone }), fresh(""), "stored")
		}),
		"not stored":             tape.of(func() { get(cache, fresh("?Cache-Control=private"), ""); settle() }),
		"not stored, again":      tape.of(func() { get(cache, "/private?Cache-Control=private", "") }),
		"no-cache of the client": tape.of(func() { get(cache, "/hit", "", "Cache-Control", "no-cache") }),
		"PurgeTags, one":         tape.of(func() { must(cache.PurgeTags(ctx, "a")) }),
		"PurgeTags, five":        tape.of(func() { must(cache.PurgeTags(ctx, "a", "b", "c", "d", "e")) }),
		"Purge, soft, five tags": tape.of(func() { must(cache.Purge(ctx, cacheaside.Purge{Tags: []string{"a", "b", "c", "d", "e"}, Soft: true})) }),
		"PurgeURL":               beside(tape.of(func() { must(cache.PurgeURL(ctx, "http://example.com/hit")) })),
	}
	for range 2 { // the first time its script is unknown
		measured["Purge of a prefix"] = tape.of(func() { must(cache.Purge(ctx, cacheaside.Purge{Prefixes: []string{"http://example.com/blogs"}})) })
		get(cache, fresh(""), "") // reads the journal
		measured["Purge of all"] = tape.of(func() { must(cache.Purge(ctx, cacheaside.Purge{All: true})) })
		get(cache, fresh(""), "")
	}
	now = now.Add(2 * time.Hour)
	get(cache, fresh(""), "") // reads the journal
	measured["validation, 304"] = tape.of(func() { get(cache, "/etag", "") })
	for _, row := range documented(t) {
		name, want := row[0], row[1]
		got, ok := measured[name]
		if delete(measured, name); !ok {
			t.Errorf("%s: nothing measures this row", name)
		} else if got != want {
			t.Errorf("%s: documented %s\nmeasured %s", name, want, got)
		}
	}
	for name, got := range measured {
		t.Errorf("%s: not documented, measured %s", name, got)
	}
}
