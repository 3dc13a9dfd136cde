package jobs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// task takes a time, and may go on when its own is over.
type task struct {
	takes, lateAfter time.Duration
	ran, dropped     *atomic.Int32
}

func (t task) Run(ctx context.Context, late func()) {
	t.ran.Add(1)
	if t.lateAfter > 0 {
		time.Sleep(t.lateAfter)
		late()
		late() // counts once
	}
	select {
	case <-time.After(t.takes):
	case <-ctx.Done():
	}
}

func (t task) Dropped() { t.dropped.Add(1) }

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran, dropped atomic.Int32
		p := New(2, 3, false)
		taken := 0
		for range 10 {
			if p.Submit(task{time.Second, 0, &ran, &dropped}) {
				taken++
			}
		}
		synctest.Wait()
		if taken != 5 || ran.Load() != 2 {
			t.Errorf("%d taken, %d run; want 5 and 2", taken, ran.Load())
		}
		time.Sleep(1500 * time.Millisecond)
		if synctest.Wait(); ran.Load() != 4 {
			t.Errorf("%d have run after the first are over, want 4", ran.Load())
		}
		time.Sleep(2 * time.Second)
		if err := p.Close(t.Context()); err != nil || ran.Load() != 5 || dropped.Load() != 0 {
			t.Errorf("%v, %d run, %d dropped", err, ran.Load(), dropped.Load())
		}
		if p.Submit(task{0, 0, &ran, &dropped}) {
			t.Error("taken after Close")
		}
	})
}

// TestLate: who goes on after its time gives its place to another one, but there are
// never more than twice as many.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran, dropped atomic.Int32
		p := New(2, 100, false)
		for range 10 {
			p.Submit(task{time.Hour, time.Second, &ran, &dropped})
		}
		time.Sleep(10 * time.Second)
		if synctest.Wait(); ran.Load() != 4 {
			t.Errorf("%d run, want 4", ran.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if synctest.Wait(); dropped.Load() != 6 {
			t.Errorf("%d dropped, want 6", dropped.Load())
		}
	})
}

// TestDrains: Close of a pool that drains lets what is queued run.
func TestDrains(t *testing.T) {
	for drains, want := range map[bool]int32{false: 1, true: 5} {
		synctest.Test(t, func(t *testing.T) {
			var ran, dropped atomic.Int32
			p := New(1, 10, drains)
			for range 5 {
				p.Submit(task{time.Second, 0, &ran, &dropped})
			}
			if err := p.Close(t.Context()); err != nil || ran.Load() != want || dropped.Load() != 5-want {
				t.Errorf("drains %v: %v, %d run, %d dropped", drains, err, ran.Load(), dropped.Load())
			}
		})
	}
}

func TestAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 0, false)
		var done atomic.Int32
		p.Aside(func() { time.Sleep(time.Second); done.Add(1) })
		if done.Load() != 0 {
			t.Error("the caller waits")
		}
		if err := p.Close(t.Context()); err != nil || done.Load() != 1 {
			t.Errorf("Close: %v, done %d", err, done.Load())
		}
		if p.Aside(func() { done.Add(1) }); done.Load() != 2 {
			t.Error("nobody waits for it after Close")
		}
	})
}

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 10, false)
		if err := p.Settle(t.Context()); err != nil {
			t.Errorf("nothing runs: %v", err)
		}
		var ran, dropped atomic.Int32
		for range 3 {
			p.Submit(task{time.Second, 0, &ran, &dropped})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := p.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too early: %v", err)
		}
		began := time.Now()
		if err := p.Settle(t.Context()); err != nil || ran.Load() != 3 || time.Since(began) != 2500*time.Millisecond {
			t.Errorf("%v, %d run after %v", err, ran.Load(), time.Since(began))
		}
	})
}
