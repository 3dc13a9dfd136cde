package main

import (
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// traffic is what goes on in a run.
type traffic struct {
	check
	database
	nodes []node
	token string
	*result
}

// etags are those that a reader has seen, by what it has asked for.
type etags map[string][]string

// note keeps the last three.
func (e etags) note(what, tag string) {
	if tag == "" || slices.Contains(e[what], tag) {
		return
	}
	e[what] = append(e[what], tag)
	if len(e[what]) > 3 {
		e[what] = e[what][1:]
	}
}

// request is one read of a row.
type request struct {
	row    *row
	node   node
	method string
	path   string // and query
	header http.Header
	view   view
}

func (q request) through(n node) request { q.node = n; return q }
func (q request) url() string            { return q.node.base + q.path }

// request chooses one.
func (t traffic) request(rng *mathrand.Rand, r *row, known etags) request {
	q := request{row: r, node: t.nodes[rng.IntN(len(t.nodes))], method: http.MethodGet, header: http.Header{}}
	language := []string{"de", "en", "fr"}[rng.IntN(3)]
	part := []string{"a", "b"}[rng.IntN(2)]
	full := r.urls()[rng.IntN(len(r.urls()))]
	_, query, _ := strings.Cut(full, "?")
	if r.variants() {
		q.header.Set("Accept-Language", language)
	}
	if r.policy.parts {
		q.header.Set("X-Part", part)
	}
	q.path = strings.TrimPrefix(full, "http://"+host)
	q.view = view{selected: r.selected(language, part, query), etagsOfTheCache: r.policy.untagged}
	if t.Head && rng.IntN(8) == 0 {
		q.method, q.view.head = http.MethodHead, true
	}
	if seen := known[r.path()+q.view.selected]; t.Conditional && len(seen) > 0 && rng.IntN(5) == 0 {
		q.view.sent = seen[rng.IntN(len(seen)):]
		q.header.Set("If-None-Match", strings.Join(q.view.sent, ", "))
	}
	return q
}

// send sends it, and judges the answer. There is none, ok is false, where the
// origin has failed and might.
func (t traffic) send(ctx context.Context, q request, known etags) (a answer, ok bool, err error) {
	r := q.row
	a = answer{began: time.Now(), hard: r.hard.Load(), soft: r.soft.Load()}
	code, h, body, err := send(ctx, q.method, q.url(), q.header, "")
	if err != nil {
		return a, false, err
	}
	a.status = strings.Join(h.Values("Cache-Status"), ", ")
	if code >= 500 && r.policy.fails && !strings.Contains(a.status, "; hit") {
		a.code = code
		return a, false, nil
	}
	if code != http.StatusOK && code != http.StatusNotModified {
		return a, false, fmt.Errorf("%s: status %d: %q; %s", q.url(), code, body, a.status)
	}
	s := q.view
	s.code, s.version, s.etag, s.body = code, h.Get(version), h.Get("Etag"), body
	var what string
	if a.version, what = s.check(); what != "" {
		t.blame(q, a, &fault{what: fmt.Sprintf("%s: %+v", what, s)})
		return a, false, nil
	}
	known.note(r.path()+s.selected, s.etag)
	a.code = code
	if f := r.judge(a); f != nil {
		t.blame(q, a, f)
	}
	return a, true, nil
}

// read sends a request, and counts what became of it.
func (t traffic) read(ctx context.Context, q request, known etags) error {
	a, ok, err := t.send(ctx, q, known)
	if err != nil {
		return err
	}
	t.count[reads].Add(1)
	switch {
	case !ok && a.code >= 500:
		t.count[errorAnswers].Add(1)
	case ok:
		for part, k := range seen {
			if strings.Contains(a.status, part) {
				t.count[k].Add(1)
			}
		}
		if q.view.head {
			t.count[heads].Add(1)
		}
		if a.code == http.StatusNotModified {
			t.count[notModified].Add(1)
		}
	}
	return nil
}

// enough reports whether n reads are enough: as many as were asked for, and, up to
// most, as many as it takes for all to have happened that is to be exercised.
func (t traffic) enough(ctx context.Context, n int64) (bool, error) {
	if n <= int64(t.reads) {
		return false, nil
	}
	if n > int64(t.most) || n%100 != 1 {
		return n > int64(t.most), nil
	}
	if err := t.ask(ctx); err != nil {
		return false, err
	}
	return len(t.missing(t.check)) == 0, nil
}

// everyRow is a tag that all rows with tags have.
const everyRow = "rows"

// order is what the endpoint takes.
type order struct {
	Tags     []string `json:"tags,omitempty"`
	URLs     []string `json:"urls,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
	All      bool     `json:"all,omitempty"`
	Soft     bool     `json:"soft,omitempty"`

	way    kind
	covers func(*row) bool
}

// order chooses how to purge a row, and maybe others with it.
func (t traffic) order(rng *mathrand.Rand, r *row) order {
	o := order{Soft: t.Soft && rng.IntN(3) == 0}
	itself := func(other *row) bool { return other == r }
	ofPolicy := func(other *row) bool { return other.policy == r.policy }
	k := rng.IntN(400)
	for _, way := range []kind{byAll, byPrefix} { // which are rare: not too late in a short run
		if rng.IntN(20) == 0 && t.count[o.counted(way)].Load() == 0 {
			k = int(way - byAll)
		}
	}
	switch {
	case k == 0:
		o.All, o.way, o.covers = true, byAll, func(*row) bool { return true }
	case k == 1:
		o.way = byPrefix
		// Few enough for the cache to tell them apart: one too many, and the oldest
		// counts for everything.
		switch k := rng.IntN(3); {
		case k == 0:
			o.Prefixes, o.covers = []string{"http://" + host + "/"}, func(*row) bool { return true }
		case k == 1 || !slices.Contains(t.all[:min(40, len(t.all))], r):
			o.Prefixes, o.covers = []string{"http://" + host + "/" + r.policy.name}, ofPolicy
		default:
			o.Prefixes, o.covers = []string{"http://" + host + r.path()}, itself
		}
	case r.tagged() && k < 10:
		o.Tags, o.way, o.covers = []string{everyRow}, byTag, (*row).tagged
	case r.tagged() && k < 40:
		o.Tags, o.way, o.covers = []string{r.policy.name}, byTag, func(other *row) bool { return ofPolicy(other) && other.tagged() }
	case r.tagged() && (k < 250 || o.Soft):
		o.Tags, o.way, o.covers = []string{r.tag()}, byTag, itself
	default:
		o.URLs, o.way, o.covers, o.Soft = r.urls(), byURL, itself, false
	}
	return o
}

// counted is the kind to count a purge as.
func (o order) counted(way kind) kind {
	if o.Soft {
		return way + byAllSoftly - byAll
	}
	return way
}

// write changes and purges a row, several times in a row at times. After each purge
// it is read through several processes, so that the next one finds handlers that
// run, and requests that wait for them.
func (t traffic) write(ctx context.Context, rng *mathrand.Rand) error {
	time.Sleep(time.Duration(rng.IntN(12)) * time.Millisecond)
	r := t.all[rng.IntN(1+rng.IntN(len(t.all)))] // so that the last ones are left alone for a while
	r.mu.Lock()
	defer r.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	errs := make(chan error, 1)
	for range 1 + rng.IntN(3) {
		if !t.Validate || rng.IntN(4) > 0 { // purges of what is still good as well, for 304 to bring it back
			r.write()
		}
		if _, err := t.purge(ctx, t.nodes[rng.IntN(len(t.nodes))], r.policy, t.order(rng, r)); err != nil {
			return err
		}
		q := t.request(rng, r, nil)
		at := rng.IntN(len(t.nodes))
		for i := range t.nodes[:min(2, len(t.nodes))] {
			other := q.through(t.nodes[(at+i)%len(t.nodes)])
			wg.Go(func() {
				if err := t.read(ctx, other, etags{}); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// purge has a process obey, through the handle of a policy, and notes what is
// promised then; false where the purge was not acknowledged.
func (t traffic) purge(ctx context.Context, n node, p *policy, o order) (bool, error) {
	var covered []*row
	var now []int64
	for _, r := range t.all {
		if o.covers(r) {
			covered, now = append(covered, r), append(now, r.version.Load())
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return false, err
	}
	if o.Soft {
		for _, r := range covered {
			end := r.softening()
			// One that is not acknowledged may come through a little later.
			defer func() { end(time.Now().Add(time.Second)) }()
		}
	}
	code, _, body, err := send(ctx, http.MethodPost, n.beside+"/purge/"+p.name, http.Header{"Authorization": {"Bearer " + t.token}}, string(text))
	switch {
	case err != nil:
		return false, err
	case code == http.StatusServiceUnavailable: // not acknowledged: nothing is promised
		t.count[refused].Add(1)
		return false, nil
	case code != http.StatusOK:
		return false, fmt.Errorf("purging %s: status %d: %s", text, code, body)
	}
	t.count[purges].Add(1)
	t.count[o.counted(o.way)].Add(1)
	for i, r := range covered {
		r.promised(now[i], o.Soft)
	}
	return true, nil
}

// settleTime is how long everything may take to be as it should be, once nothing
// happens any more.
const settleTime = 15 * time.Second

// settle ends a run: what is purged for the last time, softly where that is
// exercised, has to be renewed everywhere, and to be fresh then. A cache that
// nobody was ever given a stale answer by might have stopped renewing.
func (t traffic) settle(ctx context.Context) error {
	t.calm.Store(true)
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	last := order{All: true, Soft: t.Soft, way: byAll, covers: func(*row) bool { return true }}
	for {
		if ok, err := t.purge(ctx, t.nodes[0], t.all[0].policy, last); err != nil {
			return err
		} else if ok {
			break
		}
		time.Sleep(100 * time.Millisecond) // the breaker may be open
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(t.all))
	for i, r := range t.all {
		wg.Go(func() {
			rng := mathrand.New(mathrand.NewPCG(t.seed, uint64(i)))
			q := t.request(rng, r, nil)
			q.method, q.view.head = http.MethodGet, false // a HEAD renews nothing
			var a answer
			for ctx.Err() == nil {
				last, ok, err := t.send(ctx, q, etags{})
				if err != nil && ctx.Err() == nil {
					errs <- err
					return
				}
				if a = last; ok && a.version == r.version.Load() && strings.Contains(a.status, "; hit") && !strings.Contains(a.status, "detail=s") {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.blame(q, a, &fault{what: fmt.Sprintf("not renewed within %v", settleTime)})
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// ask adds up what the processes have counted.
func (t traffic) ask(ctx context.Context) error {
	var sum counts
	for _, n := range t.nodes {
		var c counts
		code, _, body, err := send(ctx, http.MethodGet, n.beside+"/counts", nil, "")
		if err == nil {
			err = json.Unmarshal([]byte(body), &c)
		}
		if err != nil {
			return fmt.Errorf("asking for counts: status %d: %w", code, err)
		}
		sum.Stats.Refreshed += c.Stats.Refreshed
		sum.Stats.RefreshErrors += c.Stats.RefreshErrors
		sum.Stats.Overtaken += c.Stats.Overtaken
		sum.Ahead += c.Ahead
	}
	t.count[refreshed].Store(int64(sum.Stats.Refreshed))
	t.count[refreshErrors].Store(int64(sum.Stats.RefreshErrors))
	t.count[overtaken].Store(int64(sum.Stats.Overtaken))
	t.count[ahead].Store(sum.Ahead)
	return nil
}

// maxDelay is what a near tier may be late by.
const maxDelay = 10 * time.Second
