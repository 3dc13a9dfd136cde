package inspect

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

// clock is set by tests.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) forward(d time.Duration) { c.at = c.at.Add(d) }

// newClock begins at half past, so that an hour does not end unasked.
func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)} }

// told makes r see a request that was answered now.
func (c *clock) told(r *Recorder, change func(*observe.Event)) {
	e := hitOf("/blogs/:id", keyNamed(1))
	change(&e)
	e.Time = c.at.Add(-e.Total)
	r.Observe(&e)
}

func missed(e *observe.Event) {
	e.Result, e.Cause, e.Tier, e.Saved = observe.ResultMiss, observe.CauseCold, observe.TierNone, 0
}

func plain(*observe.Event) {}

// A hit allocates nothing, whether somebody watches or not.
func TestHitAllocatesNothing(t *testing.T) {
	r := NewRecorder(nil)
	var events []observe.Event
	for i := range 2000 {
		events = append(events, hitOf(fmt.Sprintf("/%d", i%256), keyNamed(i)))
	}
	for _, watched := range []bool{false, true} {
		if watched {
			r.tailPage(tailQuery{limit: 1})
		}
		i := 0
		allocs := testing.AllocsPerRun(20000, func() {
			e := &events[i%len(events)]
			e.Time = time.Now()
			r.Observe(e)
			i++
		})
		if allocs != 0 {
			t.Errorf("watched %v: %v allocations", watched, allocs)
		}
	}
	if n := r.latest.n; n == 0 {
		t.Error("no hit has entered the tail")
	}
}

// Whatever it sees, a recorder takes less than 2 MiB.
func TestMemory(t *testing.T) {
	live := func() uint64 {
		runtime.GC()
		runtime.GC() // pools take two
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	route := make([]string, 300)
	for i := range route {
		route[i] = fmt.Sprintf("/some/routes/are/long/%03d/:id", i)
	}
	c := newClock()
	before := live()
	r := NewRecorder(c.now)
	e := hitOf("", "")
	long := strings.Repeat("x", 300)
	for i := range 1_000_000 {
		e.Route, e.Key = route[i%len(route)], fmt.Sprintf("cacheaside:2:{GET:https://example.com/%d/%s}", i, long)
		if e.Result = observe.ResultHit; i%2 == 0 {
			e.Result = observe.ResultMiss
		}
		e.Cause, e.NotStored = observe.CauseCold, observe.ReasonNoStore
		if i%100_000 == 0 {
			c.forward(30 * time.Minute)
		}
		e.Time = c.at
		r.Observe(&e)
	}
	grown := live() - before
	t.Logf("%d KiB", grown>>10)
	if grown > 2<<20 {
		t.Errorf("%d bytes", grown)
	}
	if n := len(*r.known.known.Load()); n != observe.MaxRoutes+1 {
		t.Errorf("%d routes", n)
	}
	runtime.KeepAlive(r)
}

// The 50 keys that are asked for most, of a million as skewed as such are, are all found,
// and no estimate says less than was counted.
func TestTopKeys(t *testing.T) {
	c := newClock()
	r := NewRecorder(c.now)
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 1_000_000)
	misses := map[string]uint64{}
	for range 300_000 {
		n := int(z.Uint64())
		key := keyNamed(n)
		c.told(r, func(e *observe.Event) {
			if e.Key = key; rand.N(2) == 0 {
				missed(e)
				misses[keyOf(key, keyHash(key)).ID]++
			}
		})
	}
	for which, name := range topNames {
		top := r.top(which, false, maxTop)
		found := map[string]bool{}
		for _, k := range top.Keys {
			found[k.Key.ID] = true
			if exact := misses[k.Key.ID]; which == topMisses && (k.Count < exact || k.Count-k.Error > exact) {
				t.Errorf("%d misses are said to be %d to %d", exact, k.Count-k.Error, k.Count)
			}
		}
		for n := range 50 {
			key := keyNamed(n)
			if !found[keyOf(key, keyHash(key)).ID] {
				t.Errorf("%s: %d is missing", name, n)
			}
		}
		if top.Keys[0].Key.Text != "https://example.com/blogs/0?page=…" {
			t.Errorf("%s: %+v is first", name, top.Keys[0])
		}
	}
	c.forward(time.Hour)
	if top := r.top(topMisses, false, 10); len(top.Keys) != 0 {
		t.Error("the hour was not turned")
	}
	previous := r.top(topMisses, true, 10)
	if len(previous.Keys) != 10 || previous.Until-previous.Since != (30*time.Minute).Milliseconds() {
		t.Errorf("the hour before: %+v", previous)
	}
	c.forward(2 * time.Hour)
	if top := r.top(topMisses, true, 10); len(top.Keys) != 0 {
		t.Error("the hour before that is shown as the one before")
	}
}

