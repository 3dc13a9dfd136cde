// Package storetest tests implementations of [store.Store], and finds the
// server that tests of a remote one need.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store {
//			s := mystore.New(...)
//			t.Cleanup(func() { s.Close() })
//			return s
//		})
//	}
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// Option changes what [Run] does.
type Option func(*suite)

// Clock lets the suite move the store's clock by calling advance, instead of
// waiting for the real time to pass.
func Clock(advance func(time.Duration)) Option {
	return func(s *suite) { s.advance = advance }
}

// MaxValue declares the largest value in bytes that the store takes. Larger ones
// are left out of the suite, which goes up to 8 MiB.
func MaxValue(n int) Option {
	return func(s *suite) { s.maxValue = n }
}

// Lacks declares that the store cannot do what the named case asks for, and
// why. The case is skipped with that reason. An unknown name fails the test.
func Lacks(name, reason string) Option {
	return func(s *suite) { s.lacks[name] = reason }
}

type suite struct {
	open     func(t *testing.T) store.Store
	advance  func(time.Duration)
	maxValue int
	lacks    map[string]string
	foreign  func(t *testing.T, s store.Store, key string)
	parts    []string
}

var cases = []struct {
	name string
	run  func(*suite, *testing.T)
}{
	{"Absent", (*suite).absent},
	{"SetGet", (*suite).setGet},
	{"Overwrite", (*suite).overwrite},
	{"EmptyValue", (*suite).emptyValue},
	{"BinaryValue", (*suite).binaryValue},
	{"LargeValue", (*suite).largeValue},
	{"LargeReplaced", (*suite).largeReplaced},
	{"LargeExpiry", (*suite).largeExpiry},
	{"LargeConcurrent", (*suite).largeConcurrent},
	{"LongKey", (*suite).longKey},
	{"KeysDiffer", (*suite).keysDiffer},
	{"Delete", (*suite).delete},
	{"Expiry", (*suite).expiry},
	{"ExpiryReplaced", (*suite).expiryReplaced},
	{"TinyTTL", (*suite).tinyTTL},
	{"BadTTL", (*suite).badTTL},
	{"DoneContext", (*suite).doneContext},
	{"Immutable", (*suite).immutable},
	{"Concurrent", (*suite).concurrent},

	{"Begin", (*suite).beginTakes},
	{"BeginExclusive", (*suite).beginExclusive},
	{"BeginExpiry", (*suite).beginExpiry},
	{"BeginAdopt", (*suite).beginAdopt},
	{"BeginLook", (*suite).beginLooks},
	{"BeginMark", (*suite).beginMark},
	{"BeginRefused", (*suite).beginRefused},
	{"CompareAndExtend", (*suite).extends},
	{"CompareAndSwap", (*suite).swaps},
	{"SwapExpiry", (*suite).swapExpiry},
	{"BinaryToken", (*suite).binaryToken},

	{"Write", (*suite).write},
	{"WriteToken", (*suite).writeToken},
	{"WriteEnded", (*suite).writeEnded},
	{"WriteExpiry", (*suite).writeExpiry},
	{"WriteLarge", (*suite).writeLarge},
	{"WritePurged", (*suite).writePurged},
	{"WriteSoft", (*suite).writeSoft},
	{"WriteOthers", (*suite).writeOthers},
	{"WriteOverflow", (*suite).writeOverflow},
	{"WriteMany", (*suite).writeMany},
	{"WriteRefused", (*suite).writeRefused},
	{"WriteConcurrent", (*suite).writeConcurrent},

	{"Bump", (*suite).bumpHard},
	{"BumpSoft", (*suite).bumpSoft},
	{"BumpMany", (*suite).bumpMany},
	{"BumpNothing", (*suite).bumpNothing},
	{"BumpRefused", (*suite).bumpRefused},
	{"Stamps", (*suite).readStamps},
	{"StampedGet", (*suite).stampedGet},
	{"StampLife", (*suite).stampLife},

	{"Journal", (*suite).journalText},
	{"JournalCompared", (*suite).journalCompared},
	{"JournalOrder", (*suite).journalOrder},
	{"JournalOfClock", (*suite).journalOfClock},
	{"JournalConcurrent", (*suite).journalConcurrent},
	{"JournalLost", (*suite).journalLost},

	{"ForeignLock", (*suite).foreignLock},
	{"ForeignStamp", (*suite).foreignStamp},
	{"LostClock", (*suite).lostClock},
	{"Together", (*suite).together},
	{"CoordinatorDoneContext", (*suite).coordinatorDoneContext},
}

