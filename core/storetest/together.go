package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// writeConcurrent ends fills by deleting their lock, as purges of a URL do: once Delete
// has returned, nothing is written any more of what was read before.
func (s *suite) writeConcurrent(t *testing.T) {
	w := newWorld(t, s, nil)
	w.purger(func(ctx context.Context, c coordinator, _ int) error {
		return c.Delete(ctx, c.prefix+"k0", c.lock("0"), c.lock("1"), c.prefix+"k1") // in whatever order
	}, &w.url, nil)
	w.run(25)
}

// together has fills and purges of all kinds at once, and the clock is lost now and then:
// what counts as valid was made after all purges that were over when it was asked for.
func (s *suite) together(t *testing.T) {
	w := newWorld(t, s, []string{"a", "b", "c"})
	for i := range w.tag {
		tag := w.tags[i]
		w.purger(func(ctx context.Context, c coordinator, round int) error {
			_, err := c.fills.Bump(ctx, c.clock, c.keys("x", tag), round%3 == 2, at, time.Hour)
			return err
		}, &w.tag[i], func(round int) bool { return round%3 == 2 })
	}
	w.purger(func(ctx context.Context, c coordinator, round int) error {
		if round%5 == 4 { // a purge of nothing, but for what the clock knows
			return c.Delete(ctx, c.clock)
		}
		j, err := c.fills.ReadJournal(ctx, c.clock)
		for written := false; !written && err == nil; {
			j, written, err = c.fills.WriteJournal(ctx, c.clock, j, store.Number)
		}
		return err
	}, &w.all, func(round int) bool { return round%5 == 4 })
	w.purger(func(ctx context.Context, c coordinator, _ int) error {
		return c.Delete(ctx, c.lock("1"), c.prefix+"k1", c.lock("0"), c.prefix+"k0")
	}, &w.url, nil)
	w.run(15)
}

// datum is something that fills read, and that its writer purges after each change.
type datum struct {
	is           atomic.Int64
	purged, soft atomic.Int64 // what it was at a hard and at any purge that is over
}

// world has two resources, which are made of data, and two stores that share them.
type world struct {
	*testing.T
	stores   []coordinator
	ctx      context.Context
	tags     []string
	tag      [3]datum
	all, url datum
	purgers  []func(rounds int)
	valid    atomic.Int64
	over     atomic.Bool
}

func newWorld(t *testing.T, s *suite, tags []string) *world {
	t.Helper()
	c := s.newCoordinator(t)
	return &world{T: t, stores: []coordinator{c, s.another(c)}, ctx: c.within(verySlow), tags: tags}
}

// purger changes d and purges then, with fills and reads between. Soft reports whether
// a round's purge is not a hard one.
func (w *world) purger(purge func(ctx context.Context, c coordinator, round int) error, d *datum, soft func(round int) bool) {
	c := w.stores[len(w.purgers)%2]
	w.purgers = append(w.purgers, func(rounds int) {
		for round := range rounds {
			// Not all at once, and when there is something to purge.
			for enough := w.valid.Load() + 1 + rand.Int64N(8); w.valid.Load() < enough && !w.Failed(); time.Sleep(50 * time.Microsecond) {
				if w.ctx.Err() != nil {
					w.Error("nothing that is stored is valid any more")
					return
				}
			}
			if w.Failed() {
				return
			}
			n := d.is.Add(1)
			if err := purge(w.ctx, c, round); err != nil {
				w.Errorf("purging: %v", err)
				return
			}
			if soft == nil || !soft(round) {
				d.purged.Store(n)
			}
			d.soft.Store(n)
			for resource := range 2 { // before others store again
				w.look(c, resource)
			}
		}
	})
}

// read gives the tags of a resource, and what it is made of now.
func (w *world) read(resource int) (tags []string, data []*datum) {
	data = []*datum{&w.all, &w.url}
	if w.tags != nil {
		tags = w.tags[resource : resource+2]
		data = append(data, &w.tag[resource], &w.tag[resource+1])
	}
	return tags, data
}

func (w *world) run(rounds int) {
	var workers, purgers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			for n := 0; !w.over.Load() && !w.Failed(); n++ {
				w.fill(w.stores[(i+n/2)%2], n%2, i < 2)
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // for what is stored to be read
			}
		})
	}
	for i := range 2 {
		workers.Go(func() {
			for n := 0; !w.over.Load() && !w.Failed(); n++ {
				w.look(w.stores[(i+n/2)%2], n%2)
			}
		})
	}
	for _, purger := range w.purgers {
		purgers.Go(func() { purger(rounds) })
	}
	purgers.Wait()
	w.over.Store(true)
	workers.Wait()
}

func (w *world) fill(c coordinator, resource int, adopt bool) {
	f := c.asks(fmt.Sprint(resource))
	f.Adopt = adopt
	b, err := c.fills.Begin(w.ctx, f)
	if err != nil {
		w.Errorf("Begin: %v", err)
		return
	}
	if c.tokens && b.Token != f.Token && !adopt {
		return
	}
	tags, data := w.read(resource)
	text := fmt.Appendf(nil, "%d %d", b.Mark.Epoch, b.Mark.Seq)
	for _, d := range data {
		text = fmt.Appendf(text, " %d", d.is.Load())
	}
	if rand.IntN(2) == 0 { // some take their time
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
	}
	v := store.Value{Key: c.prefix + fmt.Sprint("k", resource), Data: text, TTL: time.Hour}
	if _, err = c.fills.Write(w.ctx, c.toWrite(fill{f.Lock, b.Token, b.Mark}, tags, v)); err != nil {
		w.Errorf("Write: %v", err)
	}
}

func (w *world) look(c coordinator, resource int) {
	tags, data := w.read(resource)
	hard, soft := make([]int64, len(data)), make([]int64, len(data))
	for i, d := range data {
		hard[i], soft[i] = d.purged.Load(), d.soft.Load()
	}
	j, err := c.fills.ReadJournal(w.ctx, c.clock)
	if err != nil {
		w.Errorf("ReadJournal: %v", err)
		return
	}
	value, found, stamps, err := c.fills.GetStamped(w.ctx, c.prefix+fmt.Sprint("k", resource), nil, c.keys(tags...))
	if err != nil {
		w.Errorf("GetStamped: %v", err)
		return
	}
	if !found {
		return
	}
	var n []uint64
	for _, part := range bytes.Fields(value) {
		number, _ := strconv.ParseUint(string(part), 10, 64)
		n = append(n, number)
	}
	if len(n) != 2+len(data) {
		w.Errorf("nobody has written %.80q", value)
		return
	}
	since, made := store.Mark{Epoch: n[0], Seq: n[1]}, n[2:]
	last, err := strconv.ParseUint(j.Text, 10, 64)
	if err != nil {
		last = j.Began
	}
	// What a URL's purge ends needs no stamp.
	if made[1] < uint64(hard[1]) {
		w.Errorf("version %d of what is deleted with its lock is there, %d was purged", made[1], hard[1])
	}
	if !valid(since, stamps) || j.Mark.Epoch != since.Epoch || last > since.Seq {
		return
	}
	w.valid.Add(1)
	for i := range made {
		fresh := made[i] >= uint64(hard[i])
		if i >= 2 && stamps[i-2].Soft <= since.Seq {
			fresh = made[i] >= uint64(soft[i])
		}
		if !fresh {
			w.Errorf("version %d of %d is valid since %v, when %d (softly %d) was purged: %+v, journal %+v", made[i], i, since, hard[i], soft[i], stamps, j)
		}
	}
}
