package inspect

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// The keys with the most of something are found by SpaceSaving (Metwally, Agrawal and El
// Abbadi, 2005): a key that is not among the counted ones takes the place, and the count,
// of the one with the least, which becomes its error. Whatever has more than a shard's
// total divided by its counters is among them.
const (
	shards   = 16
	perShard = 64 // counters of each list
	maxTop   = 100
	keyBytes = 160 // of a key are kept
	// Where there are many hits, one of sampleHits is counted as so many: those beyond
	// sampleFrom in a slot of five seconds and a stripe.
	sampleHits = 16
	sampleFrom = 1024
)

// The lists.
const (
	topRequests = iota
	topBytes
	topMisses
	lists
)

var topNames = [lists]string{"requests", "bytes", "misses"}

// keptKey is the beginning of a key, without what all begin with.
type keptKey struct {
	n    uint8
	cut  bool
	text [keyBytes]byte
}

func (k *keptKey) set(wire string) {
	if i := strings.Index(wire, ":2:{"); i >= 0 {
		wire = wire[i+len(":2:{"):]
	}
	k.n, k.cut = uint8(copy(k.text[:], wire)), len(wire) > keyBytes
}

func (k *keptKey) key(hash uint64) Key {
	out := keyOf("kept:2:{"+string(k.text[:k.n]), hash)
	if k.cut && !strings.HasSuffix(out.Text, redact.Hidden) {
		out.Text += redact.Hidden
	}
	return out
}

// list is one of a shard's. Looking through its hashes takes 20 ns, so that it needs no index.
type list struct {
	n     int
	least uint64 // what the least count was; counts only grow
	hash  [perShard]uint64
	count [perShard]uint64
	err   [perShard]uint64
	key   [perShard]keptKey
}

func (l *list) add(hash uint64, wire string, weight uint64) {
	for i, h := range l.hash[:l.n] {
		if h == hash {
			l.count[i] += weight
			return
		}
	}
	if l.n < perShard {
		i := l.n
		l.n++
		l.hash[i], l.count[i], l.err[i] = hash, weight, 0
		l.key[i].set(wire)
		return
	}
	i := l.place()
	l.hash[i], l.err[i] = hash, l.count[i]
	l.count[i] += weight
	l.key[i].set(wire)
}

// place is where one of the least counts is. There are mostly several of them.
func (l *list) place() (at int) {
	for i, n := range &l.count {
		if n == l.least {
			return i
		}
		if n < l.count[at] {
			at = i
		}
	}
	l.least = l.count[at]
	return at
}

type shard struct {
	mu    sync.Mutex
	lists [lists]list
}

// sketch has all lists. Its shards are locked for a moment only.
type sketch struct{ shards [shards]shard }

// add counts a request for a key, as weight of them.
func (s *sketch) add(hash uint64, wire string, weight uint64, bytes int64, miss bool) {
	sh := &s.shards[hash%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.lists[topRequests].add(hash, wire, weight)
	if bytes > 0 {
		sh.lists[topBytes].add(hash, wire, weight*uint64(bytes))
	}
	if miss {
		sh.lists[topMisses].add(hash, wire, weight)
	}
}

// most are the keys of a list with the largest counts.
func (s *sketch) most(which, limit int) []TopKey {
	type found struct {
		hash, count, err uint64
		key              keptKey
	}
	var all []found
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		l := &sh.lists[which]
		for j := range l.n {
			all = append(all, found{l.hash[j], l.count[j], l.err[j], l.key[j]})
		}
		sh.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.hash, b.hash)) })
	out := make([]TopKey, 0, min(limit, len(all)))
	for _, f := range all[:min(limit, len(all))] {
		out = append(out, TopKey{Key: f.key.key(f.hash), Count: f.count, Error: f.err})
	}
	return out
}

func (s *sketch) clear() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range sh.lists {
			sh.lists[j].n, sh.lists[j].least = 0, 0
		}
		sh.mu.Unlock()
	}
}

// before is the hour before the current one.
type before struct {
	since, until int64
	lists        [lists][]TopKey
}

func (r *Recorder) top(which int, previous bool, limit int) Top {
	r.turn(r.now().UnixNano(), true)
	t := Top{By: topNames[which], Period: "current", Sample: sampleHits, Keys: []TopKey{}}
	r.series.mu.Lock()
	defer r.series.mu.Unlock()
	if !previous {
		t.Since, t.Until = max(r.hour*int64(hour), r.started.UnixNano())/1e6, r.now().UnixMilli()
		t.Keys = r.keys.most(which, limit)
		return t
	}
	t.Period, t.Since, t.Until = "previous", r.before.since/1e6, r.before.until/1e6
	if keys := r.before.lists[which]; len(keys) > 0 {
		t.Keys = slices.Clone(keys[:min(limit, len(keys))])
	}
	return t
}
