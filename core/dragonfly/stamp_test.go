package dragonfly_test

import (
	"context"
	"crypto/sha1"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// signed is text as it is under key.
func signed(key, text string) string {
	return text + fmt.Sprintf("%x", sha1.Sum([]byte(key+text)))[:8]
}

// hard are stamps of hard purges.
func hard(epoch uint64, numbers ...uint64) []store.Stamp {
	all := make([]store.Stamp, len(numbers))
	for i, n := range numbers {
		all[i] = store.Stamp{Epoch: epoch, Hard: n, Soft: n}
	}
	return all
}

// TestPurgeWritesNoStamps: a purge of what nobody has stored leaves the clock and its
// ring, and no more; and a stamp lasts as long as what it may purge.
func TestPurgeWritesNoStamps(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 3)
	before := r.mark()
	if mark := r.purge(false, r.stamps...); mark != (store.Mark{Epoch: before.Epoch, Seq: before.Seq + 3}) {
		t.Errorf("%v after %v and three purges", mark, before)
	}
	if got := r.read(r.stamps...); !slices.Equal(got, make([]store.Stamp, 3)) {
		t.Errorf("%v", got)
	}
	ttl := func(key string) time.Duration {
		c := r.s.Client()
		ms, err := c.Do(t.Context(), c.B().Pttl().Key(key).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	lasts := func(least time.Duration) {
		t.Helper()
		if got := ttl(r.stamps[0]); got < least || got > least+least/8+2*time.Second {
			t.Errorf("a stamp for %v lasts for %v", least, got)
		}
	}
	for _, c := range []struct{ life, want time.Duration }{{time.Hour, time.Hour}, {time.Minute, time.Hour}, {24 * time.Hour, 24 * time.Hour}} {
		w := r.value("v")
		w.Token, w.Values[0].TTL = "a", c.life
		if _, err := r.s.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		lasts(c.want)
	}
	r.purge(false, r.stamps...)
	lasts(24 * time.Hour)
	r.purge(true, r.stamps...)
	lasts(24 * time.Hour)
	// Those that last long enough are left alone: others have copies of them.
	if r.must("SET", r.stamps[0], r.must("GET", r.stamps[0]), "PX", "3700000"); ttl(r.stamps[0]) > 2*time.Hour {
		t.Fatal(ttl(r.stamps[0]))
	}
	r.settle(r.mark(), r.stamps...)
	if got := ttl(r.stamps[0]); got > 3700*time.Second {
		t.Errorf("a stamp that lasts long enough lasts for %v", got)
	}
	if got := ttl(r.clock); got > time.Hour {
		t.Errorf("the clock lasts for %v after a purge with an hour", got)
	}
	for _, name := range []string{r.clock + ":ring"} {
		if got := ttl(name); got <= 0 || got > time.Hour {
			t.Errorf("%s lasts for %v", name, got)
		}
	}
}

// TestSoft: a soft purge makes stale what was made before, and removes nothing that a
// hard one has not.
func TestSoft(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 2)
	a, b := r.stamps[0], r.stamps[1]
	m := r.mark()
	e := m.Epoch
	r.settle(m, r.stamps...)
	h := r.purge(false, a).Seq
	s := r.purge(true, a, b).Seq // a has s-1, b has s
	if got, want := r.read(a, b), []store.Stamp{{Epoch: e, Hard: h, Soft: s - 1, SoftAt: 7}, {Epoch: e, Hard: m.Seq, Soft: s, SoftAt: 7}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// From the ring the same, but for the time.
	r.must("DEL", a, b)
	got, written := r.settle(store.Mark{Epoch: e, Seq: h}, a, b)
	if want := []store.Stamp{{Epoch: e, Hard: h, Soft: s - 1}, {Epoch: e, Hard: m.Seq, Soft: s}}; !slices.Equal(got, want) || written.Purged || !written.Outdated {
		t.Errorf("%v, %+v; want %v", got, written, want)
	}
	if _, written = r.settle(store.Mark{Epoch: e, Seq: h - 1}, a, b); !written.Purged {
		t.Errorf("%+v for a fill before a hard purge", written)
	}
	if _, written = r.settle(store.Mark{Epoch: e, Seq: s}, a, b); written.Purged || written.Outdated {
		t.Errorf("%+v for a fill after all purges", written)
	}
	n := r.purge(false, b).Seq
	if got, want := r.read(b), []store.Stamp{{Epoch: e, Hard: n, Soft: n, SoftAt: 7}}; !slices.Equal(got, want) {
		t.Errorf("a hard purge after a soft one: %v, want %v", got, want)
	}
	// One of another epoch, or damaged: nobody knows what it was purged by.
	for name, text := range map[string]string{
		"another epoch": signed(a, fmt.Sprintf("%016x %x %x 0", e+1, 1, 1)),
		"damaged":       signed(a+"x", fmt.Sprintf("%016x %x %x 0", e, 1, 1)),
	} {
		r.must("SET", a, text, "PX", "60000")
		n := r.purge(true, a).Seq
		if got, want := r.read(a), []store.Stamp{{Epoch: e, Hard: n, Soft: n, SoftAt: 7}}; !slices.Equal(got, want) {
			t.Errorf("a soft purge of a stamp that is of %s: %v, want %v", name, got, want)
		}
	}
}

// TestStampOfAnotherEpoch is settled anew, from the ring.
func TestStampOfAnotherEpoch(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 2)
	first := r.mark()
	r.settle(first, r.stamps...)
	n := r.purge(false, r.stamps[0]).Seq
	r.must("DEL", r.clock)
	second := r.mark()
	if second.Epoch == first.Epoch || second.Seq == 0 {
		t.Fatalf("a new clock says %v, the old one %v", second, first)
	}
	if got, want := r.read(r.stamps...), []store.Stamp{{Epoch: first.Epoch, Hard: n, Soft: n, SoftAt: 7}, hard(first.Epoch, first.Seq)[0]}; !slices.Equal(got, want) {
		t.Errorf("untouched: %v, want %v", got, want)
	}
	m := r.purge(false, r.stamps[1]).Seq
	got, written := r.settle(second, r.stamps...)
	if want := []store.Stamp{hard(second.Epoch, second.Seq)[0], {Epoch: second.Epoch, Hard: m, Soft: m, SoftAt: 7}}; !slices.Equal(got, want) || !written.Purged {
		t.Errorf("settled %v, %+v; want %v", got, written, want)
	}
	if _, written = r.settle(store.Mark{Epoch: first.Epoch, Seq: 1 << 40}, r.stamps...); !written.Purged {
		t.Error("a fill of another epoch is not told so")
	}
}

// TestForeignClock: what does not belong under the keys of clock, ring, stamps and
// journal is no purge of anything, and hides none: at worst all before counts as purged.
func TestForeignClock(t *testing.T) {
	t.Parallel()
	s := openTimeless(t)
	const clock, ring, stamp, journal = 1, 2, 4, 8
	for _, text := range foreign() {
		for which := 1; which < 16; which++ {
			r := resourceOn(t, s, 2)
			a, b := r.stamps[0], r.stamps[1]
			began := r.mark()
			if _, err := s.ReadJournal(t.Context(), r.clock); err != nil {
				t.Fatal(err)
			}
			r.settle(began, a)
			purged := r.purge(false, a, b)
			for i, key := range []string{r.clock, r.clock + ":ring", a, r.clock + ":journal"} {
				if which&(1<<i) != 0 {
					r.spoil(key, text)
				}
			}
			if got := r.read(a); which&stamp != 0 && got[0] != (store.Stamp{}) {
				t.Fatalf("stamp %v from %q", got, text)
			}
			if _, _, got, err := s.GetStamped(t.Context(), r.key, nil, []string{a, b}); err != nil || got[1] != (store.Stamp{}) {
				t.Fatalf("GetStamped: %v, %v from %q", got, err, text)
			}
			mark := r.mark()
			if same := mark.Epoch == purged.Epoch; same != (which&clock == 0) || same && mark != purged {
				t.Fatalf("%d: the clock says %v, was %v; with %q", which, mark, purged, text)
			}
			j, err := s.ReadJournal(t.Context(), r.clock)
			if err != nil || j.Mark.Epoch != mark.Epoch || j.Text != "" || which&journal != 0 && j.Began < purged.Seq && mark.Epoch == purged.Epoch {
				t.Fatalf("%d: the journal is %+v, %v; with %q", which, j, err, text)
			}
			got, written := r.settle(began, a, b)
			if !written.Purged {
				t.Fatalf("%d: a fill from before is good: %v at %v, with %q", which, got, mark, text)
			}
			for _, g := range got {
				if g.Epoch != mark.Epoch || mark.Epoch == purged.Epoch && (g.Hard < purged.Seq-1 || g.Hard > purged.Seq) {
					t.Fatalf("%d: settled %v at %v, purged %v; with %q", which, got, mark, purged, text)
				}
			}
			// And it goes on from there.
			next := r.purge(which%2 == 0, a)
			if next != (store.Mark{Epoch: mark.Epoch, Seq: mark.Seq + 1}) || r.read(a)[0].Soft != next.Seq {
				t.Fatalf("%d: %v after %v, and %v; with %q", which, next, mark, r.read(a), text)
			}
			r.must("DEL", b)
			if got, _ := r.settle(next, b); got[0].Epoch != next.Epoch || got[0].Hard > next.Seq-1 && which&(ring|clock) == 0 {
				t.Fatalf("%d: another tag's purge counts: %v at %v; with %q", which, got, next, text)
			}
		}
	}
}

// TestStampOnTheWire is what other versions and people with redis-cli rely on.
func TestStampOnTheWire(t *testing.T) {
	r := resourceOn(t, openTimeless(t), 2)
	a, b := r.stamps[0], r.stamps[1]
	content := func(key, want string) {
		t.Helper()
		if got := r.must("GET", key); got != signed(key, want) {
			t.Errorf("%s is %q, want %q", key, got, signed(key, want))
		}
	}
	e := r.mark().Epoch
	content(r.clock, fmt.Sprintf("%016x %014x", e, 1))
	r.settle(r.mark(), a)
	content(a, fmt.Sprintf("%016x 1 1 0", e))
	if n := r.purge(false, a).Seq; n != 2 {
		t.Fatal(n)
	}
	content(r.clock, fmt.Sprintf("%016x %014x", e, 2))
	content(a, fmt.Sprintf("%016x 2 2 7", e))
	r.purge(true, a, b)
	content(a, fmt.Sprintf("%016x 2 3 7", e))
	c := r.s.Client()
	ring, err := c.Do(t.Context(), c.B().Lrange().Key(r.clock+":ring").Start(0).Stop(-1).Build()).AsStrSlice()
	if err != nil || len(ring) != 3 || ring[0][11:] != "s00000000004" || ring[1][11:] != "s00000000003" || ring[2][11:] != "h00000000002" || ring[1][:11] != ring[2][:11] || ring[0][:11] == ring[1][:11] {
		t.Errorf("the ring is %q, %v", ring, err)
	}
	j, err := r.s.ReadJournal(t.Context(), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	content(r.clock+":journal", fmt.Sprintf("%016x %014x ", e, 4))
	if _, written, err := r.s.WriteJournal(t.Context(), r.clock, j, `{"all":`+store.Number+`}`); !written || err != nil {
		t.Fatal(written, err)
	}
	content(r.clock+":journal", fmt.Sprintf(`%016x %014x {"all":5}`, e, 4))
}

func TestStampsShareOneTag(t *testing.T) {
	s := openTimeless(t)
	for _, key := range []string{"some:key:of:ours", "some:key:of:{others}", "some:key:of:{}{ours}", "some:key:of:{ours"} {
		if _, err := s.Bump(t.Context(), "some:clock:of:{ours}", []string{"some:key:of:{ours}", key}, false, 0, time.Hour); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Bump of %s: %v", key, err)
		}
	}
	if _, err := s.Bump(t.Context(), "some:clock:of:{ours}", nil, false, 0, 0); err == nil {
		t.Error("Bump without a ttl")
	}
}

// TestPurgeOfThousands: thousands of tags go in scripts of a few hundred, each with a
// number of its own, and reads are answered in between.
func TestPurgeOfThousands(t *testing.T) {
	p := storetest.StartServer(t)
	r := resourceOn(t, timeless(openPatiently(t, p.Addr)), 3000)
	began := r.mark()
	r.settle(began, r.stamps...)
	var mark store.Mark
	got := ran(t, r.s.Client(), func() { mark = r.purge(false, r.stamps...) })
	if mark.Seq != began.Seq+3000 || got["evalsha"]+got["eval"] < 12 || got["evalsha"]+got["eval"] > 13 {
		t.Errorf("%v after %v, by %v", mark, began, got)
	}
	for i, stamp := range r.read(r.stamps...) {
		if stamp.Hard != began.Seq+uint64(i)+1 || stamp.Epoch != mark.Epoch {
			t.Fatalf("%d: %v", i, stamp)
		}
	}
	// A purge of nothing makes the clock, and changes nothing.
	if got := r.purge(false); got != mark {
		t.Errorf("%v after a purge of nothing, was %v", got, mark)
	}
}

func BenchmarkStamps(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	prefix := storetest.Prefix()
	clock, entry := prefix+"{tags}:clock", prefix+"{ours}"
	var five []string
	for i := range 5 {
		five = append(five, fmt.Sprint(prefix, "{tags}:t:", i))
	}
	write := store.Write{Lock: prefix + "{ours}:lock", Token: "none", Clock: clock, Stamps: five, Values: []store.Value{{Key: entry, TTL: time.Hour}}}
	if _, err := s.Write(ctx, write); err != nil {
		b.Fatal(err)
	}
	if err := s.Set(ctx, entry, make([]byte, 1024), time.Hour); err != nil {
		b.Fatal(err)
	}
	dst, n := make([]store.Stamp, 0, 8), 0
	bump := func(keys []string) func() error {
		return func() error { _, err := s.Bump(ctx, clock, keys, false, 0, time.Hour); return err }
	}
	for range 300 { // as many purges as the ring has places
		if err := bump(five[:1])(); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"Bump1", bump(five[:1])},
		{"Bump5", bump(five)},
		{"Stamps1", func() error { _, err := s.Stamps(ctx, dst, five[:1]); return err }},
		{"Stamps2", func() error { _, err := s.Stamps(ctx, dst, five[:2]); return err }},
		{"GetStamped0", func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, nil); return err }},
		{"GetStamped1", func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, five[:1]); return err }},
		{"GetStamped5", func() error { _, _, _, err := s.GetStamped(ctx, entry, dst, five); return err }},
		{"Settle5", func() error { _, err := s.Write(ctx, write); return err }},
		{"SettleNew", func() error {
			n++
			w := write
			w.Stamps = []string{fmt.Sprint(prefix, "{tags}:new:", n)}
			_, err := s.Write(ctx, w)
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
