package dragonfly_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/storetest"
)

const (
	fleetRows   = 24
	fleetMaxAge = 5 * time.Second // of copies in the process
	// journalUse is how long a process uses a copy of the journal, and a little.
	journalUse = 500 * time.Millisecond
)

// fleet is three processes with a cache each on one cluster, the last of them with copies
// in the process, and the load on them: reads, of which each is checked, and purges. Its
// times are those of production.
type fleet struct {
	t       *testing.T
	c       *storetest.Cluster
	members []*member
	rows    [fleetRows]fleetRow
	end     context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	doubts []doubt
	blind  []period

	since   atomic.Int64 // when the event began
	reads   tally        // that failed: answered by the handler, since the store did not
	fills   tally
	purges  tally
	runs    atomic.Int64 // of the handler
	failed  atomic.Int64 // calls of the store, and calls not made
	due     atomic.Int64 // runs that purges have made necessary
	hits    atomic.Int64
	near    atomic.Int64
	slowest atomic.Int64
	lag     atomic.Int64 // of copies behind purges of others
	lost    atomic.Int64 // reads that showed that a purge is lost
}

type member struct {
	*cacheaside.Cache
	id      int
	copies  bool
	handler http.Handler
}

// fleetRow is a row of the database. Those of remainder 0 by 3 are purged by URL, those of
// 1 by their tag, and those of 2, of which there are two variants, by URL.
type fleetRow struct {
	version atomic.Int64
	writer  sync.Mutex

	mu    sync.Mutex
	acked []acked
}

// acked is a purge that was acknowledged.
type acked struct {
	version      int64
	began, ended time.Time
	by           int // a member, or everybody
}

const everybody = -1

type period struct{ from, to time.Time }

// doubt is a time in which a master ended. What was purged on it then may be lost:
// replication is asynchronous.
type doubt struct {
	period
	on func(row int) bool
}

// tally is what became of things of one kind since the event began.
type tally struct {
	mu          sync.Mutex
	ok, failed  int64
	first, last time.Time // that failed
	err         error
}

func (a *tally) note(ok bool, at time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ok {
		a.ok++
		return
	}
	a.failed++
	if a.first.IsZero() || at.Before(a.first) {
		a.first = at
	}
	if at.After(a.last) {
		a.last, a.err = at, err
	}
}

// take returns what became of them, and begins anew.
func (a *tally) take(since time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := fmt.Sprintf("%d well, %d failed", a.ok, a.failed)
	if a.failed > 0 {
		text += fmt.Sprintf(" from %v to %v", a.first.Sub(since).Round(time.Millisecond), a.last.Sub(since).Round(time.Millisecond))
	}
	if a.err != nil {
		text += fmt.Sprintf(" (%v)", a.err)
	}
	a.ok, a.failed, a.first, a.last, a.err = 0, 0, time.Time{}, time.Time{}, nil
	return text
}

func fleetPath(row int) string { return fmt.Sprint("/", row) }

func variantsOf(row int) int64 {
	if row%3 == 2 {
		return 2
	}
	return 1
}

func startFleet(t *testing.T, c *storetest.Cluster) *fleet {
	f := &fleet{t: t, c: c}
	f.since.Store(time.Now().UnixNano())
	for i := range f.rows {
		f.rows[i].version.Store(1)
	}
	for id := range 3 {
		m := &member{id: id, copies: id == 2}
		opts := []dragonfly.Option{dragonfly.WithLogger(slog.New(slog.DiscardHandler))}
		if m.copies {
			opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 16 << 20, MaxAge: fleetMaxAge}))
		}
		s := open(t, clusterURL(c, ""), opts...)
		if s.Near() != m.copies {
			t.Fatalf("near %v", s.Near())
		}
		m.Cache = cacheaside.Must(cacheaside.New(cacheaside.Config{
			Store: s, Logger: slog.New(slog.DiscardHandler), Observer: observe.Func(f.observe), Policy: cacheaside.Policy{TTL: time.Hour},
		}))
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		m.handler = nethttp.New(m.Cache)(http.HandlerFunc(f.origin))
		f.members = append(f.members, m)
	}
	ctx, end := context.WithCancel(context.Background())
	f.end = end
	t.Cleanup(f.stop)
	for range 6 {
		f.wg.Go(func() {
			for ctx.Err() == nil {
				f.read(f.members[rand.IntN(len(f.members))], rand.IntN(fleetRows), rand.IntN(2))
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			}
		})
	}
	for range 2 {
		f.wg.Go(func() {
			for ctx.Err() == nil {
				f.write(f.members[rand.IntN(len(f.members))], rand.IntN(fleetRows))
				time.Sleep(time.Duration(rand.IntN(40000)) * time.Microsecond)
			}
		})
	}
	return f
}

