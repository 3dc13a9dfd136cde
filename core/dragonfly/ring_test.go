package dragonfly_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

var (
	ringSteps = flag.Int("ring.steps", 3000, "steps of TestRingAgainstModel")
	ringSeed  = flag.Uint64("ring.seed", 0, "seed of TestRingAgainstModel; 0: the time")
)

// ringSize is how many purges the ring has.
const ringSize = 256

// timeless lets purges have numbers one after the other.
func timeless(s *dragonfly.Store) *dragonfly.Store {
	s.SetNow(func() time.Time { return dragonfly.NumbersBegan })
	return s
}

func openTimeless(t *testing.T) *dragonfly.Store {
	t.Helper()
	return timeless(openPatiently(t, storetest.Server(t)))
}

// settled settles a stamp that was lost, and returns its numbers.
func (r *resource) settled(key string) (hard, soft uint64) {
	r.t.Helper()
	r.must("DEL", key)
	got, _ := r.settle(r.mark(), key)
	return got[0].Hard, got[0].Soft
}

// TestRingOverflows: purges are known as far as the ring reaches; what was before its
// oldest counts as purged by then, which is no reason to refuse what began later.
func TestRingOverflows(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 3)
	a, b, c := r.stamps[0], r.stamps[1], r.stamps[2]
	start := r.mark()
	n := r.purge(false, a).Seq
	for i := range ringSize - 1 {
		r.purge(i%2 == 0, b)
	}
	if h, s := r.settled(a); h != n || s != n {
		t.Errorf("the oldest of the ring: %d %d, want %d", h, s, n)
	}
	if h, s := r.settled(c); h != start.Seq || s != start.Seq {
		t.Errorf("what was never purged: %d %d, want %d", h, s, start.Seq)
	}
	r.purge(true, b)
	if h, s := r.settled(a); h != n || s != n { // it was the last that fell out
		t.Errorf("what fell out: %d %d, want %d", h, s, n)
	}
	last := r.purge(false, b, b, b).Seq
	for name, key := range map[string]string{"what fell out": a, "what was never purged": c} {
		if h, s := r.settled(key); h != last-ringSize || s != last-ringSize {
			t.Errorf("%s: %d %d, want %d", name, h, s, last-ringSize)
		}
	}
	// A fill of a handler that began within the reach of the ring is not refused.
	if _, written := r.settle(store.Mark{Epoch: start.Epoch, Seq: last - ringSize}, a, c); written.Purged || written.Outdated {
		t.Errorf("%+v", written)
	}
	if _, written := r.settle(store.Mark{Epoch: start.Epoch, Seq: last - ringSize - 1}, a, c); !written.Purged {
		t.Errorf("%+v", written)
	}
	if got := r.must("LLEN", r.clock+":ring"); got != "" {
		t.Error(got)
	}
	if n, err := r.s.Client().Do(t.Context(), r.s.Client().B().Llen().Key(r.clock+":ring").Build()).AsInt64(); n != ringSize || err != nil {
		t.Errorf("the ring has %d elements, %v", n, err)
	}
	// More tags at once than the ring has.
	many := make([]string, 3*ringSize)
	for i := range many {
		many[i] = fmt.Sprint(a, ":", i)
	}
	end := r.purge(false, many...).Seq
	for i, key := range many {
		if want := max(end-uint64(len(many)-1-i), end-ringSize); i%50 == 0 {
			if h, _ := r.settled(key); h != want {
				t.Errorf("tag %d of many: %d, want %d", i, h, want)
			}
		}
	}
}