// Run tests the store that open returns, each case in a subtest with a store
// of its own. A store that is no [store.Coordinator] is spared the cases of that; one
// that orders fills without tokens, and says so by giving none, those of locks. Open
// closes the store in the test's Cleanup. Stores may share a
// server, and other tests may use it too: Run only touches keys that begin with
// "storetest:" and a random part.
//
// The store must hold what the suite writes: give a bounded one 32 MiB.
func Run(t *testing.T, open func(t *testing.T) store.Store, opts ...Option) {
	t.Helper()
	s := &suite{open: open, maxValue: 8 << 20, lacks: map[string]string{}}
	for _, opt := range opts {
		opt(s)
	}
	for name := range s.lacks {
		if !slices.ContainsFunc(cases, func(c struct {
			name string
			run  func(*suite, *testing.T)
		}) bool {
			return c.name == name
		}) {
			t.Fatalf("storetest: Lacks(%q): there is no such case", name)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if reason, ok := s.lacks[c.name]; ok {
				t.Skipf("the store lacks this: %s", reason)
			}
			c.run(s, t)
		})
	}
}

// Prefix returns a key prefix that no other call returns, in any process.
func Prefix() string { return "storetest:" + rand.Text() + ":" }

// one is a store under test with the prefix of its keys.
type one struct {
	*testing.T
	store.Store
	prefix string
}

func (s *suite) new(t *testing.T) one {
	t.Helper()
	store := s.open(t)
	if store == nil {
		t.Fatal("open returned no store")
	}
	return one{t, store, Prefix()}
}

// slow is far beyond what a single call takes, also on a busy machine, and verySlow
// beyond what thousands take.
const (
	slow     = 10 * time.Second
	verySlow = 2 * time.Minute
)

func (o one) ctx() context.Context { return o.within(slow) }

func (o one) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	o.Cleanup(cancel)
	return ctx
}

func (o one) get(key string) ([]byte, bool) {
	o.Helper()
	v, found, err := o.Store.Get(o.ctx(), o.prefix+key)
	if err != nil {
		o.Fatalf("Get(%.40q): %v", key, err)
	}
	if !found && len(v) != 0 {
		o.Fatalf("Get(%.40q) returned %d bytes and found=false", key, len(v))
	}
	return v, found
}

func (o one) set(key string, value []byte, ttl time.Duration) {
	o.Helper()
	if err := o.Store.Set(o.ctx(), o.prefix+key, value, ttl); err != nil {
		o.Fatalf("Set(%.40q, %d bytes, %v): %v", key, len(value), ttl, err)
	}
}

func (o one) delete(key string) {
	o.Helper()
	if err := o.Store.Delete(o.ctx(), o.prefix+key); err != nil {
		o.Fatalf("Delete(%.40q): %v", key, err)
	}
}