func (f *fleet) stop() {
	f.end()
	f.wg.Wait()
}

// origin is the handler: what it reads may be older than what it is purged by while it
// runs.
func (f *fleet) origin(w http.ResponseWriter, r *http.Request) {
	row, _ := strconv.Atoi(r.URL.Path[1:])
	version := f.rows[row].version.Load()
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	language := ""
	switch row % 3 {
	case 1:
		w.Header().Set("Cache-Tag", "row-"+strconv.Itoa(row))
	case 2:
		w.Header().Set("Vary", "Accept-Language")
		language = r.Header.Get("Accept-Language")
	}
	fmt.Fprintf(w, "%d %d %s", row, version, language)
}

func (f *fleet) observe(e *observe.Event) {
	switch e.Kind {
	case observe.KindRequest:
		bad := e.Cause == observe.CauseStoreError || e.Cause == observe.CauseBreaker
		f.reads.note(!bad, e.Time, nil)
		if e.Cause == observe.CauseBreaker {
			f.failed.Add(1)
		}
	case observe.KindHandler:
		f.runs.Add(1)
	case observe.KindStore:
		switch e.Outcome {
		case observe.OutcomeOK:
			f.fills.note(true, e.Time, nil)
		case observe.OutcomeRefused, observe.OutcomeTimeout, observe.OutcomeError, observe.OutcomeDropped:
			f.fills.note(false, e.Time, nil)
			f.failed.Add(1)
		default: // purged meanwhile
		}
	case observe.KindStoreCall:
		if e.Outcome != observe.OutcomeOK {
			f.failed.Add(1)
		}
	default:
	}
}

// ask sends a request, and returns the version that answers it.
func (f *fleet) ask(m *member, row, language int) (version int64, status string) {
	r := httptest.NewRequest(http.MethodGet, "http://example.com"+fleetPath(row), nil)
	r.Header.Set("Accept-Language", []string{"de", "en"}[language])
	rec := httptest.NewRecorder()
	m.handler.ServeHTTP(rec, r)
	b, _ := io.ReadAll(rec.Body)
	status = rec.Header().Get("Cache-Status")
	var got int
	var said string
	_, _ = fmt.Sscanf(string(b), "%d %d %s", &got, &version, &said)
	if rec.Code != http.StatusOK || got != row || version == 0 || row%3 == 2 && said != r.Header.Get("Accept-Language") {
		f.t.Errorf("row %d: %d %q; %s", row, rec.Code, b, status)
	}
	return version, status
}

func (f *fleet) read(m *member, row, language int) (hit bool) {
	start := time.Now()
	version, status := f.ask(m, row, language)
	end := time.Now()
	storeMax(&f.slowest, int64(end.Sub(start)))
	if hit = strings.Contains(status, "; hit"); hit {
		f.hits.Add(1)
	}
	if strings.Contains(status, "near") {
		f.near.Add(1)
	}
	f.check(m, row, version, period{start, end}, status)
	return hit
}

func storeMax(a *atomic.Int64, n int64) {
	for was := a.Load(); n > was && !a.CompareAndSwap(was, n); was = a.Load() {
	}
}

// check holds an answer to what the README promises.
func (f *fleet) check(m *member, row int, version int64, at period, status string) {
	f.mu.Lock()
	doubts, blind := f.doubts, f.blind
	f.mu.Unlock()
	for _, b := range blind {
		if at.from.Before(b.to) && at.to.After(b.from) {
			return
		}
	}
	r := &f.rows[row]
	r.mu.Lock()
	defer r.mu.Unlock()
	var behind *acked // the first purge that the answer does not know of
	for i := len(r.acked) - 1; i >= 0 && r.acked[i].version > version; i-- {
		a := &r.acked[i]
		if a.ended.After(at.from) {
			continue
		}
		if isDoubtful(doubts, row, a) {
			f.lost.Add(1)
			continue
		}
		behind = a
	}
	if behind == nil {
		return
	}
	age := at.from.Sub(behind.ended)
	if m.copies && behind.by != m.id && behind.by != everybody && age < fleetMaxAge {
		storeMax(&f.lag, int64(age))
		return
	}
	f.t.Errorf("member %d, row %d: %d, %v after a purge of what is before %d was acknowledged; %s", m.id, row, version, age, behind.version, status)
}

func isDoubtful(doubts []doubt, row int, a *acked) bool {
	for _, d := range doubts {
		if a.by != everybody && a.began.Before(d.to) && a.ended.After(d.from) && d.on(row) {
			return true
		}
	}
	return false
}

