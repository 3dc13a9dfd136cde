package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestShort is a short run, as the program does longer ones. It fails by itself where a
// hit is none.
func TestShort(t *testing.T) {
	g := growth{kinds: kinds, tags: []int{0, tags[2]}, most: least, bytes: 64, each: time.Nanosecond}
	if storetest.HasServer() {
		g.addr = storetest.Server(t)
		g.kinds = kinds[storetest.Rounds(1, 0):] // that of the server at least
	} else { // what stands in for one does not tell its memory
		g.kinds = kinds[:1]
	}
	if storetest.Long() {
		g.tags = tags
	}
	var out bytes.Buffer
	if err := g.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")[2:]
	if len(lines) != len(g.kinds)*len(g.tags) {
		t.Fatalf("the table has %d rows, want one for each store and number of tags", len(lines))
	}
	for i, line := range lines {
		cells := strings.Split(line, " | ")
		if len(cells) != 8 {
			t.Fatalf("%q has %d cells, want 8", line, len(cells))
		}
		for j, cell := range cells {
			if untagged := i%len(g.tags) == 0; (cell == "–") != (untagged && j == 5) {
				t.Errorf("%q: cell %d is %q", line, j, cell)
			}
		}
	}
}
