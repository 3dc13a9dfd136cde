package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// A warm-up sends requests through the service's own router, like clients. What the handle
// that they come to has found, and what became of the write, it says itself: a response
// may claim anything, and says "stored" before the store has answered.

// Warmup asks a service for what its cache is to have before clients want it. The zero
// values of all fields but Entry are good.
type Warmup struct {
	// Entry is the way into the service, which the adapter has: fiberadapter.Entry(app),
	// ginadapter.Entry(engine), echoadapter.Entry(e), chiadapter.Entry(router) or
	// nethttp.Entry(handler).
	Entry adapter.Entry
	// Concurrency is how many requests are under way at a time, 1024 at most. Zero: 4.
	Concurrency int
	// Timeout bounds each request, its write included. Zero: 30 s.
	Timeout time.Duration
	// Progress, if not nil, is called after each request, by the goroutine that has
	// called Run.
	Progress func(WarmProgress)
}

// WarmProgress is how far a warm-up has come.
type WarmProgress struct {
	Done, Total int        // requests
	Last        WarmResult // of the request that has just ended
}

// WarmReport is what a warm-up has brought about.
type WarmReport struct {
	// How many requests have had which outcome.
	Stored, Present, NotStored, Failed, NotRun int
	// Results are those of the requests, in their order.
	Results []WarmResult
}

// WarmResult is what became of one request.
type WarmResult struct {
	URL     string // of the request, whole
	Outcome WarmOutcome
	Status  int    // of the response; 0: there was none
	Reason  string // why it is not stored, as the detail of Cache-Status says it, or in words
	Err     error  // why it has failed, or was not run
}

// WarmOutcome is what a warm-up finds of a request when it is over.
type WarmOutcome uint8

// What became of a request of a warm-up.
const (
	// WarmNotRun: the warm-up was over before it was its turn.
	WarmNotRun WarmOutcome = iota
	// WarmStored: the store has acknowledged the response.
	WarmStored
	// WarmPresent: it was there already.
	WarmPresent
	// WarmNotStored: the service has answered, and its response may not be stored.
	WarmNotStored
	// WarmFailed: the handler has failed, panicked or not answered in time, or the store
	// has failed.
	WarmFailed
)

// String is "stored", "present", "not-stored", "failed" or "not-run".
func (o WarmOutcome) String() string {
	return [...]string{"not-run", "stored", "present", "not-stored", "failed"}[min(o, WarmFailed)]
}

const (
	defaultWarmers     = 4
	maxWarmers         = 1024
	defaultWarmTimeout = 30 * time.Second
	maxWarmErrors      = 100 // in the error of a warm-up; the report has all
	maxWarmURL         = 200 // bytes of a URL there
)

// Warm has the cache ready for requests: it sends them into the service by its entry, as
// their clients would, and returns when what they bring is in the store. See [Warmup],
// which has more to set, for what entry is, and [Warmup.Run] for all else.
func (c *Cache) Warm(ctx context.Context, entry adapter.Entry, requests ...*http.Request) (WarmReport, error) {
	return Warmup{Entry: entry}.Run(ctx, c, requests...)
}

// Run sends the requests through all middleware and handlers in front of c, or of any
// handle of the same cache. They are requests like any other: what is fresh already is a
// hit and no handler runs for it; policies, coalescing, rate limits and access control
// hold. They need a URL with a host (http://localhost:8080/users/1), or a path alone and
// Request.Host: scheme and host are part of the key, so name them as clients do, and as
// they arrive at the service, which behind a proxy for TLS is http. They are GETs
// without a body; their header is sent, and they have no context but one that ends with
// ctx, or after Timeout.
//
// If anything is wrong with the requests, or with w, none is run. Otherwise the report
// has what became of each, and the error joins what has failed or was not run, 100 of
// them at most, with their URLs. That a response may not be stored is no error. A panic
// of a handler is one, and goes no further. When ctx ends, or more handlers than
// Concurrency go on after their time, what has not begun is not run.
func (w Warmup) Run(ctx context.Context, c *Cache, requests ...*http.Request) (WarmReport, error) {
	asks, err := w.check(c, requests)
	if err != nil {
		return WarmReport{}, err
	}
	// Not in the context of who asks: that may be a request that the cache serves.
	own, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if ctx.Err() != nil {
		cancel(context.Cause(ctx))
	}
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	r := &warmer{Warmup: w, cache: c.shared, asks: asks, ctx: own, stop: cancel}
	report := r.run()
	for i := range report.Results {
		report.count(&report.Results[i])
	}
	return report, report.err(context.Cause(own))
}