// write changes a row, and purges it.
func (f *fleet) write(m *member, row int) (done bool) {
	r := &f.rows[row]
	r.writer.Lock()
	defer r.writer.Unlock()
	a := acked{version: r.version.Add(1), began: time.Now(), by: m.id}
	f.due.Add(variantsOf(row))
	var err error
	if row%3 == 1 {
		err = m.PurgeTags(context.Background(), "row-"+strconv.Itoa(row))
	} else {
		err = m.PurgeURL(context.Background(), "http://example.com"+fleetPath(row))
	}
	a.ended = time.Now()
	f.purges.note(err == nil, a.began, err)
	if err == nil {
		r.add(a)
	}
	return err == nil
}

func (r *fleetRow) add(a acked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.acked) >= 8192 { // more than there are in fleetMaxAge
		r.acked = append([]acked(nil), r.acked[4096:]...)
	}
	r.acked = append(r.acked, a)
}

// purgeAll makes up for purges that were lost.
func (f *fleet) purgeAll() {
	f.t.Helper()
	untilDone(f.t, "a purge of everything", func() error {
		for i := range f.rows { // nobody else purges meanwhile, so that the versions stay in order
			f.rows[i].writer.Lock()
			defer f.rows[i].writer.Unlock()
		}
		a := acked{began: time.Now(), by: everybody}
		for i := range f.rows {
			f.due.Add(variantsOf(i))
		}
		if err := f.members[0].Purge(context.Background(), cacheaside.Purge{All: true}); err != nil {
			return err
		}
		a.ended = time.Now()
		for i := range f.rows {
			a.version = f.rows[i].version.Load()
			f.rows[i].add(a)
		}
		return nil
	})
}

// during begins the account of an event, has it happen, and waits until all is well.
func (f *fleet) during(what string, event func()) {
	f.t.Helper()
	f.reset()
	event()
	over := time.Since(time.Unix(0, f.since.Load()))
	f.well(what)
	since := time.Unix(0, f.since.Load())
	f.t.Logf("%s (took %v): well after %v\n\trequests: %s\n\tfills: %s\n\tpurges: %s\n\t%d hits (%d near), slowest %v; %d runs of the handler, %d of them due, %d calls failed; copies behind by %v at most; %d reads of what a lost purge was of",
		what, over.Round(time.Millisecond), time.Since(since).Round(time.Millisecond),
		f.reads.take(since), f.fills.take(since), f.purges.take(since),
		f.hits.Load(), f.near.Load(), time.Duration(f.slowest.Load()).Round(time.Millisecond),
		f.runs.Load(), f.due.Load(), f.failed.Load(), time.Duration(f.lag.Load()).Round(time.Microsecond), f.lost.Load())
	f.bounded(what)
}

func (f *fleet) reset() {
	now := time.Now()
	f.since.Store(now.UnixNano())
	for _, a := range []*tally{&f.reads, &f.fills, &f.purges} {
		a.take(now)
	}
	for _, n := range []*atomic.Int64{&f.runs, &f.failed, &f.hits, &f.near, &f.slowest, &f.lag, &f.lost} {
		n.Store(0)
	}
	f.due.Store(0)
	for i := range f.rows { // what was purged a moment ago
		f.due.Add(2 * variantsOf(i))
	}
}

// well waits until every row is a hit for every process, every way to purge works, and
// nobody leaves the store alone.
func (f *fleet) well(what string) {
	f.t.Helper()
	for _, m := range f.members {
		for row := range f.rows {
			for language := range variantsOf(row) {
				until(f.t, fmt.Sprintf("a hit on row %d after %s", row, what), func() bool { return f.read(m, row, int(language)) })
			}
		}
		for row := range 3 {
			until(f.t, "a purge after "+what, func() bool { return f.write(m, row) })
		}
		until(f.t, "the breaker after "+what, func() bool { return !m.BreakerOpen() })
	}
}

// bounded requires that the handler has run no more than once for what a purge has
// removed, and each time that the store failed.
func (f *fleet) bounded(what string) {
	if runs, due := f.runs.Load(), f.due.Load()+f.failed.Load(); runs > due {
		f.t.Errorf("%s: the handler has run %d times: no more than %d are due", what, runs, due)
	}
}

