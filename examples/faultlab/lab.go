package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/faultproxy"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

const (
	rows    = 100
	ttl     = time.Second
	clients = 8 // of each framework
	pause   = 20 * time.Millisecond
	// patience is what a request may take beyond its handler, with the default
	// LookupTimeout: more is an error.
	patience = 500 * time.Millisecond
	// late is how much beyond its lifetime a response may be before it counts as
	// wrong: what the machine's load may add to a handler's run.
	late = 500 * time.Millisecond
)

type lab struct {
	length  time.Duration
	seed    uint64
	near    int
	only    *regexp.Regexp
	verbose bool
	// lookup is Timeouts.Lookup; zero: the default. A busy machine needs more,
	// or it is never seen what happens when all is well.
	lookup time.Duration
	lent   *lent // nil: every server is the lab's own
}

// patience is what a request may take beyond its handler: it may wait for a few
// look-ups in vain.
func (l *lab) patience() time.Duration {
	return patience + 5*max(0, l.lookup-(50*time.Millisecond))
}

// result is that of one fault in one framework.
type result struct {
	fault, framework string
	requests, hits   int64
	wrong, errors    int64
	caused           int64           // errors of the handler's own that clients have seen
	times, bare      []time.Duration // with the cache, and without
	recovered        time.Duration   // from the end of the fault until the first hit; negative: never
	what             []string        // was wrong
}

func (r *result) ok() bool { return r.wrong == 0 && r.errors == 0 && r.recovered >= 0 }

