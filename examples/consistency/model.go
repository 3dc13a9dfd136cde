package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// softGrace is how long at least the cache serves what was purged softly, while
	// it is being renewed.
	softGrace = time.Minute
	// slack is what may pass between the origin's look at a row and the cache's at
	// the clock.
	slack = 3 * time.Second
)

// row is a row of the database: its versions, and what a purge was acknowledged
// for.
type row struct {
	policy *policy
	n      int        // among those of its policy: odd ones are tagged, every third has variants
	mu     sync.Mutex // of its writer

	version    atomic.Int64
	hard, soft atomic.Pointer[promise] // the newest of their kind
	times      sync.Mutex
	written    []time.Time // when version i+1 was there
	running    int         // soft purges that may reach it
	softened   time.Time   // when one may have reached it last
}

// promise is a version that a purge was acknowledged for.
type promise struct {
	version int64
	at      time.Time
}

// write makes the next version.
func (r *row) write() {
	r.version.Add(1)
	r.times.Lock()
	defer r.times.Unlock()
	r.written = append(r.written, time.Now())
}

// gone returns when version was one no longer; false while it is current.
func (r *row) gone(version int64) (time.Time, bool) {
	r.times.Lock()
	defer r.times.Unlock()
	if version >= int64(len(r.written)) {
		return time.Time{}, false
	}
	return r.written[version], true
}

// softening notes that a soft purge of the row begins. What is returned notes that
// it came through, at the latest at a time.
func (r *row) softening() (end func(time.Time)) {
	r.times.Lock()
	defer r.times.Unlock()
	r.running++
	return func(at time.Time) {
		r.times.Lock()
		defer r.times.Unlock()
		r.running--
		if at.After(r.softened) {
			r.softened = at
		}
	}
}

// mayBeSoft reports whether a soft purge may have come after what is stored of
// version was asked for, which is a little before the origin looks.
func (r *row) mayBeSoft(version int64) bool {
	r.times.Lock()
	defer r.times.Unlock()
	var since time.Time
	if version > 0 && version <= int64(len(r.written)) {
		since = r.written[version-1]
	}
	return r.running > 0 || !r.softened.IsZero() && since.Before(r.softened.Add(slack))
}

// promised notes that a purge of what is older than version was acknowledged.
func (r *row) promised(version int64, soft bool) {
	at := &r.hard
	if soft {
		at = &r.soft
	}
	next := &promise{version, time.Now()}
	for {
		old := at.Load()
		if old != nil && old.version >= version || at.CompareAndSwap(old, next) {
			return
		}
	}
}

// out reports whether the origin has nothing but errors for the row now: one in
// three does at a time, for longer than any of them may be covered up.
func (r *row) out() bool {
	const long = 8 * time.Second
	return (int64(r.n)+time.Now().UnixNano()/int64(long))%3 == 0
}

func (r *row) tagged() bool   { return r.n%2 == 1 }
func (r *row) variants() bool { return r.n%3 == 0 }
func (r *row) path() string   { return fmt.Sprintf("/%s/%d", r.policy.name, r.n) }
func (r *row) tag() string    { return fmt.Sprintf("%s-%d", r.policy.name, r.n) }

// urls are all that the row is read under.
func (r *row) urls() []string {
	base := "http://" + host + r.path()
	if r.policy.orders {
		return []string{base + "?a=1&b=2", base + "?b=2&a=1"}
	}
	return []string{base}
}

// text is the representation of a version, and etag its ETag.
func text(version int64, selected string) string { return fmt.Sprintf("%d %s", version, selected) }
func etag(version int64, selected string) string { return fmt.Sprintf("%q", text(version, selected)) }

// selected is what a response depends on, beside the path.
func (r *row) selected(language, part, query string) string {
	var parts []string
	if r.variants() {
		parts = append(parts, language)
	}
	if r.policy.parts {
		parts = append(parts, part)
	}
	if r.policy.orders {
		parts = append(parts, query)
	}
	return strings.Join(parts, ";")
}

// answer is what a reader got, and what it knew when it asked.
type answer struct {
	began      time.Time
	hard, soft *promise
	version    int64
	code       int
	status     string // Cache-Status
}

// Why a stale response is served, as Cache-Status shows it.
const (
	whileRevalidate = "detail=stale-while-revalidate"
	ifError         = "detail=stale-if-error"
	softTimeout     = "detail=soft-timeout"
)

// fault is what is wrong with an answer.
type fault struct {
	what string
	late bool          // an acknowledged purge has not come through
	by   time.Duration // how long ago it was acknowledged
}

// judge says what is wrong with an answer, nil where it is allowed:
//
//   - Nothing older than what was purged before the request began, whatever the
//     reason that it is served for.
//   - What was purged softly only as stale, and for as long as that may be.
//   - What is stale only where the policy has it, and nothing longer than the
//     policy has it, purged or not.
func (r *row) judge(a answer) *fault {
	p := r.policy
	stale, window, allowed := true, time.Duration(0), false
	switch {
	case strings.Contains(a.status, whileRevalidate):
		window, allowed = p.swr, p.swr > 0
		if r.mayBeSoft(a.version) {
			window, allowed = max(window, softGrace), true
		}
	case strings.Contains(a.status, ifError):
		window, allowed = p.sie, p.sie > 0
	case strings.Contains(a.status, softTimeout):
		window, allowed = p.sie, p.soft > 0 || p.name == "mixed"
	default:
		stale = false
	}
	gone, over := r.gone(a.version)
	switch {
	case a.version > r.version.Load():
		return &fault{what: "a version that is not written yet"}
	case a.hard != nil && a.version < a.hard.version:
		return &fault{fmt.Sprintf("%d was purged", a.hard.version), true, a.began.Sub(a.hard.at)}
	case a.soft != nil && a.version < a.soft.version && !stale:
		return &fault{fmt.Sprintf("%d was purged softly, and this is not called stale", a.soft.version), true, a.began.Sub(a.soft.at)}
	case stale && (p.unbending || !allowed):
		return &fault{what: "its policy serves nothing stale for that reason"}
	case over && a.began.Sub(gone) > p.ttl+window+slack:
		return &fault{what: fmt.Sprintf("it was replaced %v ago", a.began.Sub(gone).Round(time.Millisecond))}
	}
	return nil
}

// view is what a response shows of a row.
type view struct {
	head            bool
	sent            []string // If-None-Match
	code            int
	version, etag   string // its fields
	body            string
	selected        string // what the reader has asked for
	etagsOfTheCache bool
}

// check returns the version that a response speaks of, or what does not fit
// together in it.
func (s view) check() (int64, string) {
	var version int64
	if _, err := fmt.Sscan(s.version, &version); err != nil {
		return 0, "no version"
	}
	switch {
	case !s.etagsOfTheCache && s.etag != "" && s.etag != etag(version, s.selected):
		return 0, "the ETag of another response"
	case s.code == 304 && !slices.Contains(s.sent, s.etag):
		return 0, "304 for what the client does not have"
	case (s.code == 304 || s.head) && s.body != "":
		return 0, "a body"
	case s.code == 200 && !s.head && s.body != text(version, s.selected):
		return 0, "the body of another response"
	}
	return version, ""
}