func TestHistogram(t *testing.T) {
	for d := time.Microsecond; d < 4*time.Minute; d += d/7 + 1 {
		m := middleOf(bucketOf(d))
		if off := max(d-m, m-d); off > d/8+time.Microsecond {
			t.Errorf("%v counts as %v", d, m)
		}
	}
	if bucketOf(-1) != 0 || bucketOf(time.Hour) != buckets-1 {
		t.Error("what is out of range is lost")
	}
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	var s tally
	s.add(&h)
	for q, want := range map[float64]float64{0.5: 0.5, 0.99: 0.99} {
		if got := s.quantile(q); got < want*7/8 || got > want*9/8 {
			t.Errorf("%v: %v", q, got)
		}
	}
}

func total(counts map[string][]uint64) (n uint64) {
	for _, series := range counts {
		for _, c := range series {
			n += c
		}
	}
	return n
}

func TestCharts(t *testing.T) {
	c := newClock()
	r := NewRecorder(c.now)
	for range 120 { // an hour; the first slot of a chart is the one after that of its length ago
		c.told(r, plain)
		c.told(r, missed)
		c.told(r, func(e *observe.Event) { e.Kind, e.Total = observe.KindHandler, 50*time.Millisecond })
		c.forward(30 * time.Second)
	}
	for which, want := range []uint64{58, 238, 240} {
		ch := r.charts(which)
		if got := total(ch.Results); got != want {
			t.Errorf("%s: %d requests", ch.Range, got)
		}
		if len(ch.Times) != slots || ch.Times[slots-1] > c.at.Unix() || c.at.Unix()-ch.Times[slots-1] > int64(ch.Step) {
			t.Errorf("%s: the last slot begins at %d", ch.Range, ch.Times[slots-1])
		}
		if ch.Last < 0 || ch.Last >= ch.Step || float64(c.at.Unix()-ch.Times[slots-1]) != ch.Last {
			t.Errorf("%s: %v of the last slot", ch.Range, ch.Last)
		}
		if total(ch.Bytes) != want*4321 {
			t.Errorf("%s: %d bytes", ch.Range, total(ch.Bytes))
		}
		quantiles := 0
		for _, p := range ch.Latency["handler_p99"] {
			if p != nil && (*p < 0.04 || *p > 0.06) {
				t.Errorf("p99 of handlers is %v", *p)
			}
			if p != nil {
				quantiles++
			}
		}
		if quantiles == 0 {
			t.Errorf("%s: no quantiles", ch.Range)
		}
	}
	var s Status
	r.status(&s)
	if s.Recent.Requests != 58 || s.Started.Requests != 240 || *s.Started.HitShare != 0.5 || s.Started.Results["hit"] != 120 ||
		s.Started.Saved != 120*0.04 || s.Started.Causes["cold"] != 120 {
		t.Errorf("%+v %+v", s.Recent, s.Started)
	}
	c.forward(48 * time.Hour)
	if got := total(r.charts(2).Results); got != 0 {
		t.Errorf("%d requests two days later", got)
	}
	c.told(r, plain)
	c.forward(-2 * time.Hour) // the clock is set back
	r.charts(0)
	c.told(r, plain)
	c.told(r, func(e *observe.Event) { e.Total = -time.Hour; e.Time = c.at }) // what an event says moves nothing back
	if got := total(r.charts(0).Results); got != 2 {
		t.Errorf("%d requests after the clock was set back", got)
	}
}

// With the clock of the system nothing goes on in the background: a bubble with a
// goroutine left would fail.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(nil)
		e := hitOf("/", keyNamed(1))
		r.Observe(&e)
		time.Sleep(10 * time.Minute)
		if got := total(r.charts(0).Results); got != 1 {
			t.Errorf("%d after 10 minutes", got)
		}
		time.Sleep(10 * time.Minute)
		if got := total(r.charts(0).Results); got != 0 {
			t.Errorf("%d after 20 minutes", got)
		}
		if got := total(r.charts(1).Results); got != 1 {
			t.Errorf("%d in the hour", got)
		}
	})
}

