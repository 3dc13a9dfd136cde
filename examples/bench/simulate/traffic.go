package main

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// zipf gives each of n keys its share of the requests: that of rank k is in proportion
// to k to the power of -s. Unlike [rand.Zipf] it takes an s of 1 and less.
func zipf(n int, s float64) []float64 {
	shares, sum := make([]float64, n), 0.0
	for k := range shares {
		shares[k] = math.Pow(float64(k+1), -s)
		sum += shares[k]
	}
	for k := range shares {
		shares[k] /= sum
	}
	return shares
}

// traffic is requests at random moments (a Poisson process).
type traffic struct {
	rng    *rand.Rand
	gap    float64   // ns, mean
	upTo   []float64 // the share of this key and those before it
	oneOff float64
	next   uint64 // key that nobody has asked for
	now    float64
}

func newTraffic(rng *rand.Rand, rps float64, keys int, s, oneOff float64) *traffic {
	t := &traffic{rng: rng, gap: float64(time.Second) / rps, upTo: zipf(keys, s), oneOff: oneOff, next: uint64(keys)}
	for k := 1; k < keys; k++ {
		t.upTo[k] += t.upTo[k-1]
	}
	return t
}

// request is the next one.
func (t *traffic) request() (at time.Duration, key uint64) {
	t.now += t.rng.ExpFloat64() * t.gap
	if t.oneOff > 0 && t.rng.Float64() < t.oneOff {
		t.next++
		return time.Duration(t.now), t.next - 1
	}
	return time.Duration(t.now), t.known()
}

// known is a key by its share.
func (t *traffic) known() uint64 {
	return uint64(min(sort.SearchFloat64s(t.upTo, t.rng.Float64()), len(t.upTo)-1))
}
