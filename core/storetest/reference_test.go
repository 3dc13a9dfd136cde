package storetest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// reference is the plainest store that orders fills and purges by tokens: all that it
// knows is in one map, under one mutex.
type reference struct {
	mu    sync.Mutex
	now   func() time.Time
	items map[string]item

	// What broken ones do otherwise.
	last  func(clock, key string) (hard, soft uint64) // of a stamp that is not there
	epoch func() uint64                               // of a clock that is not there
}

// item has what was set, or is under a lock, as bytes.
type item struct {
	v     any
	until time.Time
}

// purge is an element of a ring, which has the newest last.
type purge struct {
	key  string
	n    uint64
	soft bool
}

const (
	ringSize = 256
	year     = 365 * 24 * time.Hour
)

func newReference(now func() time.Time) *reference {
	r := &reference{now: now, items: map[string]item{}}
	r.last, r.epoch = r.lastPurge, func() uint64 { return rand.Uint64() | 1 }
	return r
}

func (r *reference) peek(key string) any {
	it, ok := r.items[key]
	if !ok || !r.now().Before(it.until) {
		return nil
	}
	return it.v
}

func (r *reference) keep(key string, v any, ttl time.Duration) {
	r.items[key] = item{v, r.now().Add(min(ttl, 10*year))}
}

// prolong lets what is under key live for ttl at least.
func (r *reference) prolong(key string, ttl time.Duration) {
	if it := r.items[key]; it.until.Before(r.now().Add(ttl)) {
		r.keep(key, it.v, ttl)
	}
}

// locked begins a call.
func (r *reference) locked(ctx context.Context, ttls ...time.Duration) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, ttl := range ttls {
		if ttl <= 0 {
			return nil, errors.New("the ttl is not positive")
		}
	}
	r.mu.Lock()
	return r.mu.Unlock, nil
}

func (r *reference) Get(ctx context.Context, key string) ([]byte, bool, error) {
	unlock, err := r.locked(ctx)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	value, found := r.peek(key).([]byte)
	return value, found, nil
}

func (r *reference) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	unlock, err := r.locked(ctx, ttl)
	if err != nil {
		return err
	}
	defer unlock()
	r.keep(key, value, max(ttl, time.Millisecond))
	return nil
}

func (r *reference) Delete(ctx context.Context, keys ...string) error {
	unlock, err := r.locked(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, key := range keys {
		delete(r.items, key)
	}
	return nil
}

func (r *reference) Close() error { return nil }

// holder is who has the lock, or empty.
func (r *reference) holder(lock string) string {
	token, _ := r.peek(lock).([]byte)
	return string(token)
}

func (r *reference) Begin(ctx context.Context, f store.Fill) (b store.Begun, err error) {
	if f.Token == "" {
		return b, errors.New("there is no token")
	}
	unlock, err := r.locked(ctx, f.TTL)
	if err != nil {
		return b, err
	}
	defer unlock()
	if r.holder(f.Lock) == "" {
		r.keep(f.Lock, []byte(f.Token), max(f.TTL, time.Millisecond))
	} else if f.Adopt {
		r.prolong(f.Lock, f.TTL)
	}
	b.Token, b.Mark = r.holder(f.Lock), r.tick(f.Clock)
	if f.Key != "" {
		b.Value, b.Found = r.peek(f.Key).([]byte)
		b.Stamps = r.stamps(nil, f.Stamps)
	}
	return b, nil
}

func (r *reference) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	unlock, err := r.locked(ctx, ttl)
	if err != nil {
		return false, err
	}
	defer unlock()
	if token == "" {
		return false, errors.New("there is no token")
	}
	held := r.holder(lock) == token
	if held {
		r.keep(lock, []byte(token), ttl)
	}
	return held, nil
}

func (r *reference) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	if next == "" {
		ttl = time.Hour
	}
	unlock, err := r.locked(ctx, ttl)
	if err != nil {
		return false, err
	}
	defer unlock()
	if token == "" {
		return false, errors.New("there is no token")
	}
	held := r.holder(lock) == token
	if held && next == "" {
		delete(r.items, lock)
	} else if held {
		r.keep(lock, []byte(next), ttl)
	}
	return held, nil
}

func (r *reference) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
	keys, ttls := []string{w.Lock}, []time.Duration(nil)
	for _, v := range w.Values {
		keys, ttls = append(keys, v.Key), append(ttls, v.TTL)
	}
	if w.Token == "" || !oneTag(keys) || !oneTag(append([]string{w.Clock}, w.Stamps...)) {
		return written, errors.New("there is no token, or not one hash tag")
	}
	unlock, err := r.locked(ctx, ttls...)
	if err != nil {
		return written, err
	}
	defer unlock()
	r.settle(&w, slices.Max(ttls), &written)
	if r.holder(w.Lock) == w.Token {
		delete(r.items, w.Lock)
		for _, v := range w.Values {
			r.keep(v.Key, v.Data, v.TTL)
		}
		written.Stored = true
	}
	return written, nil
}

// settle makes the stamps that are missing, and compares all with the mark of the fill.
func (r *reference) settle(w *store.Write, life time.Duration, written *store.Written) {
	mark := r.tick(w.Clock)
	written.Purged = mark.Epoch != w.Since.Epoch
	for _, key := range w.Stamps {
		st, ok := r.peek(key).(store.Stamp)
		if !ok || st.Epoch != mark.Epoch {
			st = store.Stamp{Epoch: mark.Epoch}
			st.Hard, st.Soft = r.last(w.Clock, key)
			r.keep(key, st, life)
		}
		r.prolong(key, life)
		written.Purged = written.Purged || st.Hard > w.Since.Seq
		written.Outdated = written.Outdated || st.Soft > w.Since.Seq
	}
}

