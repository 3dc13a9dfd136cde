package main

import (
	"encoding/json"
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

// TestShort is a short run, as the program does longer ones.
func TestShort(t *testing.T) {
	if !storetest.HasServer() {
		t.Skip("no server that can be restarted")
	}
	for _, near := range []int{0, 1 << 20} {
		c := check{seed: 1, reads: 4000, processes: 4, rows: 24, near: near}
		r, err := c.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + r.table(c))
		if err := r.broken(c); err != nil {
			t.Error(err)
		}
		if r.hits.Load() == 0 || near > 0 && r.near.Load() == 0 || r.purges.Load() == 0 || r.evictions.Load() == 0 {
			t.Error("nothing was tested")
		}
	}
}