// TestRingSpoiled: a ring that is lost, or not what was pushed, says nothing: all counts
// as purged by then. What is purged later is exact again.
func TestRingSpoiled(t *testing.T) {
	s := openTimeless(t)
	element := func(text string, n uint64) string { return fmt.Sprintf("%-11.11s", text) + fmt.Sprintf("h%011x", n) }
	for name, spoil := range map[string]func(r *resource, ring string, last uint64){
		"evicted":        func(r *resource, ring string, _ uint64) { r.must("DEL", ring) },
		"newest missing": func(r *resource, ring string, _ uint64) { r.must("LPOP", ring) },
		"one missing": func(r *resource, ring string, last uint64) {
			r.must("LSET", ring, "3", "x")
			r.must("LREM", ring, "1", "x")
		},
		"one doubled":         func(r *resource, ring string, last uint64) { r.must("LSET", ring, "3", r.must("LINDEX", ring, "4")) },
		"one more":            func(r *resource, ring string, last uint64) { r.must("LPUSH", ring, element("more", last+1)) },
		"one of another ring": func(r *resource, ring string, last uint64) { r.must("LSET", ring, "3", element("other", last+30)) },
		"one too short":       func(r *resource, ring string, _ uint64) { r.must("LSET", ring, "3", r.must("LINDEX", ring, "3")[1:]) },
		"one longer, the next shorter": func(r *resource, ring string, _ uint64) {
			r.must("LSET", ring, "3", r.must("LINDEX", ring, "3")+"0")
			r.must("LSET", ring, "4", r.must("LINDEX", ring, "4")[1:])
		},
		"nonsense":       func(r *resource, ring string, _ uint64) { r.must("LSET", ring, "3", strings.Repeat("x", 23)) },
		"a number twice": func(r *resource, ring string, last uint64) { r.must("LSET", ring, "5", element("twice", last-3)) },
		"turned around": func(r *resource, ring string, last uint64) {
			for range 9 {
				r.must("LMOVE", ring, ring+"2", "LEFT", "LEFT")
			}
			r.must("RENAME", ring+"2", ring)
		},
		"negative": func(r *resource, ring string, _ uint64) {
			r.must("LSET", ring, "3", "abcdefghijkh-0000000001")
		},
		"longer than all purges": func(r *resource, ring string, last uint64) {
			r.must("DEL", ring)
			for n := range last + 1 {
				r.must("LPUSH", ring, element("more", n))
			}
		},
		"a hash":   func(r *resource, ring string, _ uint64) { r.spoil(ring, "a hash") },
		"a string": func(r *resource, ring string, _ uint64) { r.spoil(ring, "text") },
		"empty":    func(r *resource, ring string, _ uint64) { r.spoil(ring, "") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, again := range []bool{false, true} {
				r := resourceOn(t, s, 3)
				a, b, c := r.stamps[0], r.stamps[1], r.stamps[2]
				r.mark()
				r.purge(false, a)
				for range 8 {
					r.purge(false, b)
				}
				last := r.purge(false, c).Seq
				spoil(r, r.clock+":ring", last)
				if again { // another purge comes before anybody looks
					last = r.purge(false, c).Seq
				}
				for _, key := range []string{a, b, c} {
					if h, s := r.settled(key); h < last-1 || h > last || s != h {
						t.Errorf("%d %d, want %d", h, s, last)
					}
				}
				next := r.purge(false, b).Seq
				if h, _ := r.settled(b); h != next {
					t.Errorf("purged later: %d, want %d", h, next)
				}
				if h, _ := r.settled(a); h < last-1 || h > last {
					t.Errorf("not purged later: %d, want %d", h, last)
				}
			}
		})
	}
}

// TestRingCollisions: a hash that only seems to be in the ring, across the borders of
// elements, is not, and who has the same hash is purged as well.
func TestRingCollisions(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 2)
	a, ring := r.stamps[0], r.clock+":ring"
	start := r.mark()
	r.purge(false, a)
	hash := r.must("LINDEX", ring, "0")[:11]
	r.must("DEL", ring)
	last := r.purge(false, r.stamps[1], r.stamps[1], r.stamps[1], r.stamps[1], r.stamps[1], r.stamps[1]).Seq
	number := func(n uint64) string { return fmt.Sprintf("%011x", n) }
	// From the newest: the hash begins at every place but the right one.
	for shift := 1; shift <= 12; shift++ {
		text := (strings.Repeat("A", shift) + hash + strings.Repeat("A", 12))[:12]
		if text[11] == 'j' { // a gap in the numbers, which is another matter
			continue
		}
		r.must("LSET", ring, "0", text+number(last))
		if h, s := r.settled(a); h != start.Seq+1 || s != h {
			t.Fatalf("shifted by %d: %d %d, want %d", shift, h, s, start.Seq+1)
		}
	}
	// Behind such ones the right one is found.
	r.must("LSET", ring, "2", hash+"s"+number(last-2))
	r.must("LSET", ring, "3", hash+"h"+number(last-3))
	r.must("LSET", ring, "4", hash+"h"+number(last-4))
	if h, s := r.settled(a); h != last-3 || s != last-2 {
		t.Errorf("%d %d, want %d %d", h, s, last-3, last-2)
	}
	// What is neither hard nor soft is hard.
	r.must("LSET", ring, "2", hash+"x"+number(last-2))
	if h, s := r.settled(a); h != last-2 || s != last-2 {
		t.Errorf("%d %d, want %d", h, s, last-2)
	}
	// The journal's purges have places, and are nobody's.
	j, err := r.s.ReadJournal(t.Context(), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	if _, written, err := r.s.WriteJournal(t.Context(), r.clock, j, store.Number); !written || err != nil {
		t.Fatal(written, err)
	}
	if h, _ := r.settled(a); h != last-2 {
		t.Errorf("%d after a purge of a prefix, want %d", h, last-2)
	}
}