func TestMarks(t *testing.T) {
	c := newClock()
	r := NewRecorder(c.now)
	purge := func(kind observe.Purge, outcome observe.Outcome) {
		c.told(r, func(e *observe.Event) { *e = observe.Event{Kind: observe.KindPurge, Purge: kind, Outcome: outcome} })
	}
	purge(observe.PurgeTags, observe.OutcomeOK)
	for range 1000 {
		purge(observe.PurgeUnsafe, observe.OutcomeOK)
	}
	purge(observe.PurgeAll, observe.OutcomeError)
	got := r.charts(0).Purges
	if len(got) != 3 || got[0].Kind != "tags" || got[2].Outcome != "error" || got[2].Time != c.at.UnixMilli() {
		t.Errorf("%+v", got)
	}
	for range 100 {
		c.forward(2 * time.Second)
		purge(observe.PurgeURL, observe.OutcomeOK)
	}
	if got := r.charts(0).Purges; len(got) != 64 {
		t.Errorf("%d purges", len(got))
	}
	c.forward(time.Hour)
	if got := r.charts(0).Purges; len(got) != 0 {
		t.Errorf("%d purges of an hour ago", len(got))
	}
}

func TestRoutesAndReasons(t *testing.T) {
	c := newClock()
	r := NewRecorder(c.now)
	for i := range 10 {
		c.told(r, plain)
		c.told(r, func(e *observe.Event) {
			missed(e)
			e.Route, e.NotStored, e.Total = "/users/:id", observe.ReasonPrivate, time.Second
			if i < 3 {
				e.Cause = observe.CauseExpired
			}
		})
	}
	c.told(r, func(e *observe.Event) {
		e.Route, e.Result, e.Bypass = "/login", observe.ResultBypass, observe.ReasonMethod
	})
	routes := r.routeTable().Routes
	if len(routes) != 3 || routes[0].Route != "/blogs/:id" || *routes[0].HitShare != 1 || routes[0].Saved != 0.4 {
		t.Errorf("%+v", routes)
	}
	if u := routes[1]; u.Cause != "cold" || u.Reason != "private" || *u.HitShare != 0 || *u.P99 < 0.875 || *u.P99 > 1.125 || u.Requests != 10 {
		t.Errorf("%+v", u)
	}
	if l := routes[2]; l.HitShare != nil || l.Reason != "method" {
		t.Errorf("%+v", l)
	}
	got := r.reasonTable().Reasons
	if len(got) != 2 || got[0].Reason != "private" || got[0].Count != 10 || got[0].Routes[0] != (RouteCount{"/users/:id", 10}) ||
		got[0].Remedy == "" || got[0].Bypass || !got[1].Bypass {
		t.Errorf("%+v", got)
	}
	c.forward(time.Hour)
	if n := len(r.routeTable().Routes); n != 3 {
		t.Errorf("%d routes an hour later", n)
	}
	c.told(r, plain)
	c.forward(time.Hour)
	if rs := r.routeTable(); len(rs.Routes) != 1 || rs.Routes[0].Requests != 1 || c.at.UnixMilli()-rs.Since != (90*time.Minute).Milliseconds() {
		t.Errorf("%+v two hours later", rs)
	}
}

// There is one sentence for each reason.
func TestRemedies(t *testing.T) {
	n := observe.Reason(1)
	for ; n.String() != ""; n++ {
		text := remedies[n]
		if len(text) < 40 || len(text) > 170 || !strings.HasSuffix(text, ".") || strings.Contains(text, ". ") || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ", rune(text[0])) {
			t.Errorf("%v: %q", n, text)
		}
	}
	if int(n) > reasons {
		t.Errorf("there are %d reasons: raise the bound", n)
	}
	if len(remedies) != int(n)-1 {
		t.Errorf("%d remedies for %d reasons", len(remedies), n-1)
	}
	for name, of := range map[string]interface{ String() string }{
		"results": observe.Result(results), "causes": observe.Cause(causes), "outcomes": observe.Outcome(outcomes),
	} {
		if of.String() != "" {
			t.Errorf("there are too many %s", name)
		}
	}
}