func (o one) want(key string, value []byte) {
	o.Helper()
	got, found := o.get(key)
	if !found {
		o.Fatalf("Get(%.40q): not found, want %d bytes", key, len(value))
	}
	if !bytes.Equal(got, value) {
		o.Fatalf("Get(%.40q) = %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(value), value)
	}
}

func (o one) wantNone(key string) {
	o.Helper()
	if got, found := o.get(key); found {
		o.Fatalf("Get(%.40q) found %.40q, want nothing", key, got)
	}
}

func (s *suite) absent(t *testing.T) {
	o := s.new(t)
	o.wantNone("a key that was never set")
}

func (s *suite) setGet(t *testing.T) {
	o := s.new(t)
	o.set("k", []byte("value"), time.Hour)
	for range 3 {
		o.want("k", []byte("value"))
	}
}

func (s *suite) overwrite(t *testing.T) {
	o := s.new(t)
	for _, v := range []string{"first", "the second is longer", "3"} {
		o.set("k", []byte(v), time.Hour)
		o.want("k", []byte(v))
	}
}

func (s *suite) emptyValue(t *testing.T) {
	o := s.new(t)
	o.set("empty", []byte{}, time.Hour)
	o.want("empty", nil)
	o.set("nil", nil, time.Hour)
	o.want("nil", nil)
}

func (s *suite) binaryValue(t *testing.T) {
	o := s.new(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, v := range [][]byte{all, []byte("\r\n"), []byte("a\r\n$-1\r\n"), {0}, []byte("\xff\xfe invalid UTF-8"), []byte("12345"), []byte("null")} {
		k := strconv.Itoa(i)
		o.set(k, v, time.Hour)
		o.want(k, v)
	}
}

func (s *suite) largeValue(t *testing.T) {
	for _, size := range []int{64 << 10, 1 << 20, 8 << 20} {
		if size > s.maxValue {
			continue
		}
		t.Run(fmt.Sprintf("%dKiB", size>>10), func(t *testing.T) {
			o := s.new(t)
			v := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
			o.set("k", v, time.Hour)
			o.want("k", v)
			o.delete("k")
		})
	}
}

func (s *suite) longKey(t *testing.T) {
	o := s.new(t)
	var printable strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		printable.WriteByte(c)
	}
	for _, n := range []int{250, 251, 1024} {
		// Two keys of the same length that differ at the end.
		k := strings.Repeat(printable.String(), 12)[:n-1-len(o.prefix)]
		o.set(k+"1", []byte("one"), time.Hour)
		o.set(k+"2", []byte("two"), time.Hour)
		o.want(k+"1", []byte("one"))
		o.want(k+"2", []byte("two"))
		o.delete(k + "1")
		o.wantNone(k + "1")
		o.want(k+"2", []byte("two"))
	}
}

func (s *suite) keysDiffer(t *testing.T) {
	o := s.new(t)
	keys := []string{"key", "Key", "key ", " key", "key\\", "k*", "k?y", "[k]ey", "{key}", "{key}1", "key/", "key:", "key%20", "key+"}
	for _, k := range keys {
		o.set(k, []byte(k), time.Hour)
	}
	for _, k := range keys {
		o.want(k, []byte(k))
	}
	o.delete("k*")
	for _, k := range keys {
		if k != "k*" {
			o.want(k, []byte(k))
		}
	}
}

func (s *suite) delete(t *testing.T) {
	o := s.new(t)
	o.delete("never set")
	o.set("k", []byte("v"), time.Hour)
	o.set("neighbour", []byte("v"), time.Hour)
	o.delete("k")
	o.wantNone("k")
	o.delete("k")
	o.want("neighbour", []byte("v"))
	o.set("k", []byte("again"), time.Hour)
	o.want("k", []byte("again"))
}

// while does what has to be done within the life of something that lives for ttl,
// again where the machine was too busy for that.
func (o one) while(ttl time.Duration, f func() error) {
	o.Helper()
	for end := time.Now().Add(3 * slow); ; {
		began := time.Now()
		err := f()
		if err == nil {
			return
		}
		if took := time.Since(began); took < ttl || time.Now().After(end) {
			o.Fatalf("%v (%v after the beginning of what lasts for %v)", err, took, ttl)
		}
	}
}

// gone waits until the key has expired. It fails if the key goes before ttl has
// passed since it was set, at the time of before, or is still found late after.
func (s *suite) gone(o one, key string, before, after time.Time, ttl, late time.Duration) {
	o.Helper()
	if s.advance != nil {
		// Up to a millisecond is the store's to round.
		s.advance(ttl - 2*time.Millisecond)
		if _, found := o.get(key); !found {
			o.Fatalf("the value is gone before its ttl of %v is over", ttl)
		}
		s.advance(4 * time.Millisecond)
		o.wantNone(key)
		return
	}
	for {
		asked := time.Now()
		_, found := o.get(key)
		// A server's clock and ours run apart a little.
		const slack = 10 * time.Millisecond
		if age := time.Since(before); !found && age < ttl-slack {
			o.Fatalf("the value was gone %v after it was set with a ttl of %v", age, ttl)
		}
		if !found {
			return
		}
		if age := asked.Sub(after); age > ttl+late {
			o.Fatalf("the value was still there %v after it was set with a ttl of %v", age, ttl)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *suite) expiry(t *testing.T) {
	// Late is below what rounding up to a second would give.
	for _, ttl := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 1100 * time.Millisecond} {
		t.Run(ttl.String(), func(t *testing.T) {
			o := s.new(t)
			before := time.Now()
			o.set("k", []byte("v"), ttl)
			s.gone(o, "k", before, time.Now(), ttl, 600*time.Millisecond)
		})
	}
}

func (s *suite) expiryReplaced(t *testing.T) {
	o := s.new(t)
	const short = 60 * time.Millisecond
	start := time.Now()
	o.set("longer", []byte("v"), short)
	o.set("longer", []byte("v"), time.Hour)
	o.set("shorter", []byte("v"), time.Hour)
	before := time.Now()
	o.set("shorter", []byte("v"), short)
	s.gone(o, "shorter", before, time.Now(), short, 600*time.Millisecond)
	if s.advance != nil {
		s.advance(short)
	}
	for s.advance == nil && time.Since(start) < 2*short {
		time.Sleep(2 * time.Millisecond)
	}
	o.want("longer", []byte("v"))
}

func (s *suite) tinyTTL(t *testing.T) {
	for _, ttl := range []time.Duration{1, time.Microsecond, time.Millisecond, 1500 * time.Microsecond} {
		o := s.new(t)
		o.set("k", []byte("v"), ttl)
		if s.advance != nil {
			s.advance(5 * time.Millisecond)
			o.wantNone("k")
			continue
		}
		for end := time.Now().Add(600 * time.Millisecond); ; time.Sleep(time.Millisecond) {
			asked := time.Now()
			if _, found := o.get("k"); !found {
				break
			}
			if asked.After(end) {
				t.Fatalf("a value with a ttl of %v was still there after 600ms", ttl)
			}
		}
	}
}

func (s *suite) badTTL(t *testing.T) {
	o := s.new(t)
	for _, ttl := range []time.Duration{0, -1, -time.Millisecond, -time.Hour} {
		if err := o.Store.Set(o.ctx(), o.prefix+"k", []byte("v"), ttl); err == nil {
			t.Errorf("Set with a ttl of %v gave no error", ttl)
		}
		o.wantNone("k")
	}
}

func (s *suite) doneContext(t *testing.T) {
	o := s.new(t)
	o.set("k", []byte("v"), time.Hour)
	refusesDone(t, map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, _, err := o.Store.Get(ctx, o.prefix+"k"); return err },
		"Set":    func(ctx context.Context) error { return o.Store.Set(ctx, o.prefix+"k", []byte("w"), time.Hour) },
		"Delete": func(ctx context.Context) error { return o.Store.Delete(ctx, o.prefix+"k") },
	})
	o.want("k", []byte("v"))
}