// run tells report the results of each fault, and whether all went well.
func (l *lab) run(ctx context.Context, report func([]*result)) (ok bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go stalls.watch(ctx)
	dir, err := os.MkdirTemp("", "cacheaside-faultlab-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ok = true
	if l.only == nil || l.only.MatchString(narrowLink) {
		results, err := l.link(ctx, dir)
		if err != nil {
			return false, fmt.Errorf("%s: %w", narrowLink, err)
		}
		for _, r := range results {
			ok = ok && r.ok()
		}
		if !l.verbose {
			results = []*result{sum(results)}
		}
		report(results)
	}
	for i, f := range faults() {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if l.only != nil && !l.only.MatchString(f.name) {
			continue
		}
		results, err := l.try(ctx, f, dir, rand.New(rand.NewPCG(l.seed, uint64(i))))
		var missing *servers.MissingError
		if l.hasServer() && errors.As(err, &missing) {
			_, _ = fmt.Fprintf(os.Stderr, "faultlab: %s: left out: %v\n", f.name, missing)
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", f.name, err)
		}
		for _, r := range results {
			ok = ok && r.ok()
		}
		if !l.verbose {
			results = []*result{sum(results)}
		}
		report(results)
	}
	return ok, nil
}

// try puts one fault upon services of their own, one in each framework.
func (l *lab) try(ctx context.Context, f fault, dir string, rng *rand.Rand) (results []*result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &world{dir: dir, data: newDatabase(rows), rng: rng}
	if w.server, err = l.store(ctx, dir, f.breaks, f.opts...); err != nil {
		return nil, err
	}
	defer w.server.Kill()
	if w.proxy, err = faultproxy.New(ctx, w.server.Addr); err != nil {
		return nil, err
	}
	defer w.proxy.Close()
	if err = w.connect(ctx); err != nil {
		return nil, err
	}
	defer w.admin.Close()
	var loads []*load
	for _, framework := range frameworks {
		with, err := l.start(ctx, f, w.proxy.Addr(), w.data, framework)
		if err != nil {
			return nil, err
		}
		defer with.stop()
		loads = append(loads, with)
	}
	// First what it is without a cache.
	if f.handler {
		if err := f.begin(ctx, w); err != nil {
			return nil, err
		}
	}
	each(loads, func(l *load, seed uint64) { l.ask(ctx, l.bare, phaseBare, seed) }, rng, max(l.length/2, 300*time.Millisecond))
	if f.handler {
		if err := f.end(ctx, w); err != nil {
			return nil, err
		}
	}

	ended, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, one := range loads {
		seed := rng.Uint64()
		all.Go(func() { one.ask(ended, one.cached, phaseOther, seed) })
	}
	writers := rng.Uint64()
	all.Go(func() { write(ended, w.data, loads, writers) })
	defer all.Wait()
	defer end()
	for _, one := range loads {
		if err := one.warm(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.begin(ctx, w); err != nil {
		return nil, fmt.Errorf("beginning: %w", err)
	}
	set(loads, phaseFault)
	for n := 0; n == 0 || n < 20 && !answered(loads); n++ { // a busy machine may need more time
		if err := f.last(ctx, w, l.length); err != nil {
			return nil, err
		}
	}
	set(loads, phaseOther)
	if err := f.end(ctx, w); err != nil {
		return nil, fmt.Errorf("ending: %w", err)
	}
	over := time.Now()
	for _, one := range loads {
		results = append(results, one.result(ctx, over))
	}
	return results, nil
}

// answered reports whether every service has answered while the fault lasted.
func answered(loads []*load) bool {
	for _, one := range loads {
		one.mu.Lock()
		n := one.r.requests
		one.mu.Unlock()
		if n == 0 {
			return false
		}
	}
	return true
}

// last lets the fault last for d.
func (f *fault) last(ctx context.Context, w *world, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for f.during != nil && ctx.Err() == nil {
		if err := f.during(context.WithoutCancel(ctx), w); err != nil {
			return err
		}
	}
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return ctx.Err()
}

func set(loads []*load, phase int32) {
	for _, l := range loads {
		l.phase.Store(phase)
	}
}

// start starts a service twice: with a cache and without.
func (l *lab) start(ctx context.Context, f fault, addr string, data *database, framework string) (*load, error) {
	quiet := slog.New(slog.DiscardHandler)
	opts := []dragonfly.Option{dragonfly.WithLogger(quiet)}
	if l.near > 0 {
		opts = append(opts, dragonfly.WithNear(dragonfly.NearOptions{Bytes: int64(l.near)}))
	}
	store, err := server.Patiently(ctx, func() (*dragonfly.Store, error) { return dragonfly.Open(ctx, addr, opts...) })
	if err != nil {
		return nil, err
	}
	cfg := cacheaside.Config{Store: store, Namespace: framework, Logger: quiet, Timeouts: cacheaside.Timeouts{Lookup: l.lookup}, Policy: cacheaside.Policy{TTL: ttl, Storing: cacheaside.StoringPolicy{GenerateETag: true}}}
	if l.lookup > (250 * time.Millisecond) {
		cfg.Timeouts.Write = l.lookup
	}
	f.policy(&cfg)
	cache, err := cacheaside.New(cfg)
	if err != nil {
		return nil, err
	}
	out := &load{fault: &f, patience: l.patience(), framework: framework, data: data, cache: cache, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true},
		Timeout:   10 * time.Second,
	}}
	var stops []func()
	for c, base := range map[*cacheaside.Cache]*string{nil: &out.bare, cache: &out.cached} {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		serve, stop := service(framework, data, c)
		go func() { _ = serve(ln) }()
		stops = append(stops, stop)
		*base = "http://" + ln.Addr().String() + "/"
	}
	out.stop = func() {
		out.client.CloseIdleConnections()
		for _, stop := range stops {
			stop()
		}
		closing, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = cache.Close(closing)
		_ = store.Close()
	}
	return out, nil
}

// load is what the clients of one service see.
type load struct {
	fault        *fault
	patience     time.Duration
	framework    string
	data         *database
	cache        *cacheaside.Cache
	client       *http.Client
	cached, bare string // URLs
	stop         func()
	phase        atomic.Int32
	mu           sync.Mutex
	r            result
	lastHit      atomic.Int64 // when the request of the latest hit began
}

const (
	phaseOther int32 = iota
	phaseBare
	phaseFault
)

// each runs f for all loads at once, each with a seed of its own; their phase is
// phaseBare for d.
func each(loads []*load, f func(l *load, seed uint64), rng *rand.Rand, d time.Duration) {
	var all sync.WaitGroup
	for _, l := range loads {
		seed := rng.Uint64()
		l.phase.Store(phaseBare)
		stop := time.AfterFunc(d, func() { l.phase.Store(phaseOther) })
		all.Go(func() { defer stop.Stop(); f(l, seed) })
	}
	all.Wait()
}

// warm asks for every row until it is stored.
func (l *load) warm(ctx context.Context) error {
	var all sync.WaitGroup
	var failed atomic.Int64
	for k := range clients {
		all.Go(func() {
			for n := k; n < rows; n += clients {
				stored := false
				// As long as a circuit breaker may take, on a busy machine, to close.
				for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(time.Millisecond) {
					code, header, _, err := l.get(ctx, l.cached, n)
					if err != nil || code != http.StatusOK {
						failed.Add(1)
						break
					}
					if stored = strings.Contains(header.Get("Cache-Status"), "; hit"); stored {
						break
					}
				}
				if !stored {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%s: %d rows cannot be cached before there is any fault", l.framework, n)
	}
	return nil
}

// ask has clients ask until ctx ends or, for phaseBare, the phase does.
func (l *load) ask(ctx context.Context, base string, phase int32, seed uint64) {
	var all sync.WaitGroup
	for k := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(k)))
		popular := rand.NewZipf(rng, 1.2, 5, rows-1)
		all.Go(func() {
			for ctx.Err() == nil {
				if phase == phaseBare && l.phase.Load() != phaseBare {
					return
				}
				l.one(ctx, base, int(popular.Uint64()), base == l.bare)
				time.Sleep(time.Duration(rng.Int64N(int64(2 * pause))))
			}
		})
	}
	all.Wait()
}

func (l *load) get(ctx context.Context, base string, n int) (code int, header http.Header, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(base, n), http.NoBody)
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// one asks once, and judges the answer.
func (l *load) one(ctx context.Context, base string, n int, bare bool) {
	row := &l.data.rows[n]
	promised, phase, began, stalled := row.promised.Load(), l.phase.Load(), time.Now(), stalls.total.Load()
	code, header, body, err := l.get(context.WithoutCancel(ctx), base, n)
	took := time.Since(began)
	if bare {
		l.mu.Lock()
		l.r.bare = append(l.r.bare, took)
		l.mu.Unlock()
		return
	}
	status := strings.Join(header.Values("Cache-Status"), ", ")
	hit := strings.Contains(status, "; hit")
	var wrong, trouble string
	byHandler := l.fault.handler && (code == http.StatusServiceUnavailable || code == http.StatusInternalServerError)
	switch version, ok := parseBody(n, body); {
	case err != nil:
		trouble = err.Error()
	case byHandler && l.fault.stale:
		trouble = "an error, although there was a stale copy"
	case byHandler:
	case code != http.StatusOK:
		trouble = http.StatusText(code)
	case !ok:
		wrong = fmt.Sprintf("the body begins with %.40q", body)
	case version < promised:
		wrong = fmt.Sprintf("version %d, when %d was purged", version, promised)
	case !l.fault.stale && row.expired(version, began, stalled):
		wrong = fmt.Sprintf("version %d, long after there was a newer one", version)
	case took-stalls.since(stalled) > handlerTime+l.fault.slow+l.patience:
		trouble = "it took " + took.Round(time.Millisecond).String()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if hit {
		l.lastHit.Store(began.UnixNano())
	}
	if phase == phaseFault {
		l.r.requests++
		l.r.times = append(l.r.times, took)
		if hit {
			l.r.hits++
		}
		if byHandler && !l.fault.stale {
			l.r.caused++
		}
	}
	// What is wrong counts at any time.
	if wrong != "" {
		l.r.wrong++
	}
	if trouble != "" {
		l.r.errors++
	}
	if wrong+trouble != "" && len(l.r.what) < 5 {
		l.r.what = append(l.r.what, fmt.Sprintf("%s /%d: %s%s (%d; %s)", l.framework, n, wrong, trouble, code, status))
	}
}

// expired reports whether the row had a newer version for longer, at began, than
// version may be served. Stalled is stalls.total at that time.
func (r *row) expired(version int64, began time.Time, stalled int64) bool {
	next := version + 1
	if r.version.Load() < next || r.version.Load() >= next+int64(len(r.changed)) {
		return false // the newest; or too old to know
	}
	at := next % int64(len(r.changed))
	stood := max(0, stalled-r.stalled[at].Load()) // which the handler may have done between reading and answering
	return began.UnixNano()-r.changed[at].Load()-stood > int64(ttl+late)
}

// write changes rows. Most changes are not told to anybody: then the lifetime of
// responses counts. Some are purged, in all services; if all acknowledge, nobody
// may see an older one any more.
func write(ctx context.Context, d *database, loads []*load, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		n := rng.IntN(len(d.rows))
		r := &d.rows[n]
		v := r.next()
		if rng.IntN(3) > 0 {
			continue
		}
		var refused atomic.Bool
		var all sync.WaitGroup
		for _, l := range loads {
			all.Go(func() {
				if l.fault.stale { // what takes the place of errors is to stay
					refused.Store(true)
					_ = l.cache.Purge(ctx, cacheaside.Purge{Tags: []string{tagOf(n)}, Soft: true})
				} else if l.cache.PurgeTags(ctx, tagOf(n)) != nil {
					refused.Store(true)
				}
			})
		}
		all.Wait()
		if !refused.Load() {
			r.promised.Store(v)
		}
	}
}

// result waits until there are hits again.
func (l *load) result(ctx context.Context, over time.Time) *result {
	recovered := time.Duration(-1)
	for ctx.Err() == nil && time.Since(over) < time.Minute {
		if at := l.lastHit.Load(); at > over.UnixNano() {
			recovered = time.Duration(at - over.UnixNano())
			break
		}
		time.Sleep(time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.r
	r.fault, r.framework, r.recovered = l.fault.name, l.framework, recovered
	return &r
}

// sum is all frameworks together.
func sum(results []*result) *result {
	all := &result{fault: results[0].fault, framework: "all"}
	for _, r := range results {
		all.requests += r.requests
		all.hits += r.hits
		all.wrong += r.wrong
		all.errors += r.errors
		all.caused += r.caused
		all.times = append(all.times, r.times...)
		all.bare = append(all.bare, r.bare...)
		all.what = append(all.what, r.what...)
		if r.recovered < 0 || all.recovered < 0 {
			all.recovered = -1
		} else {
			all.recovered = max(all.recovered, r.recovered)
		}
	}
	return all
}