func TestTail(t *testing.T) {
	c := newClock()
	r := NewRecorder(c.now)
	c.told(r, plain)  // nobody watches
	c.told(r, missed) // enters all the same
	first := r.tailPage(tailQuery{limit: 10})
	if len(first.Events) != 1 || first.Events[0].Result != "miss" || first.Next != 1 || first.Events[0].Key.Text != "https://example.com/blogs/1?page=…" {
		t.Fatalf("%+v", first)
	}
	c.told(r, plain)
	c.forward(watching + time.Second)
	c.told(r, plain)
	next := r.tailPage(tailQuery{after: first.Next, limit: 10})
	if len(next.Events) != 1 || next.Events[0].Result != "hit" || next.Events[0].Seq != 2 || next.Missed != 0 {
		t.Errorf("%+v", next)
	}
	for i := range tailLength + 100 {
		c.told(r, func(e *observe.Event) {
			if i%2 == 0 {
				missed(e)
				e.Route, e.NotStored = "/users/:id", observe.ReasonPrivate
			}
		})
	}
	got := r.tailPage(tailQuery{after: next.Next, limit: 300, reason: "private"})
	if got.Missed != 100 || len(got.Events) != 300 || got.Next != got.Events[299].Seq {
		t.Errorf("%d, %d missed, next %d", len(got.Events), got.Missed, got.Next)
	}
	got = r.tailPage(tailQuery{after: got.Next, limit: 500, route: "/users/:id"})
	if len(got.Events) != tailLength/2-300 {
		t.Errorf("%d more", len(got.Events))
	}
	got = r.tailPage(tailQuery{limit: 5}) // the latest
	if len(got.Events) != 5 || got.Events[4].Seq != got.Next {
		t.Errorf("%+v", got)
	}
	got = r.tailPage(tailQuery{after: 1 << 40, limit: 5}) // of another process
	if len(got.Events) != 5 {
		t.Errorf("%+v", got)
	}
	for _, q := range []tailQuery{{kind: "purge"}, {result: "error"}, {cause: "vary"}, {outcome: "ok"}, {key: "nothing of the kind"}} {
		if q.limit = 9; len(r.tailPage(q).Events) != 0 {
			t.Errorf("%+v selects something", q)
		}
	}
	if q := (tailQuery{limit: 9, key: got.Events[0].Key.ID}); len(r.tailPage(q).Events) != 9 {
		t.Error("an ID selects nothing")
	}
	n := r.latest.n
	c.told(r, func(e *observe.Event) { e.Kind, e.Outcome = observe.KindStoreCall, observe.OutcomeOK })
	c.told(r, func(e *observe.Event) { e.Kind = observe.KindHandler })
	if r.latest.n != n {
		t.Error("what a request tells of is there twice")
	}
}

// Counts are exact, whoever looks at them meanwhile.
func TestConcurrent(t *testing.T) {
	r := NewRecorder(nil)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var s Status
			r.status(&s)
			r.charts(1)
			r.routeTable()
			r.reasonTable()
			r.top(topBytes, false, 10)
			r.tailPage(tailQuery{limit: 10})
		}
	})
	const each = 5000
	for w := range 4 {
		writers.Go(func() {
			for i := range each {
				e := hitOf(fmt.Sprintf("/%d", (w+i)%300), keyNamed(i))
				if i%2 == 0 {
					missed(&e)
				}
				r.Observe(&e)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	var s Status
	r.status(&s)
	if s.Started.Requests != 4*each || s.Started.Results["hit"] != 2*each {
		t.Errorf("%+v", s.Started)
	}
}

type gauges observe.Gauges

func (g gauges) Gauges() observe.Gauges { return observe.Gauges(g) }

func TestGauges(t *testing.T) {
	r := NewRecorder(nil)
	var g gauges
	g.Waiting, g.BreakerOpen, g.Near.On, g.Near.Entries = 3, true, true, 7
	r.Attach(g)
	r.Attach(g)
	r.Observe(&observe.Event{Kind: observe.KindBreaker, Outcome: observe.OutcomeOpened, Time: time.UnixMilli(1234)})
	var s Status
	r.status(&s)
	if s.Gauges.Waiting != 6 || !s.Breaker.Open || s.Breaker.Opened != 1 || s.Breaker.Since != 1234 || s.Near.Entries != 14 || !s.Near.On {
		t.Errorf("%+v", s)
	}
}