func (s *suite) immutable(t *testing.T) {
	o := s.new(t)
	first := bytes.Repeat([]byte("first "), 1000)
	o.set("k", first, time.Hour)
	got, _ := o.get("k")
	same, _ := o.get("k")
	o.set("k", bytes.Repeat([]byte("later "), 1000), time.Hour)
	o.get("k")
	o.delete("k")
	for i := range 64 {
		o.set("other"+strconv.Itoa(i), bytes.Repeat([]byte("other "), 1000), time.Hour)
		o.get("other" + strconv.Itoa(i))
	}
	want := bytes.Repeat([]byte("first "), 1000)
	if !bytes.Equal(got, want) || !bytes.Equal(same, want) {
		t.Error("a value that Get had returned changed later")
	}
	if !bytes.Equal(first, want) {
		t.Error("the store wrote to the slice that Set was given")
	}
}

func (s *suite) concurrent(t *testing.T) {
	o := s.new(t)
	const workers, rounds, keys = 8, 150, 12
	value := func(key string, worker, round int) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%s by %d.%d;", o.prefix+key, worker, round), 1+round%40)
	}
	ctx := o.within(verySlow)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				key := strconv.Itoa((w*7 + r) % keys)
				switch r % 5 {
				case 0, 1:
					if err := o.Store.Set(ctx, o.prefix+key, value(key, w, r), time.Hour); err != nil {
						t.Errorf("Set: %v", err)
						return
					}
				case 2, 3:
					got, found, err := o.Store.Get(ctx, o.prefix+key)
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					if !found {
						continue
					}
					var worker, round int
					head := o.prefix + key + " by %d.%d;"
					if _, err := fmt.Sscanf(string(got), head, &worker, &round); err != nil || !bytes.Equal(got, value(key, worker, round)) {
						t.Errorf("Get(%q) returned what nobody set there: %.80q", key, got)
						return
					}
				case 4:
					if err := o.Store.Delete(ctx, o.prefix+key); err != nil {
						t.Errorf("Delete: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

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