// doubtful lets what was purged on a node since from be lost, up to now.
func (f *fleet) doubtful(from time.Time, has func(key string) bool) {
	tags := has(ofTags)
	var on [fleetRows]bool
	for row := range on {
		on[row] = tags && row%3 != 0 || row%3 != 1 && has(entryKey(fleetPath(row)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubts = append(slices.Clone(f.doubts), doubt{period{from, time.Now()}, func(row int) bool { return on[row] }})
}

// setBlind says when reads are not checked.
func (f *fleet) setBlind(periods []period) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blind = periods
}

// TestClusterLoad: whatever becomes of the nodes, no client gets an error; none gets what
// was purged, but for purges that were lost with a node, which the README describes; and
// all is well afterwards.
func TestClusterLoad(t *testing.T) {
	t.Parallel()
	c := storetest.StartCluster(t)
	f := startFleet(t, c)
	f.well("the start")
	f.during("nothing", func() {
		until(t, "some reads", func() bool { return f.hits.Load() > 1000 })
	})
	f.migrate("the stamps", ofTags)
	for row := range 3 {
		f.migrate(fmt.Sprint("row ", row), entryKey(fleetPath(row)))
	}
	f.handOver("the stamps", ofTags)
	f.hang("the stamps", ofTags)
	if os.Getenv("CACHEASIDE_OUTAGES") == "1" { // two minutes more
		f.outages()
	}
	f.stop()
	for _, m := range f.members {
		if s := m.Stats(); s.Waiting != 0 {
			t.Errorf("%d requests wait although all are answered", s.Waiting)
		}
	}
}

// migrate moves a slot, key by key, with load on.
func (f *fleet) migrate(what, key string) {
	f.during("moving the slot of "+what, func() {
		from := f.c.Master(key)
		f.c.MigrateByKey(f.c.Slot(key), from, f.c.OtherMaster(from), func() {
			before := f.hits.Load() + f.runs.Load()
			until(f.t, "requests while a slot moves", func() bool { return f.hits.Load()+f.runs.Load() > before+20 })
		})
	})
}

// handOver is a planned failover.
func (f *fleet) handOver(what, key string) {
	f.during("handing "+what+" over to a replica", func() {
		f.c.Failover(f.c.Replica(f.c.Master(key)))
	})
	f.c.Settled()
}

// hang stops a node for less than cluster-node-timeout.
func (f *fleet) hang(what, key string) {
	f.during("a short stop of the node with "+what, func() {
		node := f.c.Master(key)
		node.Pause()
		time.Sleep(700 * time.Millisecond)
		node.Resume()
	})
	f.c.Settled()
}

// outages are what takes as long as the nodes need to give another one up.
func (f *fleet) outages() {
	row := 0 // of which the entry is not where the stamps are
	for tags := f.c.Has(f.c.Master(ofTags)); tags(entryKey(fleetPath(row))); {
		row++
	}
	entry := entryKey(fleetPath(row))
	f.restart("the stamps", ofTags)
	f.crash("the stamps", ofTags)
	f.crash("some responses", entry)
	for _, p := range f.c.Nodes {
		f.c.Must(p, "CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	f.crash("some responses, others answering meanwhile", entry)
	f.pause("some responses", entry)
	f.pause("the stamps", ofTags)
}

// crash ends a node for good. It comes back empty, as a replica.
func (f *fleet) crash(what, key string) {
	node := f.c.Master(key)
	replica := f.c.Replica(node)
	f.during("the end of the node with "+what, func() {
		has := f.c.Has(node)
		from := time.Now()
		f.c.CaughtUp(node)
		node.Kill()
		f.doubtful(from, has)
		f.c.Until("the replica is the master", func() bool { return f.c.Master(key) == replica })
	})
	f.during("a purge of everything after it", f.purgeAll)
	node.Start()
	f.c.Settled()
	f.well("its return")
}

// restart ends a node that comes back at once, empty, before the others miss it.
func (f *fleet) restart(what, key string) {
	f.during("a restart of the node with "+what, func() {
		node := f.c.Master(key)
		has := f.c.Has(node)
		from := time.Now()
		node.Kill()
		node.Start()
		if time.Since(from) > time.Second { // perhaps its replica has taken over
			f.doubtful(from, has)
		}
	})
	f.c.Settled()
}

// pause stops a node until its replica has taken over.
func (f *fleet) pause(what, key string) {
	node := f.c.Master(key)
	replica := f.c.Replica(node)
	has := f.c.Has(node)
	f.during("a long stop of the node with "+what, func() {
		from := time.Now()
		f.c.CaughtUp(node)
		node.Pause()
		f.doubtful(from, has)
		f.c.Until("the replica is the master", func() bool { return f.c.IsMaster(replica) })
	})
	f.during("its return", func() {
		// It takes itself for the master until it hears of the other one.
		from := time.Now()
		was := f.blind
		f.setBlind(append(slices.Clone(was), period{from, from.Add(time.Hour)}))
		node.Resume()
		f.c.Until("it follows the other one", func() bool { return f.c.IsReplica(node) })
		f.doubtful(from, has)
		f.setBlind(append(slices.Clone(was), period{from, time.Now().Add(journalUse)}))
	})
	f.during("a purge of everything after it", f.purgeAll)
	f.c.Settled()
}
