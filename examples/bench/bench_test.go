package main

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// TestMain lets the test's own program be the services.
func TestMain(m *testing.M) {
	if os.Getenv(serviceVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func needServer(t *testing.T) {
	t.Helper()
	if _, _, err := servers.Find(); err != nil && os.Getenv("CACHEASIDE_REQUIRE_SERVER") != "1" {
		t.Skip(err)
	}
}

// TestProgram runs the program as it is, with all choices in one framework and some in another.
func TestProgram(t *testing.T) {
	needServer(t)
	t.Setenv("DRAGONFLY_ADDR", "")
	dir := t.TempDir()
	var out, log strings.Builder
	args := []string{"-short", "-time=10ms", "-lost=50ms", "-clients=8", "-crowd=50", "-frameworks=fiber,chi", "-out=" + dir}
	if err := run(t.Context(), args, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range situations {
		title := "<h2>" + strings.ToUpper(at.name[:1]) + at.name[1:] + "</h2>"
		if !strings.Contains(string(page), title) {
			t.Errorf("the report lacks %s", title)
		}
	}
	for _, k := range kinds {
		if !strings.Contains(out.String(), k.name) {
			t.Errorf("the tables lack %q", k.name)
		}
	}
	for _, name := range []string{"cost", "frameworks", "paused", "ended"} {
		if svg, err := os.ReadFile(filepath.Join(dir, name+".svg")); err != nil || !strings.Contains(string(svg), "</svg>") {
			t.Errorf("%s.svg: %v", name, err)
		}
	}
	if !strings.Contains(log.String(), "100 %  done") {
		t.Errorf("no progress:\n%s", log.String())
	}
}

// TestInterrupted keeps what was measured before, and leaves out the turn that was under way.
func TestInterrupted(t *testing.T) {
	needServer(t)
	t.Setenv("DRAGONFLY_ADDR", "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	opt, err := parse([]string{"-short", "-time=10ms", "-clients=4", "-only=none,memory", "-frameworks=chi", "-cases=hit-1,miss"}, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	m := &measuring{opt: opt}
	end, err := m.connect(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = end() }()
	r, err := m.run(ctx, func(done, _ int, _ string) {
		if done == 3 { // in the middle of the second turn
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want that it was interrupted", err)
	}
	if n := r.rounds("hit-1") + r.rounds("miss"); n != 1 {
		t.Errorf("%d turns, want the one that was complete", n)
	}
	if p := m.page(r, true); !slices.ContainsFunc(p.Facts, func(f report.Fact) bool { return strings.Contains(f.Value, "interrupted") }) {
		t.Error("the report does not say so")
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-rounds=0":                 "-rounds is 0: use 1 or more",
		"-clients=-1":               "-clients is -1",
		"-crowd=0":                  "-crowd is 0",
		"-time=1ms":                 "-time is 1ms: use 10ms to 1m0s",
		"-wait=2s":                  "-wait is 2s: use 0s to 1s",
		"-only=disk":                `-only: there is no "disk": use some of none,memory`,
		"-cases=hit":                `-cases: there is no "hit": use some of hit-1`,
		"-frameworks=fiber,martini": `-frameworks: there is no "martini"`,
		"-docs -only=none":          "-docs: the documents have everything",
		"more":                      `"more" is no flag`,
	} {
		if _, err := parse(strings.Fields(args), &strings.Builder{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	o, err := parse([]string{"-only=memory, none", "-frameworks=chi,fiber"}, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []choice{{none, "fiber"}, {none, "chi"}, {memory, "fiber"}, {memory, "chi"}}; !slices.Equal(o.choices, want) {
		t.Errorf("%v, want %v", o.choices, want)
	}
}

// TestChoices: everybody's cache is in every framework but Fiber's, and all situations have
// somebody to measure.
func TestChoices(t *testing.T) {
	o, err := parse(nil, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(o.choices); n != 6*4+3 {
		t.Errorf("%d choices, want 27", n)
	}
	m := &measuring{opt: o, own: true}
	per := map[string]int{}
	lostSeen := false
	for _, turn := range m.turns() {
		per[turn.at.id] += len(turn.choices)
		if turn.at.how == lost {
			lostSeen = true
		} else if lostSeen {
			t.Fatalf("%s comes after the server has gone", turn.at.name)
		}
	}
	for id, want := range map[string]int{"hit-1": 27, "gzip": 27, "miss": 19, "cold": 19, "paused": 5, "ended": 5} {
		if per[id] != want*o.rounds {
			t.Errorf("%s: %d measures in %d rounds, want %d in each", id, per[id], o.rounds, want)
		}
	}
	again := (&measuring{opt: o, own: true}).turns()
	if !slices.EqualFunc(m.turns(), again, func(a, b turn) bool { return a.at == b.at && slices.Equal(a.choices, b.choices) }) {
		t.Error("one seed gives two orders")
	}
	m.own = false
	if slices.ContainsFunc(m.turns(), func(t turn) bool { return t.at.how == lost }) {
		t.Error("somebody's server is to be stopped")
	}
}

func TestRatios(t *testing.T) {
	c, by := choice{memory, "chi"}, choice{none, "chi"}
	r := newResults(situations[:1], []choice{by, c})
	for _, round := range [][2]float64{{20, 10}, {90, 30}, {8, 4}} { // the machine was slow in the last
		r.add(situations[0], map[choice]figures{c: {rate: round[0], cpu: nan}, by: {rate: round[1]}})
	}
	if got := r.ratio("hit-1", c, by, rate); got.Median() != 2 || got.High() != 3 {
		t.Errorf("%v", got)
	}
	if got := r.sample("hit-1", c, cpu).Spread(report.Took); got != "–" {
		t.Errorf("what is not known is %q", got)
	}
}

func TestServerCPU(t *testing.T) {
	got, err := serverCPU("# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\nused_cpu_sys_children:9\r\n")
	if err != nil || got != 3750*time.Millisecond {
		t.Errorf("%v, %v", got, err)
	}
	for _, info := range []string{"", "used_cpu_sys:1\n", "used_cpu_sys:x\nused_cpu_user:1\n"} {
		if _, err := serverCPU(info); err == nil {
			t.Errorf("%q: no error", info)
		}
	}
}

func TestOwnCPU(t *testing.T) {
	before, known := ownCPU()
	if !known {
		t.Skip("the system does not tell")
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if now, _ := ownCPU(); now >= before+5*time.Millisecond {
			return
		}
		if time.Now().After(end) {
			t.Fatal("computing takes no time")
		}
	}
}

// origin serves what h says, and counts.
func origin(t *testing.T, h func(n int64, w http.ResponseWriter)) (addr string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { h(calls.Add(1), w) })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String(), calls
}

// TestLoad: every answer is looked at, and all that was asked is counted.
func TestLoad(t *testing.T) {
	at := situations[0]
	addr, calls := origin(t, func(_ int64, w http.ResponseWriter) { _, _ = w.Write(made[1]) })
	l, err := newLoad(addr, at, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	got, err := l.once()
	if err != nil || len(got.each) != 10 || calls.Load() != 10 {
		t.Fatalf("%d answers to %d requests, %v", len(got.each), calls.Load(), err)
	}
	got, err = l.run(t.Context(), 20*time.Millisecond)
	if err != nil || int64(len(got.each)) != calls.Load()-10 || got.took < 20*time.Millisecond {
		t.Fatalf("%d answers to %d requests in %v, %v", len(got.each), calls.Load()-10, got.took, err)
	}
	if !slices.IsSorted(got.each) || got.at(0.5) > got.at(0.99) || got.at(1) != float64(got.each[len(got.each)-1]) {
		t.Error("how long they took is not in order")
	}

	wrong := slices.Clone(made[1])
	wrong[500]++
	for name, h := range map[string]func(int64, http.ResponseWriter){
		"status":     func(_ int64, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"length":     func(_ int64, w http.ResponseWriter) { _, _ = w.Write(made[1][1:]) },
		"bytes":      func(_ int64, w http.ResponseWriter) { _, _ = w.Write(wrong) },
		"connection": func(int64, http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		addr, _ := origin(t, h)
		l, err := newLoad(addr, at, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.once(); err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, c := range l.clients {
			c.n = 0 // the next one's bytes are compared again
		}
		l.tolerant = true
		if got, err := l.once(); err != nil || got.errors != 2 {
			t.Errorf("%s: %d errors are counted, want 2; %v", name, got.errors, err)
		}
		l.close()
	}
}

// TestDocument fills the README that there is.
func TestDocument(t *testing.T) {
	o, err := parse(nil, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README.md"), readme, 0o600); err != nil {
		t.Fatal(err)
	}
	m, r := &measuring{opt: o, own: true, store: &servers.Server{Kind: servers.Redis}}, newResults(o.situations, o.choices)
	for _, turn := range m.turns() {
		taken := map[choice]figures{}
		for i, c := range turn.choices {
			taken[c] = figures{rate: 123_000 + float64(i), cpu: 10_000, serverCPU: math.NaN(), p50: 1, p99: 2, longest: 3, calls: 1, took: 4}
		}
		r.add(turn.at, taken)
	}
	if err := m.document(r).Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rounds 5", "| cacheaside, near | 123,000", "(123,000–123,000)"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the README lacks %q", want)
		}
	}
	for _, name := range []string{"cost.svg", "frameworks.svg"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