// history is the naive model: it keeps everything.
type history struct {
	epoch, seq, base uint64
	marks            map[uint64]bool // epochs that were
	hard, soft       map[string]uint64
	stamps           map[string]store.Stamp // on the server
}

func (h *history) lose(epoch uint64) {
	h.epoch, h.seq, h.base = epoch, 1, 1
	h.marks[epoch] = true
	clear(h.hard)
	clear(h.soft)
}

func (h *history) next() uint64 {
	h.seq++
	h.base = max(h.base, h.seq-min(h.seq, ringSize))
	return h.seq
}

func (h *history) purge(key string, soft bool) {
	n := h.next()
	h.soft[key] = n
	if !soft {
		h.hard[key] = n
	}
	if s, ok := h.stamps[key]; ok {
		if !soft || s.Epoch != h.epoch {
			s.Hard = n
		}
		h.stamps[key] = store.Stamp{Epoch: h.epoch, Hard: s.Hard, Soft: n, SoftAt: 7}
	}
}

func (h *history) settle(key string) {
	if s, ok := h.stamps[key]; ok && s.Epoch == h.epoch {
		return
	}
	hard := max(h.base, h.hard[key])
	h.stamps[key] = store.Stamp{Epoch: h.epoch, Hard: hard, Soft: max(hard, h.soft[key])}
}

