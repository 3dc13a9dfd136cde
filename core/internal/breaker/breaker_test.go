package breaker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ailing answers each Get with err.
type ailing struct {
	store.Store
	err   atomic.Pointer[error]
	calls atomic.Int32
}

func (a *ailing) Get(context.Context, string) ([]byte, bool, error) {
	a.calls.Add(1)
	if err := a.err.Load(); err != nil {
		return nil, false, *err
	}
	return nil, false, nil
}

func (a *ailing) fails(err error) { a.err.Store(&err) }

// TestBreaker: open after failures in a row that go on for the time-out, closed by a
// probe, and not moved by what says nothing of the server.
func TestBreaker(t *testing.T) {
	errDown := errors.New("down")
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		a := new(ailing)
		b := New(Parts{Store: a}, Options{Failures: 3, Pause: time.Second, Timeout: 50 * time.Millisecond, ProbeKey: "clock", Logger: slog.New(slog.NewTextHandler(&log, nil)), Changed: func(bool) {}})
		defer b.Stop()
		get := func() error { _, _, err := b.Get(t.Context(), "k"); return err }
		for _, err := range []error{context.Canceled, store.ErrSlow, store.ErrRefused} {
			a.fails(err)
			for range 10 {
				_ = get()
				time.Sleep(20 * time.Millisecond)
			}
			if b.Open() {
				t.Fatalf("%v opens it", err)
			}
		}
		a.fails(errDown)
		for range 10 { // a connection that is lost fails all calls under way at once
			_ = get()
		}
		if b.Open() {
			t.Fatal("open at once")
		}
		time.Sleep(50 * time.Millisecond)
		if _ = get(); !b.Open() || b.Opened() != 1 {
			t.Fatal("not open")
		}
		before := a.calls.Load()
		if err := get(); !errors.Is(err, ErrOpen) || a.calls.Load() != before || b.Skipped() != 1 {
			t.Errorf("%v, %d calls, %d skipped", err, a.calls.Load()-before, b.Skipped())
		}
		if _, _, err := b.Get(Insist(t.Context()), "k"); !errors.Is(err, errDown) {
			t.Errorf("who insists gets %v", err)
		}
		time.Sleep(3 * time.Second)
		if !b.Open() || b.Opened() != 1 {
			t.Error("a probe that fails closes it, or opens it anew")
		}
		a.err.Store(nil)
		time.Sleep(1100 * time.Millisecond)
		if synctest.Wait(); b.Open() || get() != nil {
			t.Error("a probe that succeeds does not close it")
		}
		if !strings.Contains(log.String(), "answers again") {
			t.Errorf("the log says %s", &log)
		}
	})
}