// check fills in the defaults and says all that is wrong.
func (w *Warmup) check(c *Cache, requests []*http.Request) ([]warmAsk, error) {
	wrong := &problems{prefix: "Warmup."}
	if w.Entry == nil {
		wrong.add("Entry", "nil: use that of the adapter, such as nethttp.Entry(handler) or fiberadapter.Entry(app)")
	}
	if w.Concurrency == 0 {
		w.Concurrency = defaultWarmers
	}
	if w.Concurrency < 0 || w.Concurrency > maxWarmers {
		wrong.add("Concurrency", "%d: use 1 to %d, or 0 for %d", w.Concurrency, maxWarmers, defaultWarmers)
	}
	wrong.duration("Timeout", &w.Timeout, defaultWarmTimeout)
	switch {
	case c == nil:
		wrong.errs = append(wrong.errs, errors.New("cacheaside: Warmup.Run: the cache is nil: make one with cacheaside.New"))
	case c.closed.Load():
		wrong.errs = append(wrong.errs, errors.New("cacheaside: Warmup.Run: the cache is closed: warm it up before Close"))
	}
	asks := make([]warmAsk, len(requests))
	for i, r := range requests {
		var err error
		if asks[i], err = newWarmAsk(r); err == nil {
			continue
		}
		if wrong.add(fmt.Sprintf("Run: request %d", i), "%v", err); len(wrong.errs) == maxWarmErrors {
			break
		}
	}
	return asks, wrong.err()
}

// warmAsk is one request that is to be sent.
type warmAsk struct {
	target url.URL
	header http.Header
}

// newWarmAsk is r as it is sent. The error says what to do about it.
func newWarmAsk(r *http.Request) (a warmAsk, err error) {
	switch {
	case r == nil:
		return a, errors.New("it is nil: make it with http.NewRequest")
	case r.URL == nil:
		return a, errors.New("it has no URL: make it with http.NewRequest")
	}
	a.target = *r.URL
	a.target.Fragment, a.target.RawFragment, a.target.Scheme = "", "", strings.ToLower(r.URL.Scheme)
	named := clipped(r.URL.Redacted())
	if a.target.Scheme == "" {
		a.target.Scheme = "http"
	}
	if a.target.Path == "" {
		a.target.Path, a.target.RawPath = "/", ""
	}
	if r.Host != "" { // as for an http.Client
		a.target.Host = r.Host
	}
	sent := a.target.RequestURI()
	switch {
	case r.Method != "" && r.Method != http.MethodGet:
		return a, fmt.Errorf("%.20s %s: use GET: it brings what the others are answered from", r.Method, named)
	case r.Body != nil && r.Body != http.NoBody, r.ContentLength > 0:
		return a, fmt.Errorf("%s has a body: leave it out", named)
	case a.target.Scheme != "http" && a.target.Scheme != "https", a.target.Opaque != "", !strings.HasPrefix(sent, "/"):
		return a, fmt.Errorf("%q is no URL of a resource: use one like http://localhost:8080/path", named)
	case a.target.User != nil:
		return a, fmt.Errorf("%s has a user: leave it out, or set the field Authorization", named)
	case a.target.Host == "":
		return a, fmt.Errorf("%q has no host, which is part of the key: use a URL like http://localhost:8080/path, or set Request.Host", named)
	case !validHost(a.target.Host):
		return a, fmt.Errorf("%s: %.80q is no host: use one like localhost:8080", named, a.target.Host)
	case strings.ContainsFunc(sent, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return a, fmt.Errorf("%q has a space or a control character: escape it", named)
	}
	if a.header, err = sentHeader(r.Header); err != nil {
		return a, fmt.Errorf("%s: %w", named, err)
	}
	return a, nil
}

// sentHeader is h as it is sent.
func sentHeader(h http.Header) (http.Header, error) {
	h = h.Clone()
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer"} { // as an http.Client does
		h.Del(name)
	}
	for name, values := range h {
		for _, value := range values {
			if !entry.ValidField(name, value) {
				return nil, fmt.Errorf("the field %.40q cannot be sent: take out what is no name, or the line breaks", name)
			}
		}
	}
	return h, nil
}

// validHost reports whether s can be a Host field (RFC 9110 section 7.2).
func validHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		case !strings.ContainsRune("-._~!$&'()*+,;=%:[]", rune(c)):
			return false
		}
	}
	return s != ""
}

// clipped is s, or its beginning.
func clipped(s string) string {
	if len(s) > maxWarmURL {
		return s[:maxWarmURL] + "…"
	}
	return s
}

// count counts the outcome of one request.
func (r *WarmReport) count(of *WarmResult) {
	switch of.Outcome {
	case WarmStored:
		r.Stored++
	case WarmPresent:
		r.Present++
	case WarmNotStored:
		r.NotStored++
	case WarmFailed:
		r.Failed++
	default:
		r.NotRun++
	}
}

