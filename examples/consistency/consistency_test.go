package main

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(asWorker); settings != "" { // started by the test itself
		var w worker
		err := json.Unmarshal([]byte(settings), &w)
		if err == nil {
			err = w.serve()
		}
		exit(err)
	}
	os.Exit(m.Run())
}

// everything is what the program exercises by default.
var everything = Features{true, true, true, true, true, true, true, true, true, true, true}

// TestShort is a short run, as the program does longer ones.
func TestShort(t *testing.T) {
	if !storetest.HasServer() {
		t.Skip("no server that can be restarted")
	}
	for _, near := range []int{1 << 20, 0}[:storetest.Rounds(1, 2)] {
		t.Run(fmt.Sprint("near=", near), func(t *testing.T) {
			t.Parallel() // they wait most of the time
			c := check{seed: 1, reads: 3000, most: 30_000, processes: 4, rows: 60, near: near, Features: everything}
			r, err := c.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Log("\n" + r.table(c))
			if err := r.broken(c); err != nil {
				t.Error(err)
			}
			for _, name := range r.missing(c) {
				t.Errorf("%s: none, so that was not tested", name)
			}
		})
	}
}
