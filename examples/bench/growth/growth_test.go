package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestMain lets the tests' program be a worker, as growth itself.
func TestMain(m *testing.M) {
	if ran, err := runWorker(os.Stdin, os.Stdout); ran {
		exit(err)
	}
	os.Exit(m.Run())
}

// short is a run of everything, as the program does longer ones. It fails by itself where
// a hit is none.
func short(t *testing.T) *lab {
	t.Helper()
	if !storetest.HasServer() {
		t.Skip("what stands in for a server does not tell its memory")
	}
	l := &lab{
		addr: storetest.Server(t), axes: axisNames(), max: 2 * least, bytes: 64, rounds: 2, calls: 20, time: 40 * time.Millisecond, seed: 1,
		tags: []int{0, 5}, processes: []int{1, 2}, rates: []int{0, 100}, progress: io.Discard,
	}
	if storetest.Long() {
		l.tags, l.processes, l.rates = []int{0, 1, 5, 50}, []int{1, 2, 4}, []int{0, 100, 1000}
	}
	return l
}

// TestShort is a run of all axes, which leaves nothing on the server and puts tables and
// charts where they belong.
func TestShort(t *testing.T) {
	l := short(t)
	docs := t.TempDir()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(docs, "README.md"), readme, 0o600); err != nil {
		t.Fatal(err)
	}
	var tables bytes.Buffer
	out := output{report: filepath.Join(t.TempDir(), "report"), docs: docs}
	if err := l.run(t.Context(), &tables, out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + tables.String())

	html, err := os.ReadFile(filepath.Join(out.report, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(docs, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	charts, err := filepath.Glob(filepath.Join(docs, "*.svg"))
	if err != nil || len(charts) == 0 || strings.Count(string(html), "<svg") != len(charts) {
		t.Errorf("%d charts, and %d in the report: %v", len(charts), strings.Count(string(html), "<svg"), err)
	}
	for _, chart := range charts {
		if name := filepath.Base(chart); !strings.Contains(string(text), "]("+name+")") {
			t.Errorf("the README does not show %s", name)
		}
	}
	if shown := strings.Count(string(text), ".svg)"); shown != len(charts) {
		t.Errorf("the README shows %d charts, and %d are drawn", shown, len(charts))
	}
	kinds, steps := 3, 2
	rows := map[string]int{
		"entries": kinds * steps, "tags": kinds * len(l.tags), "pertag": 5 + 5 + 4,
		"processes": kinds * len(l.processes), "purges": kinds * (1 + len(targets)*(len(l.rates)-1)),
	}
	for name, want := range rows {
		_, part, _ := strings.Cut(string(text), "<!-- "+name+": begin -->\n")
		part, _, _ = strings.Cut(part, "<!-- "+name+": end -->")
		table, where, _ := strings.Cut(part, "\n\n")
		if got := strings.Count(table, "\n") - 1; got != want {
			t.Errorf("%s has %d rows, want %d:\n%s", name, got, want, table)
		}
		if !strings.Contains(where, "Measured: 20") {
			t.Errorf("%s does not say when it was measured: %q", name, where)
		}
	}
	clean(t, l.addr)
}

// clean checks that nothing of the program is left.
func clean(t *testing.T, addr string) {
	t.Helper()
	b, err := start(t.Context(), addr, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }()
	if err := b.scan(t.Context(), "growth-*", func(keys []string) error {
		t.Errorf("left on the server: %q", keys[0])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestProtocol checks what the README says of the protocol: the costs that do not depend
// on the machine.
func TestProtocol(t *testing.T) {
	l := short(t)
	var err error
	if l.backend, err = start(t.Context(), l.addr, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.backend.close() }()
	l.begun, l.rand = time.Now(), random(1)
	rows, err := l.grown(t.Context(), shape{Bytes: 64, Tags: 5}, []string{onServer, nearTier}, []int{least, 3 * least})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		name := r.kind + " " + strconv.Itoa(r.x)
		commands, trips := 6.0, 1.0 // the entry and five stamps
		if r.kind == nearTier {
			commands, trips = 0, 0
		}
		// The journal is read now and then, and what is not remembered takes another trip.
		if got := r.hit.commands.Low(); got < commands || got > commands+0.5 {
			t.Errorf("%s: %v commands for a hit, want %v", name, got, commands)
		}
		if got := r.hit.trips.Low(); got < trips || got > trips+1.2 {
			t.Errorf("%s: %v trips for a hit, want %v", name, got, trips)
		}
		if got := r.tag.trips.Low(); got < 1 || got > 1.5 {
			t.Errorf("%s: %v trips for the purge of a tag, want 1", name, got)
		}
	}
}

func TestModel(t *testing.T) {
	m := fullModel(2 * shared)
	read := func(i int) event { return event{entry: i} }
	purge := func(i int, tag bool) event { return event{purge: true, tag: tag, entry: i} }
	for name, c := range map[string]struct {
		events []event
		want   float64
	}{
		"nothing purged":   {[]event{read(0), read(19)}, 1},
		"a URL":            {[]event{purge(3, false), read(3), read(3), read(4), read(5)}, 0.75},
		"a tag":            {[]event{purge(3, true), read(4), read(5), read(11), read(12)}, 0.5},
		"twice before use": {[]event{purge(3, false), purge(3, false), read(3), read(3)}, 0.5},
	} {
		if got := m.play(c.events); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		m = fullModel(2 * shared)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-max 10", "-max 10: want 1000"},
		{"-bytes -1", "-bytes -1"},
		{"-rounds 0", "-rounds 0"},
		{"-calls 5", "-calls 5"},
		{"-calls 501", "-calls 501"},
		{"-time 1us", "-time 1µs"},
		{"-only tags,bytes", `-only "bytes": want some of entries, tags`},
		{"more", `"more"`},
		{"-max many", `"many"`},
		{"-near", "-near"},
	} {
		var messages bytes.Buffer
		_, _, err := parse(strings.Fields(c.args), &messages)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	l, out, err := parse(strings.Fields("-only purges,tags -max 1000 -docs"), io.Discard)
	if err != nil || len(l.axes) != 2 || !strings.HasSuffix(filepath.ToSlash(out.docs), "bench/growth") {
		t.Errorf("%v, %+v, %v", l, out, err)
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	l := &lab{axes: axisNames(), max: least, progress: io.Discard}
	err := l.run(t.Context(), io.Discard, output{})
	if err == nil || !strings.Contains(err.Error(), "-dragonfly") {
		t.Errorf("%v, want an error that names the flag", err)
	}
}
