package dragonfly_test

import (
	"context"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
)

var _ core.Store = (*dragonfly.Store)(nil)

func open(tb testing.TB, url string, opts ...dragonfly.Option) *dragonfly.Store {
	tb.Helper()
	s, err := dragonfly.Open(context.Background(), url, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	addr := storetest.Server(t)
	storetest.Run(t, func(t *testing.T) core.Store { return open(t, addr) })
}

func BenchmarkGet(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key := storetest.Prefix() + "key"
	if err := s.Set(ctx, key, make([]byte, 1024), time.Hour); err != nil {
		b.Fatal(err)
	}
	get := func(b *testing.B) {
		if _, found, err := s.Get(ctx, key); !found || err != nil {
			b.Error(found, err)
		}
	}
	b.Run("1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			get(b)
		}
	})
	b.Run("64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32) // of two processors
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				get(b)
			}
		})
	})
}
