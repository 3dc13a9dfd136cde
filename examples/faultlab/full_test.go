package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/faultproxy"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// TestOutOfMemory: a full server refuses writes, in its own words or in those of another
// kind, and none when the fault is over.
func TestOutOfMemory(t *testing.T) {
	needServer(t)
	for _, f := range faults() {
		if !strings.HasPrefix(f.name, "server out of memory") {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			ctx := t.Context()
			w := &world{dir: t.TempDir()}
			var err error
			if w.server, err = server.StartStore(context.Background(), t.TempDir(), f.opts...); err != nil {
				t.Fatal(err)
			}
			defer w.server.Kill()
			if w.proxy, err = faultproxy.New(ctx, w.server.Addr); err != nil {
				t.Fatal(err)
			}
			defer w.proxy.Close()
			if err := w.connect(ctx); err != nil {
				t.Fatal(err)
			}
			defer w.admin.Close()
			c, err := rueidis.NewClient(rueidis.ClientOption{
				InitAddress: []string{w.proxy.Addr()}, ForceSingleClient: true, DisableCache: true, ConnWriteTimeout: time.Minute,
				Dialer: net.Dialer{Timeout: time.Minute},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			set := func() error {
				return c.Do(ctx, c.B().Set().Key("some:key:of:ours").Value(strings.Repeat("v", 1<<20)).Build()).Error()
			}
			if err := set(); err != nil {
				t.Fatal(err)
			}
			if err := f.begin(ctx, w); err != nil {
				t.Fatal(err)
			}
			want, not := "OOM command not allowed", "Out of memory"
			if (w.server.Kind == servers.Dragonfly) != strings.Contains(f.name, "another kind") {
				want, not = not, want
			}
			if err := set(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), not) {
				t.Errorf("a write says %v, want %q", err, want)
			}
			if err := f.during(ctx, w); err != nil {
				t.Error(err)
			}
			if err := f.end(ctx, w); err != nil {
				t.Fatal(err)
			}
			if err := set(); err != nil {
				t.Error(err)
			}
			if n, err := w.admin.Do(ctx, w.admin.B().Dbsize().Build()).AsInt64(); n != 1 || err != nil {
				t.Errorf("%d keys are left, %v", n, err)
			}
		})
	}
}
