package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// kind is what is counted.
type kind int

const (
	reads kind = iota
	heads
	hits
	nearHits
	collapsed
	stored
	notModified
	freshened
	servedWhile
	servedIfError
	servedSoftTimeout
	errorAnswers
	refreshed
	refreshErrors
	ahead
	overtaken
	purges
	byAll
	byPrefix
	byTag
	byURL
	byAllSoftly
	byPrefixSoftly
	byTagSoftly
	refused
	evictedValues
	evictedVariants
	evictedRecords
	evictedLocks
	evictedStamps
	evictedRings
	evictedClocks
	evictedJournals
	pauses
	flushes
	cuts
	losses
	kinds
)

// seen are the kinds that Cache-Status tells of.
var seen = map[string]kind{
	"; hit": hits, "detail=near": nearHits, "; collapsed": collapsed, "; stored": stored, "fwd-status=304": freshened,
	whileRevalidate: servedWhile, ifError: servedIfError, softTimeout: servedSoftTimeout,
}

// result is what a run has found.
type result struct {
	count      [kinds]atomic.Int64
	violations atomic.Int64 // but for what only came too late
	mu         sync.Mutex
	traces     []string
	delays     []time.Duration // by which a purge was too late for a read
	began      time.Time
	took       time.Duration
}

// blame notes what is wrong with an answer.
func (r *result) blame(q request, a answer, f *fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	after := ""
	if f.late {
		r.delays = append(r.delays, f.by)
		after = fmt.Sprintf(", %v before", f.by)
	} else {
		r.violations.Add(1)
	}
	if len(r.traces) < 10 {
		r.traces = append(r.traces, fmt.Sprintf("%s %s (%s): %d: %s%s; %s", q.method, q.url(), q.view.selected, a.version, f.what, after, a.status))
	}
}

// broken says what was promised and did not hold.
func (r *result) broken(c check) error {
	switch {
	case r.violations.Load() > 0:
		return errors.New("an answer was not one that was allowed")
	case c.near == 0 && len(r.delays) > 0:
		return errors.New("an acknowledged purge did not hold")
	case c.near > 0 && len(r.delays) > 0 && slices.Max(r.delays) > maxDelay:
		return fmt.Errorf("a purge came later to a near tier than after %v", maxDelay)
	}
	return nil
}

// line is one of the table; its count must not be zero where the run exercises
// it.
type line struct {
	name      string
	kind      kind
	exercised bool
}

func (c check) lines() []line {
	stale := c.SWR || c.SIE || c.SoftTimeout || c.Stated || c.Policies
	return []line{
		{"reads", reads, true},
		{"of these HEAD", heads, c.Head},
		{"hits", hits, true},
		{"of these near", nearHits, c.near > 0},
		{"stale while revalidated", servedWhile, c.SWR || c.Stated || c.Policies || c.Soft},
		{"stale in place of an error", servedIfError, c.SIE || c.Stated},
		{"stale after a soft time-out", servedSoftTimeout, c.SoftTimeout || c.Policies},
		{"collapsed", collapsed, true},
		{"stored", stored, true},
		{"304 to clients", notModified, c.Conditional},
		{"304 from the origin", freshened, c.Validate && stale},
		{"errors of the origin", errorAnswers, c.SIE || c.Stated},
		{"background runs that renewed", refreshed, stale || c.Ahead || c.Soft},
		{"background runs that did not", refreshErrors, c.Stated || c.SIE && c.Soft},
		{"background runs ahead of the end", ahead, c.Ahead},
		{"responses purged before they were stored", overtaken, true},
		{"purges acknowledged", purges, true},
		{"of all", byAll, true},
		{"by prefix", byPrefix, true},
		{"by tag", byTag, true},
		{"by URL", byURL, true},
		{"of all, softly", byAllSoftly, c.Soft},
		{"by prefix, softly", byPrefixSoftly, c.Soft},
		{"by tag, softly", byTagSoftly, c.Soft},
		{"purges not acknowledged", refused, false},
		{"values evicted", evictedValues, true},
		{"variants evicted", evictedVariants, true},
		{"records of variants evicted", evictedRecords, true},
		{"tokens evicted", evictedLocks, true},
		{"stamps evicted", evictedStamps, true},
		{"rings of purges evicted", evictedRings, true},
		{"clocks of purges evicted", evictedClocks, true},
		{"journals of purges evicted", evictedJournals, true},
		{"processes stopped", pauses, c.Pause},
		{"scripts forgotten", flushes, true},
		{"all connections cut", cuts, c.near == 0},
		{"all data lost", losses, c.near == 0},
	}
}

// missing names what a run did not exercise.
func (r *result) missing(c check) (names []string) {
	for _, l := range c.lines() {
		if l.exercised && r.count[l.kind].Load() == 0 {
			names = append(names, l.name)
		}
	}
	return names
}

func (r *result) table(c check) string {
	var b strings.Builder
	row := func(what string, n any) { _, _ = fmt.Fprintf(&b, "| %s | %v |\n", what, n) }
	row("seed", c.seed)
	row("---", "---")
	row("processes", c.processes)
	row("policies in each", len(c.policies()))
	row("time", r.took.Round(100*time.Millisecond))
	for _, l := range c.lines() {
		if n := r.count[l.kind].Load(); n > 0 || l.exercised {
			row(l.name, n)
		}
	}
	slices.Sort(r.delays)
	if c.near > 0 {
		at := func(q float64) time.Duration {
			if len(r.delays) == 0 {
				return 0
			}
			return r.delays[int(q*float64(len(r.delays)-1))].Round(10 * time.Microsecond)
		}
		row("reads that a purge came too late for", len(r.delays))
		row("by p50, p99, max", fmt.Sprint(at(0.5), ", ", at(0.99), ", ", at(1)))
		row("other violations", r.violations.Load())
	} else {
		row("violations", r.violations.Load()+int64(len(r.delays)))
	}
	for _, t := range r.traces {
		b.WriteString(t + "\n")
	}
	return b.String()
}