// TestRingAgainstModel: whatever is purged, settled, lost and damaged in whatever order,
// stamps are those of a model that forgets nothing but what the ring no longer reaches,
// and never lower than a tag's last purge.
func TestRingAgainstModel(t *testing.T) {
	seed := *ringSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-ring.seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := openTimeless(t)
	for round := range storetest.Rounds(2, 4) {
		r := resourceOn(t, s, 4+20*round)
		m := &history{marks: map[uint64]bool{}, hard: map[string]uint64{}, soft: map[string]uint64{}, stamps: map[string]store.Stamp{}}
		m.lose(r.mark().Epoch)
		if _, err := s.ReadJournal(t.Context(), r.clock); err != nil {
			t.Fatal(err)
		}
		some := func(most int) (keys []string) {
			for range 1 + rng.IntN(most) {
				keys = append(keys, r.stamps[rng.IntN(len(r.stamps))])
			}
			return keys
		}
		for step := range *ringSteps / 4 {
			var what string
			switch k := rng.IntN(100); {
			case k < 40:
				keys, soft := some(3), rng.IntN(3) == 0
				if rng.IntN(40) == 0 {
					keys = some(2 * ringSize)
				}
				what = fmt.Sprint("purge ", len(keys), soft)
				for _, key := range keys {
					m.purge(key, soft)
				}
				if got := r.purge(soft, keys...); got != (store.Mark{Epoch: m.epoch, Seq: m.seq}) {
					t.Fatalf("step %d: %v, want %d", step, got, m.seq)
				}
			case k < 75:
				what = "settle"
				keys := some(5)
				since := m.base + rng.Uint64N(m.seq-m.base+1)
				var purged, outdated bool
				for _, key := range keys {
					m.settle(key)
					purged = purged || m.stamps[key].Hard > since
					outdated = outdated || m.stamps[key].Soft > since
				}
				if _, written := r.settle(store.Mark{Epoch: m.epoch, Seq: since}, keys...); written.Purged != purged || written.Outdated != outdated {
					t.Fatalf("step %d: since %d %+v, want %v %v", step, since, written, purged, outdated)
				}
			case k < 85:
				what = "evict a stamp"
				key := some(1)[0]
				r.must("DEL", key)
				delete(m.stamps, key)
			case k < 90:
				what = "damage a stamp"
				key := some(1)[0]
				if _, ok := m.stamps[key]; ok {
					r.must("SETRANGE", key, strconv.Itoa(rng.IntN(20)), "#")
					// It is there, and a hard purge makes one of it that is sound.
					m.stamps[key] = store.Stamp{}
				}
			case k < 94:
				what = "prefixes"
				var written bool
				journal, err := s.ReadJournal(t.Context(), r.clock)
				if err == nil {
					_, written, err = s.WriteJournal(t.Context(), r.clock, journal, store.Number)
				}
				if err != nil || !written {
					t.Fatal(written, err)
				}
				m.next()
			case k < 97:
				what = "spoil the ring"
				switch rng.IntN(4) {
				case 0:
					r.must("DEL", r.clock+":ring")
				case 1:
					r.spoil(r.clock+":ring", "a hash")
				case 2:
					r.must("DEL", r.clock+":ring")
					r.must("LPUSH", r.clock+":ring", "x")
				case 3:
					r.must("LTRIM", r.clock+":ring", "1", "-1")
				}
				// Somebody looks at once, and it begins anew.
				key := r.clock + ":of:nobody"
				r.must("DEL", key)
				m.base = m.seq
				r.settle(store.Mark{Epoch: m.epoch, Seq: m.seq}, key)
			default:
				what = "lose the clock"
				if rng.IntN(2) == 0 {
					r.must("DEL", r.clock)
				} else {
					r.must("SETRANGE", r.clock, strconv.Itoa(rng.IntN(39)), "#")
				}
				mark := r.mark()
				if m.marks[mark.Epoch] {
					t.Fatalf("the epoch %x again", mark.Epoch)
				}
				m.lose(mark.Epoch)
			}
			for i, got := range r.read(r.stamps...) {
				key := r.stamps[i]
				if want := m.stamps[key]; got != want {
					t.Fatalf("step %d, %s: stamp %d is %+v, want %+v; model at %d, base %d", step, what, i, got, want, m.seq, m.base)
				}
				if got.Epoch == m.epoch && (got.Hard < m.hard[key] || got.Soft < m.soft[key]) {
					t.Fatalf("step %d, %s: stamp %d is %+v, purged %d and softly %d", step, what, i, got, m.hard[key], m.soft[key])
				}
			}
		}
	}
}

// TestClockGoesBack: where a replica takes over that lacks the last purges, these are lost.
// What it acknowledges itself is not, though entries are stored with later numbers.
func TestClockGoesBack(t *testing.T) {
	for name, purge := range map[string]cacheaside.Purge{
		"a tag":      {Tags: []string{"/a"}},
		"a prefix":   {Prefixes: []string{"http://example.com/"}},
		"everything": {All: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a purge of a prefix waits
			s := open(t, storetest.StartServer(t).Addr, dragonfly.WithCallTimeout(time.Minute))
			var now atomic.Int64
			now.Store(time.Now().UnixMilli())
			s.SetNow(func() time.Time { return time.UnixMilli(now.Load()) })
			w := newSite(t, s, unhurried)
			r := &resource{t: t, s: s}
			purged := func(tag string) {
				if err := w.PurgeTags(t.Context(), tag); err != nil {
					t.Fatal(err)
				}
			}
			w.hits(t, "/a")
			purged("/b")
			replica := map[string]string{}
			c := s.Client()
			keys, err := c.Do(t.Context(), c.B().Keys().Pattern("*{tags}*").Build()).AsStrSlice()
			if err != nil || len(keys) < 4 { // clock, ring, journal, a stamp
				t.Fatal(keys, err)
			}
			for _, key := range keys {
				replica[key] = r.must("DUMP", key)
			}
			purged("/b")
			purged("/b")
			purged("/b")
			r.must("DEL", entryKey("/a"))
			w.hits(t, "/a")
			for key, value := range replica {
				r.must("RESTORE", key, "3600000", value, "REPLACE")
			}
			now.Add(1100) // as long as that takes at least
			w.row.Add(1)
			if err := w.Purge(t.Context(), purge); err != nil {
				t.Fatal(err)
			}
			if body, _ := w.get(t, "/a"); body != "1" {
				t.Errorf("%q after it was purged, want 1", body)
			}
			w.hits(t, "/a")
		})
	}
}
