package storetest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
)

// guarder is a store under test that can make writes depend on a guard.
type guarder struct {
	locker
	guards core.Guarder
}

func (s *suite) newGuarder(t *testing.T) guarder {
	t.Helper()
	l := s.newLocker(t)
	g, ok := l.Store.(core.Guarder)
	if !ok {
		t.Skip("the store is no core.Guarder")
	}
	l.prefix += "{guarded}:"
	return guarder{l, g}
}

func (g guarder) write(token, key string, value []byte, ttl time.Duration, want bool) {
	g.Helper()
	if got, err := g.guards.SetGuarded(g.ctx(), g.prefix+"guard", token, g.prefix+key, value, ttl); err != nil || got != want {
		g.Fatalf("SetGuarded of %d bytes with %.40q: %v, %v; want %v", len(value), token, got, err, want)
	}
}

func (s *suite) guarded(t *testing.T) {
	g := s.newGuarder(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := bytes.Repeat([]byte("0123456789abcd\r\n"), min(1<<20, s.maxValue)/16)
	for i, token := range []string{"a", "0", "nil", "\x00b", "\xff\r\n"} {
		g.lock("guard", token, time.Hour, "")
		for j, value := range [][]byte{[]byte("value"), {}, nil, all, []byte("12345"), []byte(token), large} {
			key := strconv.Itoa(j)
			g.write(token, key, value, time.Hour, true)
			g.want(key, value)
			g.write(token, "over", value, time.Hour, true)
			g.want("over", value)
		}
		// The guard is as before, and a plain write needs none.
		g.lock("guard", "other", time.Hour, token)
		g.set("over", []byte(strconv.Itoa(i)), time.Hour)
		g.want("over", []byte(strconv.Itoa(i)))
		g.unlock("guard", token, "", 0)
	}
}

func (s *suite) guardedNot(t *testing.T) {
	g := s.newGuarder(t)
	old, value := []byte("old"), []byte("value")
	g.set("k", old, time.Hour)
	refuses := func(tokens ...string) {
		g.Helper()
		for _, token := range tokens {
			g.write(token, "k", value, time.Hour, false)
			g.want("k", old)
			g.write(token, "none", value, time.Hour, false)
			g.wantNone("none")
		}
	}
	refuses("a", "nil", "0")
	g.lock("guard", "a", time.Hour, "")
	refuses("b", "A", "aa", "a ", "guard")
	g.delete("guard")
	refuses("a", "b")
	g.lock("guard", "b", time.Hour, "")
	refuses("a")
	g.unlock("guard", "b", "", 0)
	refuses("a", "b")
	g.lock("guard", "c", time.Hour, "")
	g.unlock("guard", "c", "a note", time.Hour)
	refuses("c")
	g.delete("guard")
	// A guard under another key is none.
	g.lock("another", "d", time.Hour, "")
	refuses("d")
	g.lock("guard", "e", time.Hour, "")
	g.write("e", "k", value, time.Hour, true)
	g.want("k", value)
}

func (s *suite) guardedExpiry(t *testing.T) {
	g := s.newGuarder(t)
	const ttl = 200 * time.Millisecond
	var before, after time.Time
	g.while(ttl, func() error {
		before = time.Now()
		g.lock("guard", "a", ttl, "")
		after = time.Now()
		if s.advance != nil {
			s.advance(ttl - 2*time.Millisecond)
		}
		written, err := g.guards.SetGuarded(g.ctx(), g.prefix+"guard", "a", g.prefix+"k", []byte("v"), time.Hour)
		if err == nil && !written {
			err = errors.New("SetGuarded under a guard has not written")
		}
		return err
	})
	if s.advance != nil {
		s.advance(4 * time.Millisecond)
	}
	for {
		asked := time.Now()
		written, err := g.guards.SetGuarded(g.ctx(), g.prefix+"guard", "a", g.prefix+"k", []byte("v"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if !written {
			if age := time.Since(before); s.advance == nil && age < ttl-10*time.Millisecond {
				t.Fatalf("a guard for %v is gone after %v", ttl, age)
			}
			break
		}
		if s.advance != nil || asked.Sub(after) > ttl+600*time.Millisecond {
			t.Fatalf("a guard for %v is there after %v", ttl, asked.Sub(after))
		}
		time.Sleep(2 * time.Millisecond)
	}
	// What was written lasts for its own ttl.
	g.want("k", []byte("v"))
	g.lock("guard", "b", time.Hour, "")
	before = time.Now()
	g.write("b", "short", []byte("v"), ttl, true)
	s.gone(g.one, "short", before, time.Now(), ttl, 600*time.Millisecond)
}

// guardedConcurrent deletes a guard under many writers: once Delete has
// returned, none of them writes any more.
func (s *suite) guardedConcurrent(t *testing.T) {
	g := s.newGuarder(t)
	ctx := g.within(verySlow)
	const writers, rounds = 64, 25
	guard, key := g.prefix+"guard", g.prefix+"k"
	var token atomic.Pointer[string]
	var written atomic.Int64
	next := func(round int) string {
		t := "token " + strconv.Itoa(round) + ";"
		token.Store(&t)
		return t
	}
	next(-1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				with := *token.Load()
				wrote, err := g.guards.SetGuarded(ctx, guard, with, key, []byte(with), time.Hour)
				if err != nil {
					t.Errorf("SetGuarded: %v", err)
					return
				}
				if wrote {
					written.Add(1)
				}
			}
		})
	}
	defer wg.Wait()
	defer close(done)
	for round := range rounds {
		before := written.Load()
		with := next(round)
		g.lock("guard", with, time.Hour, "")
		for end := time.Now().Add(verySlow); written.Load() == before; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("nobody writes under the guard")
			}
		}
		if value, found := g.get("k"); found && !strings.HasPrefix(string(value), "token ") {
			t.Fatalf("the value is %.40q", value)
		}
		g.delete("guard")
		g.delete("k")
		// Looks once more after that time, however busy the machine was.
		for end := time.Now().Add(4 * time.Millisecond); ; {
			over := time.Now().After(end)
			if value, found := g.get("k"); found {
				t.Fatalf("%.40q was written after its guard had been deleted", value)
			}
			if over {
				break
			}
		}
	}
}

func (s *suite) guardedRefused(t *testing.T) {
	g := s.newGuarder(t)
	g.lock("guard", "a", time.Hour, "")
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if written, err := g.guards.SetGuarded(g.ctx(), g.prefix+"guard", "a", g.prefix+"k", []byte("v"), ttl); err == nil || written {
			t.Errorf("SetGuarded with a ttl of %v: %v, %v", ttl, written, err)
		}
	}
	for _, guard := range []string{"guard", "none"} {
		if written, err := g.guards.SetGuarded(g.ctx(), g.prefix+guard, "", g.prefix+"k", []byte("v"), time.Hour); err == nil || written {
			t.Errorf("SetGuarded with no token: %v, %v", written, err)
		}
	}
	g.wantNone("k")
	g.write("a", "k", []byte("v"), 1<<63-1, true)
	g.want("k", []byte("v"))
}

func (s *suite) guardedDoneContext(t *testing.T) {
	g := s.newGuarder(t)
	g.lock("guard", "a", time.Hour, "")
	refusesDone(t, map[string]func(context.Context) error{
		"SetGuarded": func(ctx context.Context) error {
			_, err := g.guards.SetGuarded(ctx, g.prefix+"guard", "a", g.prefix+"k", []byte("v"), time.Hour)
			return err
		},
	})
	g.wantNone("k")
}
