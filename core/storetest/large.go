package storetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"
)

// filled is a value of n bytes that tells writers apart at its end as well.
func filled(who string, n int) []byte {
	line := []byte(who + ";")
	return bytes.Repeat(line, n/len(line)+1)[:n]
}

// largeReplaced: large and small values take one another's place, and what was
// deleted stays away.
func (s *suite) largeReplaced(t *testing.T) {
	o := s.new(t)
	sizes := []int{64<<10 - 1, 64 << 10, 10, 64<<10 + 1, 256<<10 - 1, 256 << 10, 0, 1 << 20, 256<<10 + 1, 64 << 10}
	for i, size := range sizes {
		size = min(size, s.maxValue)
		value := filled(fmt.Sprint("value ", i), size)
		o.set("k", value, time.Hour)
		o.set("neighbour", filled("neighbour", size), time.Hour)
		for range 2 {
			o.want("k", value)
		}
		if i%3 == 2 {
			o.delete("k")
			o.wantNone("k")
		}
		o.want("neighbour", filled("neighbour", size))
	}
}

func (s *suite) largeExpiry(t *testing.T) {
	const ttl = 400 * time.Millisecond
	o := s.new(t)
	value := filled("short", min(256<<10, s.maxValue))
	before := time.Now()
	o.set("k", value, ttl)
	o.want("k", value)
	s.gone(o, "k", before, time.Now(), ttl, 600*time.Millisecond)
	o.wantNone("k")
}

// largeConcurrent: a reader is given one of the values that were written, whole.
func (s *suite) largeConcurrent(t *testing.T) {
	o := s.new(t)
	ctx := o.within(verySlow)
	const workers, rounds = 4, 12
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	for w := range workers {
		writers.Go(func() {
			for r := range rounds {
				size := min([]int{70_000, 100, 150_000}[(w+r)%3], s.maxValue)
				if err := o.Store.Set(ctx, o.prefix+"k", filled(fmt.Sprint(w, ".", r), size), time.Hour); err != nil {
					t.Errorf("Set: %v", err)
					return
				}
			}
		})
		// As long as there are writers, so that no read comes too early to see anything.
		readers.Go(func() {
			for {
				got, found, err := o.Store.Get(ctx, o.prefix+"k")
				if err != nil {
					t.Errorf("Get: %v", err)
					return
				}
				if who, _, _ := bytes.Cut(got, []byte(";")); found && !bytes.Equal(got, filled(string(who), len(got))) {
					t.Errorf("Get returned parts of several values, of %d bytes", len(got))
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	last := filled("last", min(100_000, s.maxValue))
	o.set("k", last, time.Hour)
	o.want("k", last)
}
