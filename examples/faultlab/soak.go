package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// frameworksKeep is how many goroutines Fiber's server leaves behind for good: for
// its clock, and the like.
const frameworksKeep = 5

// sample is what the process holds at a moment.
type sample struct {
	at          time.Duration
	requests    int64
	goroutines  int
	heap        uint64 // in use after a collection
	descriptors int    // open files; -1: this system does not tell
}

// soak has clients ask in all ways for d, over so many rows, and reports on w
// whether what the process holds stays the same.
func (l *lab) soak(ctx context.Context, d time.Duration, rows int, w io.Writer) error {
	dir, err := os.MkdirTemp("", "cacheaside-soak-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	own, err := l.store(ctx, dir, false)
	if err != nil {
		return err
	}
	defer own.Kill()
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go stalls.watch(watching)
	before := runtime.NumGoroutine()
	data := newDatabase(rows)
	var loads []*load
	for _, framework := range frameworks {
		one, err := l.start(ctx, fault{}, own.Addr, data, framework)
		if err != nil {
			return err
		}
		loads = append(loads, one)
	}
	running, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var all sync.WaitGroup
	var s mixture
	for i, one := range loads {
		for k := range clients {
			rng := rand.New(rand.NewPCG(l.seed, uint64(100*i+k)))
			all.Go(func() { s.ask(running, one, rng) })
		}
	}
	all.Go(func() { write(running, data, loads, l.seed) })

	began := time.Now()
	every := max(d/120, 400*time.Millisecond)
	var samples []sample
	for running.Err() == nil {
		select {
		case <-time.After(every):
		case <-running.Done():
			continue
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		samples = append(samples, sample{time.Since(began), s.requests.Load(), runtime.NumGoroutine(), m.HeapAlloc, descriptors()})
	}
	all.Wait()
	var sum int64
	for _, one := range loads {
		st := one.cache.Stats()
		sum += int64(st.Hits)
		one.stop()
	}
	left := runtime.NumGoroutine()
	for end := time.Now().Add(20 * time.Second); left > before+frameworksKeep && time.Now().Before(end); left = runtime.NumGoroutine() {
		time.Sleep(10 * time.Millisecond) // connections take a moment to end
	}

	_, _ = fmt.Fprintf(w, "%-8s %10s %11s %9s %12s\n", "after", "requests", "goroutines", "heap MB", "descriptors")
	for i := 0; i < len(samples); i += max(1, len(samples)/12) {
		_, _ = fmt.Fprintln(w, samples[i])
	}
	_, _ = fmt.Fprintf(w, "%d requests, %d hits, %d wrong; goroutines %d before, %d after the end\n", s.requests.Load(), sum, s.wrong.Load(), before, left)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.wrong.Load() > 0:
		return fmt.Errorf("%d wrong answers, such as %v", s.wrong.Load(), s.example.Load())
	case left > before+frameworksKeep:
		return fmt.Errorf("%d goroutines are left of what was closed", left-before)
	}
	return flat(samples)
}

func (s sample) String() string {
	return fmt.Sprintf("%-8v %10d %11d %9.1f %12d", s.at.Round(time.Second), s.requests, s.goroutines, float64(s.heap)/(1<<20), s.descriptors)
}

// flat compares the last quarter with the second.
func flat(samples []sample) error {
	n := len(samples)
	if n < 8 {
		return errors.New("too short to tell: -soak 10s at least")
	}
	median := func(part []sample, of func(sample) float64) float64 {
		values := make([]float64, len(part))
		for i, s := range part {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for _, what := range []struct {
		name          string
		of            func(sample) float64
		factor, extra float64
	}{
		{"goroutines", func(s sample) float64 { return float64(s.goroutines) }, 1.05, 10},
		{"heap bytes", func(s sample) float64 { return float64(s.heap) }, 1.10, 4 << 20},
		{"descriptors", func(s sample) float64 { return float64(s.descriptors) }, 1.05, 5},
	} {
		then, now := median(samples[n/4:n/2], what.of), median(samples[n*3/4:], what.of)
		if now > then*what.factor+what.extra {
			return fmt.Errorf("%s grow: %.0f in the second quarter, %.0f in the last", what.name, then, now)
		}
	}
	return nil
}

func descriptors() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(files)
}

// mixture is the traffic: whole responses, conditions, ranges, HEAD, and clients
// that do not wait.
type mixture struct {
	requests, wrong atomic.Int64
	example         atomic.Value
}

func (m *mixture) ask(ctx context.Context, l *load, rng *rand.Rand) {
	popular := rand.NewZipf(rng, 1.05, 100, uint64(len(l.data.rows)-1))
	for ctx.Err() == nil {
		n := int(popular.Uint64())
		if what := m.one(ctx, l, rng, n); what != "" {
			m.wrong.Add(1)
			m.example.CompareAndSwap(nil, fmt.Sprintf("%s /%d: %s", l.framework, n, what))
		}
		m.requests.Add(1)
		time.Sleep(time.Duration(rng.Int64N(int64(4 * time.Millisecond))))
	}
}

// one asks once and says what is wrong with the answer.
func (m *mixture) one(ctx context.Context, l *load, rng *rand.Rand, n int) string {
	limit := 10 * time.Second
	method, field, value := http.MethodGet, "", ""
	switch k := rng.IntN(100); {
	case k < 5:
		method = http.MethodHead
	case k < 10:
		field, value = "Range", "bytes=0-3"
	case k < 15:
		field, value = "If-None-Match", "*"
	case k < 18:
		field, value = "Cache-Control", "no-cache"
	case k < 21:
		limit = time.Duration(rng.Int64N(int64(6 * time.Millisecond)))
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	promised, began, stalled := l.data.rows[n].promised.Load(), time.Now(), stalls.total.Load()
	req, err := http.NewRequestWithContext(asking, method, fmt.Sprint(l.cached, n), http.NoBody)
	if err != nil {
		return err.Error()
	}
	if field != "" {
		req.Header.Set(field, value)
	}
	resp, err := l.client.Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		var b []byte
		if b, err = io.ReadAll(resp.Body); err == nil {
			return l.judge(n, promised, began, stalled, method, resp, string(b))
		}
	}
	if limit < time.Second {
		return ""
	}
	return err.Error()
}

func (l *load) judge(n int, promised int64, began time.Time, stalled int64, method string, resp *http.Response, body string) string {
	switch {
	case resp.StatusCode == http.StatusNotModified || method == http.MethodHead && resp.StatusCode == http.StatusOK:
		return ""
	case resp.StatusCode == http.StatusPartialContent:
		if !strings.HasPrefix(bodyOf(n, l.data.rows[n].version.Load()), body[:1]) || len(body) != 4 {
			return "a range of " + body
		}
		return ""
	case resp.StatusCode != http.StatusOK:
		return resp.Status
	}
	version, ok := parseBody(n, body)
	switch {
	case !ok:
		return fmt.Sprintf("the body begins with %.40q", body)
	case version < promised:
		return fmt.Sprintf("version %d, when %d was purged", version, promised)
	case l.data.rows[n].expired(version, began, stalled):
		return fmt.Sprintf("version %d, long after there was a newer one", version)
	}
	return ""
}
