package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
)

// locker is a store under test that can lock.
type locker struct {
	one
	locks core.Locker
}

func (s *suite) newLocker(t *testing.T) locker {
	t.Helper()
	o := s.new(t)
	l, ok := o.Store.(core.Locker)
	if !ok {
		t.Skip("the store is no core.Locker")
	}
	return locker{o, l}
}

func (l locker) lock(key, token string, ttl time.Duration, want string) {
	l.Helper()
	if got, err := l.locks.Lock(l.ctx(), l.prefix+key, token, ttl); err != nil || got != want {
		l.Fatalf("Lock by %q: holder %q, %v; want %q", token, got, err, want)
	}
}

func (l locker) extend(key, token string, ttl time.Duration, want bool) {
	l.Helper()
	if got, err := l.locks.Extend(l.ctx(), l.prefix+key, token, ttl); err != nil || got != want {
		l.Fatalf("Extend by %q: %v, %v; want %v", token, got, err, want)
	}
}

func (l locker) unlock(key, token, note string, ttl time.Duration) {
	l.Helper()
	if err := l.locks.Unlock(l.ctx(), l.prefix+key, token, note, ttl); err != nil {
		l.Fatalf("Unlock by %q: %v", token, err)
	}
}

// freed waits until the lock is free, by taking it. It must have been held by
// holder for ttl since before, and be free late after that.
func (s *suite) freed(l locker, key, holder string, before, after time.Time, ttl time.Duration) {
	l.Helper()
	const late, slack = 600 * time.Millisecond, 10 * time.Millisecond
	if s.advance != nil {
		s.advance(ttl - 2*time.Millisecond)
		l.lock(key, "next", time.Hour, holder)
		s.advance(4 * time.Millisecond)
		l.lock(key, "next", time.Hour, "")
		return
	}
	for {
		asked := time.Now()
		got, err := l.locks.Lock(l.ctx(), l.prefix+key, "next", time.Hour)
		switch {
		case err != nil:
			l.Fatalf("Lock: %v", err)
		case got == "":
			if age := time.Since(before); age < ttl-slack {
				l.Fatalf("the lock was free %v after it was taken for %v", age, ttl)
			}
			return
		case got != holder:
			l.Fatalf("the holder is %q, want %q", got, holder)
		case asked.Sub(after) > ttl+late:
			l.Fatalf("the lock was still held %v after it was taken for %v", asked.Sub(after), ttl)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *suite) lock(t *testing.T) {
	l := s.newLocker(t)
	l.lock("k", "a", time.Hour, "")
	l.lock("k", "b", time.Hour, "a")
	l.lock("k", "a", time.Hour, "a")
	l.lock("other", "b", time.Hour, "")
	l.unlock("k", "a", "", time.Hour)
	l.lock("k", "b", time.Hour, "")
	l.lock("k", "a", time.Hour, "b")
}

func (s *suite) lockExclusive(t *testing.T) {
	l := s.newLocker(t)
	ctx := l.within(verySlow)
	for _, want := range []string{"", "first", "first"} {
		token := "second"
		if want == "" {
			token = "first"
		}
		if holder, err := l.locks.Lock(ctx, l.prefix+"one", token, time.Hour); err != nil || holder != want {
			t.Errorf("Lock is given %q, %v; want %q", holder, err, want)
		}
	}
	const workers, rounds = 64, 20
	var holders, taken atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		token := strings.Repeat("t", 1+w)
		wg.Go(func() {
			for range rounds {
				holder, err := l.locks.Lock(ctx, l.prefix+"k", token, time.Hour)
				switch {
				case err != nil:
					t.Errorf("Lock: %v", err)
					return
				case holder == "":
				case strings.Trim(holder, "t") != "" || holder == token:
					t.Errorf("the holder is %q", holder)
					return
				default:
					// Those who do not have it may try what they like.
					if held, err := l.locks.Extend(ctx, l.prefix+"k", token, time.Minute); err != nil || held {
						t.Errorf("Extend by one who does not hold the lock: %v, %v", held, err)
						return
					}
					if err := l.locks.Unlock(ctx, l.prefix+"k", token, "", 0); err != nil {
						t.Errorf("Unlock: %v", err)
						return
					}
					continue
				}
				taken.Add(1)
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock at once", n)
				}
				if w%16 == 0 {
					time.Sleep(time.Millisecond) // for others who have looked and not yet taken
				}
				if held, err := l.locks.Extend(ctx, l.prefix+"k", token, time.Hour); err != nil || !held {
					t.Errorf("Extend by the holder: %v, %v", held, err)
				}
				holders.Add(-1)
				if err := l.locks.Unlock(ctx, l.prefix+"k", token, "", 0); err != nil {
					t.Errorf("Unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody got the lock")
	}
	l.lock("k", "last", time.Hour, "")
}

func (s *suite) lockExpiry(t *testing.T) {
	for _, ttl := range []time.Duration{60 * time.Millisecond, 1100 * time.Millisecond} {
		l := s.newLocker(t)
		before := time.Now()
		l.lock("k", "a", ttl, "")
		s.freed(l, "k", "a", before, time.Now(), ttl)
		// Who held it before does not any more.
		l.extend("k", "a", time.Hour, false)
		l.unlock("k", "a", "", 0)
		l.lock("k", "b", time.Hour, "next")
	}
	// Less than a millisecond counts as one.
	l := s.newLocker(t)
	before := time.Now()
	l.lock("tiny", "a", 1, "")
	if s.advance == nil {
		s.freed(l, "tiny", "a", before, time.Now(), time.Millisecond)
	}
}

func (s *suite) lockExtend(t *testing.T) {
	l := s.newLocker(t)
	const short, long = 100 * time.Millisecond, 400 * time.Millisecond
	l.extend("k", "a", time.Hour, false) // nobody's
	var before time.Time
	l.while(short, func() error {
		l.lock("k", "a", short, "")
		before = time.Now()
		held, err := l.locks.Extend(l.ctx(), l.prefix+"k", "a", long)
		if err == nil && !held {
			err = errors.New("the lock is not held when its holder extends it")
		}
		return err
	})
	l.extend("k", "b", time.Hour, false)
	s.freed(l, "k", "a", before, time.Now(), long)

	// It may also become shorter.
	l.lock("shorter", "a", time.Hour, "")
	before = time.Now()
	l.extend("shorter", "a", short, true)
	s.freed(l, "shorter", "a", before, time.Now(), short)
}

func (s *suite) unlock(t *testing.T) {
	l := s.newLocker(t)
	l.unlock("k", "a", "", 0)
	l.unlock("k", "a", "a note of nobody", time.Hour)
	l.lock("k", "a", time.Hour, "")
	for _, other := range []string{"b", "A", "aa", "a "} {
		l.unlock("k", other, "", 0)
		l.unlock("k", other, "note", time.Hour)
		l.lock("k", "c", time.Hour, "a")
	}
	l.unlock("k", "a", "", 0)
	l.unlock("k", "a", "", 0)
	l.lock("k", "c", time.Hour, "")
	l.unlock("k", "a", "", 0)
	l.lock("k", "d", time.Hour, "c")
}

func (s *suite) lockNote(t *testing.T) {
	l := s.newLocker(t)
	const ttl = 150 * time.Millisecond
	var before, after time.Time
	l.while(ttl, func() error {
		l.unlock("k", "b", "", 0) // of the last attempt
		l.lock("k", "a", time.Hour, "")
		before = time.Now()
		l.unlock("k", "a", "not shared", ttl)
		after = time.Now()
		holder, err := l.locks.Lock(l.ctx(), l.prefix+"k", "b", time.Hour)
		if err == nil && holder != "not shared" {
			err = fmt.Errorf("under a note, Lock gives the holder %q", holder)
		}
		return err
	})
	l.extend("k", "a", time.Hour, false)
	l.unlock("k", "a", "another", time.Hour)
	s.freed(l, "k", "not shared", before, after, ttl)
}

func (s *suite) lockBinary(t *testing.T) {
	l := s.newLocker(t)
	contents := []string{"\r\n$-1\r\n", "nil", "0", "-1", "%d %s", "\x00", "\x00b", "\xff\xfe", "'\"\\", strings.Repeat("long ", 200)}
	for i, token := range contents {
		key, note := strings.Repeat("k", i+1), contents[(i+1)%len(contents)]
		l.lock(key, token, time.Hour, "")
		l.lock(key, "other", time.Hour, token)
		l.extend(key, token+" ", time.Hour, false)
		l.extend(key, token, time.Hour, true)
		l.unlock(key, token, note, time.Hour)
		l.lock(key, "other", time.Hour, note)
	}
}

func (s *suite) lockRefused(t *testing.T) {
	l := s.newLocker(t)
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if _, err := l.locks.Lock(l.ctx(), l.prefix+"k", "a", ttl); err == nil {
			t.Errorf("Lock with a ttl of %v gave no error", ttl)
		}
	}
	if _, err := l.locks.Lock(l.ctx(), l.prefix+"k", "", time.Hour); err == nil {
		t.Error("Lock with no token gave no error")
	}
	l.lock("k", "a", time.Hour, "")
	if _, err := l.locks.Extend(l.ctx(), l.prefix+"k", "a", -1); err == nil {
		t.Error("Extend with a ttl of -1 gave no error")
	}
	if err := l.locks.Unlock(l.ctx(), l.prefix+"k", "a", "note", 0); err == nil {
		t.Error("Unlock with a note and a ttl of 0 gave no error")
	}
	l.lock("k", "b", time.Hour, "a")
	l.unlock("k", "a", "", -1)
	l.lock("k", "b", time.Hour, "")
}

func (s *suite) lockDoneContext(t *testing.T) {
	l := s.newLocker(t)
	l.lock("k", "a", time.Hour, "")
	refusesDone(t, map[string]func(context.Context) error{
		"Lock":   func(ctx context.Context) error { _, err := l.locks.Lock(ctx, l.prefix+"j", "a", time.Hour); return err },
		"Extend": func(ctx context.Context) error { _, err := l.locks.Extend(ctx, l.prefix+"k", "a", 1); return err },
		"Unlock": func(ctx context.Context) error { return l.locks.Unlock(ctx, l.prefix+"k", "a", "", 0) },
	})
	l.lock("j", "b", time.Hour, "")
	l.lock("k", "b", time.Hour, "a")
}

// refusesDone requires that every call returns the error of its done context.
func refusesDone(t *testing.T, calls map[string]func(context.Context) error) {
	t.Helper()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		for name, call := range calls {
			errs := make(chan error, 1)
			go func() { errs <- call(ctx) }()
			select {
			case err := <-errs:
				if err == nil {
					t.Errorf("%s gave no error although its context was done (%v)", name, ctx.Err())
				} else if !errors.Is(err, ctx.Err()) {
					t.Errorf("%s: %v, want an error that wraps %v", name, err, ctx.Err())
				}
			case <-time.After(slow):
				t.Fatalf("%s hangs although its context is done (%v)", name, ctx.Err())
			}
		}
	}
}
