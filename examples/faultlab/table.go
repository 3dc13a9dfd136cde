package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// table prints results as they come.
type table struct {
	w        io.Writer
	markdown bool
	begun    bool
}

func newTable(w io.Writer, markdown bool) *table { return &table{w: w, markdown: markdown} }

var columns = []struct {
	name  string
	width int
}{
	{"fault", 42},
	{"requests", 8},
	{"wrong", 6},
	{"errors", 7},
	{"of the handler", 14},
	{"p50, p99", 18},
	{"without cache", 18},
	{"hits", 5},
	{"back after", 10},
}

func (t *table) add(results []*result) {
	if !t.begun {
		t.begun = true
		names, rule := make([]string, len(columns)), make([]string, len(columns))
		for i, c := range columns {
			names[i], rule[i] = c.name, "---"
		}
		t.line(names)
		if t.markdown {
			t.line(rule)
		}
	}
	for _, r := range results {
		name := r.fault
		if r.framework != "all" {
			name = r.framework + ": " + name
		}
		times, bare := sortedOf(r.times), sortedOf(r.bare)
		back := "never"
		if r.recovered >= 0 {
			back = short(r.recovered)
		}
		t.line([]string{
			name, count(r.requests), count(r.wrong), count(r.errors), count(r.caused),
			short(percentile(times, 0.5)) + ", " + short(percentile(times, 0.99)),
			short(percentile(bare, 0.5)) + ", " + short(percentile(bare, 0.99)),
			fmt.Sprintf("%d%%", 100*r.hits/max(1, r.requests)), back,
		})
		for _, what := range r.what {
			_, _ = fmt.Fprintln(t.w, "   ", what)
		}
	}
}

func (t *table) line(cells []string) {
	if t.markdown {
		_, _ = fmt.Fprintln(t.w, "| "+strings.Join(cells, " | ")+" |")
		return
	}
	var b strings.Builder
	for i, c := range cells {
		if i == 0 {
			fmt.Fprintf(&b, "%-*s", columns[i].width, c)
		} else {
			fmt.Fprintf(&b, " %*s", columns[i].width, c)
		}
	}
	_, _ = fmt.Fprintln(t.w, b.String())
}

func (t *table) end() {
	if t.markdown {
		_, _ = fmt.Fprintln(t.w)
	}
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// short shows a duration in milliseconds, or in seconds from ten on.
func short(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