// err joins what has failed, and says what was not run, and why.
func (r *WarmReport) err(cause error) error {
	var errs []error
	for i := range r.Results {
		of := &r.Results[i]
		if of.Outcome != WarmFailed {
			continue
		}
		if len(errs) == maxWarmErrors {
			errs = append(errs, fmt.Errorf("cacheaside: Warm: and %d more have failed", r.Failed-maxWarmErrors))
			break
		}
		errs = append(errs, fmt.Errorf("cacheaside: Warm: %s: %w", clipped(of.URL), of.Err))
	}
	if r.NotRun > 0 {
		errs = append(errs, fmt.Errorf("cacheaside: Warm: %d of %d requests were not run: %w", r.NotRun, len(r.Results), cause))
	}
	return errors.Join(errs...)
}

// warmer is one call of Run.
type warmer struct {
	Warmup
	cache *shared
	asks  []warmAsk
	ctx   context.Context //nolint:containedctx // of all requests
	stop  context.CancelCauseFunc
	next  atomic.Int64
	hung  atomic.Int64 // handlers that go on though their time is over
}

// errWarmHung ends a warm-up.
var errWarmHung = errors.New("too many handlers go on after Warmup.Timeout")

// run runs the requests, and returns the results in their order.
func (w *warmer) run() WarmReport {
	type done struct {
		i int
		WarmResult
	}
	results, over := make(chan done), make(chan struct{})
	defer close(over) // also where Progress panics
	var workers sync.WaitGroup
	for range min(w.Concurrency, len(w.asks)) {
		workers.Go(func() {
			for w.ctx.Err() == nil {
				i := int(w.next.Add(1)) - 1
				if i >= len(w.asks) {
					return
				}
				select {
				case results <- done{i, w.warm(&w.asks[i])}:
				case <-over:
					return
				}
			}
		})
	}
	go func() {
		workers.Wait()
		close(results)
	}()
	report := WarmReport{Results: make([]WarmResult, len(w.asks))}
	for i := range w.asks {
		report.Results[i] = WarmResult{URL: w.asks[i].target.String()}
	}
	n := 0
	for d := range results {
		d.URL = report.Results[d.i].URL
		report.Results[d.i] = d.WarmResult
		if n++; w.Progress != nil {
			w.Progress(WarmProgress{Done: n, Total: len(w.asks), Last: d.WarmResult})
		}
	}
	for i := range report.Results {
		if r := &report.Results[i]; r.Outcome == WarmNotRun {
			r.Err = context.Cause(w.ctx)
		}
	}
	return report
}

// warm sends one request. What another request has got for it is looked for once more: of
// that nobody has said whether the store has taken it.
func (w *warmer) warm(a *warmAsk) (r WarmResult) {
	for range 3 {
		x := newWarming(w.cache)
		if r = w.send(a, x); !x.collapsed() {
			break
		}
	}
	return r
}

// send sends one request, and waits for what it brings about for as long as it may.
func (w *warmer) send(a *warmAsk, x *warming) WarmResult {
	ctx, cancel := context.WithTimeout(w.ctx, w.Timeout)
	defer cancel()
	go func() {
		defer x.end("")
		x.send(ctx, w.Entry, a)
		if x.late.Load() {
			w.hung.Add(-1)
		}
	}()
	select {
	case <-x.settled:
	case <-ctx.Done():
		grace := time.NewTimer(hungAfter + w.cache.cfg.Timeouts.Write) // a write under way has its own end
		defer grace.Stop()
		select {
		case <-x.settled:
		case <-grace.C:
			if x.hangs() && w.hung.Add(1) > int64(w.Concurrency) {
				w.stop(errWarmHung)
			}
		}
	}
	return x.result(ctx)
}

// warming is what the engine tells of one request of a warm-up. It comes to the cache like
// a rerun, but is a request like any other to it.
type warming struct {
	cache   *shared
	settled chan struct{} // closed when nothing is open
	late    atomic.Bool   // nobody waits for the handler any more

	mu       sync.Mutex
	open     int // the request itself, bodies to come and writes
	returned bool
	status   int
	failure  error // what has ended the handler

	came   bool // to a handle of the cache
	how    observe.Result
	stood  observe.Stale
	failed int    // the status with which the handler has, where something stale has answered
	reason string // why it was not stored

	wrote    bool
	writeErr error
}

func newWarming(c *shared) *warming {
	return &warming{cache: c, settled: make(chan struct{}), open: 1}
}

