package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What core/SIZING.md shows is what the calculator prints.
func TestSizingPage(t *testing.T) {
	page, err := os.ReadFile("../../../core/SIZING.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```console\n\\$ go run ./examples/bench/simulate ([^\n]*-size[^\n]*)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) != 3 {
		t.Fatalf("%d examples, want 3", len(examples))
	}
	for _, e := range examples {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(e[1]), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		if out.String() != e[2] {
			t.Errorf("%s prints\n%s\nbut the page says\n%s", e[1], out.String(), e[2])
		}
	}
}

// The share of near hits that the calculator says is what is simulated.
func TestNearAsTheFormula(t *testing.T) {
	for _, n := range []int{1, 8} {
		sc := small()
		sc.memory, sc.instances, sc.near, sc.ttl = 1<<40, n, 16<<20, 40*sc.nearAge
		r := ran(t, sc)
		want := expect(load{rps: sc.rps, keys: sc.keys, zipf: sc.zipf, ttl: sc.ttl, instances: n, near: sc.near, nearAge: sc.nearAge, value: sc.value})
		if got := r.nearRatio(); math.Abs(got-want.near) > 0.04 {
			t.Errorf("%d instances: near hit ratio %.3f, the formula says %.3f", n, got, want.near)
		}
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-size -rps 0": "-rps", "-size -keys -1": "-keys", "-size -one-off 2": "-one-off", "-size -cpus 0": "-cpus", "-size -jitter NaN": "-jitter",
		"-size -server-threads 0": "-server-threads", "-rps 0": "-rps", "-coalesce some": "-coalesce", "-policy fifo": "-policy", "more": "arguments", "-nonsense": "nonsense",
	} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one about %s", args, err, want)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), strings.Fields("-rps 100 -keys 100 -duration 20s -warmup 10s -near 1048576"), &out, io.Discard); err != nil || !strings.Contains(out.String(), "near hit ratio") {
		t.Errorf("%v: %s", err, out.String())
	}
}
