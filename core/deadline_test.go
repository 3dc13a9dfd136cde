package cacheaside

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadline: a call ends at its own deadline, whatever the ones before it in
// the same memory had, and however often it was moved.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p deadlines
		rng := rand.New(rand.NewPCG(1, 2))
		ctx := t.Context()
		reused := 0
		var last *deadline
		for range 2000 {
			timeout := time.Duration(1+rng.IntN(100)) * time.Millisecond
			want := time.Now().Add(timeout)
			l := p.begin(ctx, timeout)
			if l == last {
				reused++
			}
			last = l
			if at, ok := l.Deadline(); !ok || !at.Equal(want) {
				t.Fatalf("the deadline is %v, want %v", at, want)
			}
			if rng.IntN(4) == 0 {
				time.Sleep(timeout / 2)
				more := time.Duration(rng.IntN(3000)) * time.Millisecond
				l.Extend(more)
				want = want.Add(more)
			}
			if rng.IntN(8) == 0 { // until it is over
				<-l.Done()
				if !time.Now().Equal(want) || !errors.Is(l.Err(), context.DeadlineExceeded) {
					t.Fatalf("ended %v after its deadline, with %v", time.Since(want), l.Err())
				}
				l.Extend(time.Hour)
				if l.Err() == nil {
					t.Fatal("what has ended was extended")
				}
			} else {
				time.Sleep(min(time.Duration(rng.IntN(150))*time.Millisecond, time.Until(want)-1))
				select {
				case <-l.Done():
					t.Fatalf("ended %v before its deadline", time.Until(want))
				default:
				}
			}
			p.end(l)
			l.mu.Lock()
			if left := time.Until(l.rings); left > outlives {
				t.Fatalf("the timer goes on for %v", left)
			}
			l.mu.Unlock()
			time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		}
		if reused == 0 {
			t.Error("none was used again")
		}
	})
}

// TestDeadlinesAtOnce is for the race detector.
func TestDeadlinesAtOnce(t *testing.T) {
	var p deadlines
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 5000 {
				l := p.begin(t.Context(), time.Duration(1+i%300)*time.Microsecond)
				l.Extend(time.Duration(i%7) * time.Microsecond)
				if i%50 == 0 {
					<-l.Done()
				}
				_ = l.Err()
				p.end(l)
			}
		}()
	}
	for range 4 {
		<-done
	}
}

// TestDeadlineOfAStoreOfOnesOwn: a store may derive a context, and cancel it, while the
// timer of that goes off, which still looks at its parent afterwards.
func TestDeadlineOfAStoreOfOnesOwn(t *testing.T) {
	var p deadlines
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				l := p.begin(t.Context(), time.Minute)
				own, cancel := context.WithTimeout(l, time.Duration(i%50)*time.Microsecond)
				<-own.Done()
				cancel()
				p.end(l)
			}
		})
	}
	all.Wait()
}
