package breaker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// copies is a store of which nothing but one copy in this process can be had.
type copies struct {
	store.Coordinator
	store.Tiered
	t *testing.T
}

func (c copies) GetStamped(ctx context.Context, key string, dst []store.Stamp, _ []string) ([]byte, bool, []store.Stamp, error) {
	if ctx.Err() == nil {
		c.t.Error("the store is asked, though the breaker is open")
	}
	if key != "near" {
		return nil, false, dst, ctx.Err()
	}
	return []byte("v"), true, append(dst, store.Stamp{Epoch: 1, Hard: 1, Soft: 1}), nil
}

// TestOpenBreakerLeavesCopies: they need no server.
func TestOpenBreakerLeavesCopies(t *testing.T) {
	s := copies{t: t}
	for name, c := range map[string]struct {
		inner Parts
		key   string
		found bool
	}{
		"a copy":       {Parts{Coordinator: s, Tiered: s}, "near", true},
		"no copy":      {Parts{Coordinator: s, Tiered: s}, "far", false},
		"no near tier": {Parts{Coordinator: s}, "near", false},
	} {
		b := New(c.inner, Options{Failures: 5, Pause: time.Second, Timeout: time.Second, ProbeKey: "clock", Logger: slog.New(slog.DiscardHandler)})
		b.open.Store(true)
		value, found, stamps, err := b.GetStamped(t.Context(), c.key, nil, []string{"tag"})
		if found != c.found || (err == nil) != c.found || c.found && (string(value) != "v" || len(stamps) != 1) {
			t.Errorf("%s: %q, %v, %v, %v", name, value, found, stamps, err)
		}
	}
}