// send sends the request. However the handler ends, that is noted.
func (x *warming) send(ctx context.Context, entry adapter.Entry, a *warmAsk) {
	rerun := adapter.NewRerun(x)
	status, returned := 0, false
	defer func() {
		p := recover()
		x.mu.Lock()
		defer x.mu.Unlock()
		switch x.returned, x.status = true, status; {
		case p == http.ErrAbortHandler: //nolint:errorlint // it is the value that is panicked with
			x.failure = errors.New("the handler has aborted the response")
		case p != nil:
			x.cache.panicked(p)
			x.failure = fmt.Errorf("the handler panicked: %.200q", fmt.Sprint(p))
		case !returned:
			x.failure = errors.New("the handler has ended its goroutine")
		}
	}()
	target := a.target
	status, _ = entry(ctx, http.MethodGet, &target, a.header.Clone(), &rerun)
	returned = true
}

// begin says that something goes on, of which end tells. Both may be called on nil.
func (x *warming) begin() {
	if x == nil {
		return
	}
	x.mu.Lock()
	x.open++
	x.mu.Unlock()
}

// end says that something has ended, and why nothing is stored because of it.
func (x *warming) end(reason string) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if reason != "" {
		x.reason = strings.Clone(reason)
	}
	if x.open--; x.open == 0 {
		close(x.settled)
	}
}

// written says how a write has ended.
func (x *warming) written(err error) {
	if x == nil {
		return
	}
	x.mu.Lock()
	x.wrote, x.writeErr = true, err
	x.mu.Unlock()
	x.end("")
}

// hangs reports whether the handler has not returned, whom then nobody waits for.
func (x *warming) hangs() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.returned {
		return false
	}
	x.late.Store(true)
	return true
}

// collapsed reports whether another request's response has answered.
func (x *warming) collapsed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.how == observe.ResultCollapsed && x.failure == nil
}

// meet has v, a visit to whatever handle, go on like any other. Those of the cache tell x
// of it.
func (x *warming) meet(v *visit) {
	v.req.Rerun = nil
	if x.cache != v.c.shared {
		return
	}
	v.warming = x
	v.accountable()
}

// visited takes what v has found out, when it is over. A handle further out leaves that to
// the one that has dealt with it.
func (x *warming) visited(v *visit) {
	if v.furtherIn() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.came, x.how, x.stood, x.failed = true, v.result, v.stood, v.failure
	if reason := v.unstored + v.bypassed; reason != "" {
		x.reason = strings.Clone(reason)
	}
}

// result is what became of the request. Ctx was its own.
func (x *warming) result(ctx context.Context) (r WarmResult) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r.Status = x.status
	failed := func(format string, args ...any) {
		r.Outcome, r.Err = WarmFailed, fmt.Errorf(format, args...)
	}
	because := ""
	if x.reason != "" {
		because = ", and is not stored: " + x.reason
	}
	switch {
	case !x.returned:
		failed("the handler has not returned: %w", context.Cause(ctx))
	case x.failure != nil:
		r.Outcome, r.Err = WarmFailed, x.failure
	case x.wrote:
		x.writeResult(&r)
	case x.open > 0:
		failed("its write has not ended: %w", context.Cause(ctx))
	case x.stood == observe.StaleIfError && x.how == observe.ResultStale:
		failed("the handler has failed (status %d); what is stored is stale, and stays", x.failed)
	case x.how == observe.ResultHit, x.how == observe.ResultStale:
		r.Outcome = WarmPresent
	case ctx.Err() != nil:
		failed("it took too long: %w", context.Cause(ctx))
	case x.status >= http.StatusBadRequest && !x.came:
		failed("status %d, without coming to the cache", x.status)
	case x.status >= http.StatusBadRequest:
		failed("status %d%s", x.status, because)
	default:
		r.Outcome, r.Reason = WarmNotStored, x.reason
		switch {
		case !x.came:
			r.Reason = "the request did not come to the cache"
		case x.how == observe.ResultCollapsed:
			r.Reason = "another request has got it, and the store has not"
		case r.Reason == "": // the framework's error handler has made it
			r.Reason = adapter.ReasonHandler
		}
	}
	return r
}

// writeResult is what became of a response that was to be stored.
func (x *warming) writeResult(r *WarmResult) {
	switch err := x.writeErr; {
	case err == nil:
		r.Outcome = WarmStored
	case errors.Is(err, errContended):
		r.Outcome = WarmPresent
	case errors.Is(err, errPurged):
		r.Outcome, r.Reason = WarmNotStored, detailPurged
	case errors.Is(err, errPersonal), errors.Is(err, errDropped), errors.Is(err, store.ErrSlow):
		r.Outcome, r.Reason = WarmNotStored, err.Error()
	default:
		r.Outcome, r.Err = WarmFailed, fmt.Errorf("the store has not taken it: %w", err)
	}
}