// tick reads the clock, or makes it.
func (r *reference) tick(clock string) store.Mark {
	mark, ok := r.peek(clock).(store.Mark)
	if !ok {
		delete(r.items, clock+":ring")
		mark = store.Mark{Epoch: r.epoch(), Seq: 1}
		r.keep(clock, mark, year)
	}
	return mark
}

// next takes a number, and notes in the ring what for.
func (r *reference) next(clock, key string, soft bool, ttl time.Duration) store.Mark {
	mark := r.tick(clock)
	mark.Seq++
	r.keep(clock, mark, ttl)
	ring, _ := r.peek(clock + ":ring").([]purge)
	ring = append(slices.Clip(ring), purge{key, mark.Seq, soft})
	r.keep(clock+":ring", ring[max(0, len(ring)-ringSize):], ttl)
	return mark
}

// lastPurge is when a key was purged last, at the latest.
func (r *reference) lastPurge(clock, key string) (hard, soft uint64) {
	hard = r.tick(clock).Seq
	ring, _ := r.peek(clock + ":ring").([]purge)
	if n := len(ring); n > 0 && ring[n-1].n == hard && ring[0].n == hard-uint64(n)+1 {
		hard = ring[0].n - 1
	} else {
		ring = nil
	}
	soft = hard
	for _, p := range ring {
		if p.key != key {
			continue
		}
		if soft = p.n; !p.soft {
			hard = p.n
		}
	}
	return hard, soft
}

func (r *reference) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (mark store.Mark, err error) {
	if !oneTag(append([]string{clock}, keys...)) {
		return mark, errors.New("not one hash tag")
	}
	unlock, err := r.locked(ctx, ttl)
	if err != nil {
		return mark, err
	}
	defer unlock()
	for _, key := range keys {
		mark = r.next(clock, key, soft, ttl)
		it := r.items[key]
		st, ok := r.peek(key).(store.Stamp)
		if !ok {
			continue
		}
		if !soft || st.Epoch != mark.Epoch {
			st.Hard = mark.Seq
		}
		st.Epoch, st.Soft, st.SoftAt = mark.Epoch, mark.Seq, at
		r.items[key] = item{st, it.until}
	}
	return r.tick(clock), nil
}

func (r *reference) stamps(dst []store.Stamp, keys []string) []store.Stamp {
	for _, key := range keys {
		st, _ := r.peek(key).(store.Stamp)
		dst = append(dst, st)
	}
	return dst
}

func (r *reference) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	unlock, err := r.locked(ctx)
	if err != nil {
		return dst, err
	}
	defer unlock()
	return r.stamps(dst, keys), nil
}

func (r *reference) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	unlock, err := r.locked(ctx)
	if err != nil {
		return nil, false, dst, err
	}
	defer unlock()
	value, found := r.peek(key).([]byte)
	return value, found, r.stamps(dst, keys), nil
}

func (r *reference) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	unlock, err := r.locked(ctx)
	if err != nil {
		return store.Journal{}, err
	}
	defer unlock()
	return r.journal(clock), nil
}

func (r *reference) journal(clock string) store.Journal {
	mark := r.tick(clock)
	j, ok := r.peek(clock + ":journal").(store.Journal)
	if !ok || j.Mark.Epoch != mark.Epoch {
		j = store.Journal{Began: mark.Seq}
	}
	j.Mark = mark
	r.keep(clock+":journal", j, year)
	return j
}

func (r *reference) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	unlock, err := r.locked(ctx)
	if err != nil {
		return store.Journal{}, false, err
	}
	defer unlock()
	j := r.journal(clock)
	if j.Mark.Epoch != old.Mark.Epoch || j.Began != old.Began || j.Text != old.Text {
		return j, false, nil
	}
	j.Mark = r.next(clock, "", false, year)
	j.Text = strings.ReplaceAll(text, store.Number, strconv.FormatUint(j.Mark.Seq, 10))
	r.keep(clock+":journal", j, year)
	return j, true, nil
}

func oneTag(keys []string) bool {
	for _, key := range keys {
		if hashTag(key) != hashTag(keys[0]) {
			return false
		}
	}
	return true
}

func hashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		key, _, _ = strings.Cut(rest, "}")
	}
	return key
}

// foreign puts under key what nothing expects there.
func foreign(_ *testing.T, s store.Store, key string) {
	r := s.(interface{ right() *reference }).right()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(key, []int{7}, time.Hour)
}

func (r *reference) right() *reference { return r }

func parts() storetest.Option { return storetest.Foreign(foreign, ":ring", ":journal") }

// TestReference: what is broken below is right before.
func TestReference(t *testing.T) {
	t.Parallel() // it mostly waits
	t.Run("FakeClock", func(t *testing.T) {
		var mu sync.Mutex
		now := time.Unix(1_800_000_000, 0)
		storetest.Run(t, func(*testing.T) store.Store {
			return newReference(func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now
			})
		}, parts(), storetest.Clock(func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		}))
	})
	t.Run("RealClock", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) store.Store { return newReference(time.Now) }, parts())
	})
}
