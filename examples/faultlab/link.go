package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/examples/internal/faultproxy"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

const (
	narrowLink = "link of 1 Gb/s, bodies of 8 MiB beside small ones"
	linkRate   = 125e6
	largeRow   = 7 // whose page is as large as is stored by default
	largeBody  = (8 << 20)
	smallRows  = 10
)

// link has large and small pages read over a link that is well but narrow, with the
// default time-outs. It is wrong for the circuit breaker to open, for the large page
// not to be served once it is stored, and for small ones not to be.
func (l *lab) link(ctx context.Context, dir string) (results []*result, err error) {
	process, err := l.store(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	defer process.Kill()
	proxy, err := faultproxy.New(ctx, process.Addr)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	proxy.Rate(linkRate)
	watched, end := context.WithCancel(ctx)
	defer end()
	var stood stallWatch
	go stood.watch(watched)
	for _, framework := range frameworks { // one after the other: each has the link for itself
		// What a machine that stands still makes too late is no fault of the cache's: then
		// it is tried again, and wrong only if it always is.
		var r *result
		for attempt := range 3 {
			stalled := stood.total.Load()
			if r, err = l.linked(ctx, proxy.Addr(), framework, fmt.Sprint(framework, attempt)); err != nil {
				return nil, err
			}
			if r.ok() || stood.since(stalled) == 0 {
				break
			}
		}
		results = append(results, r)
	}
	return results, nil
}

func (l *lab) linked(ctx context.Context, addr, framework, namespace string) (r *result, err error) {
	quiet := slog.New(slog.DiscardHandler)
	store, err := server.Patiently(ctx, func() (*dragonfly.Store, error) { return dragonfly.Open(ctx, addr, dragonfly.WithLogger(quiet)) })
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	cache, err := cacheaside.New(cacheaside.Config{Store: store, Namespace: namespace, Logger: quiet, Policy: cacheaside.Policy{TTL: time.Hour}})
	if err != nil {
		return nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = cache.Close(closing)
	}()
	data := newDatabase(largeRow + smallRows + 1)
	data.large = largeRow
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serve, stop := service(framework, data, cache)
	go func() { _ = serve(ln) }()
	defer stop()
	one := &load{data: data, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, DisableCompression: true}, Timeout: 20 * time.Second}}
	defer one.client.CloseIdleConnections()
	base := "http://" + ln.Addr().String() + "/"

	r = &result{fault: narrowLink, framework: framework}
	note := func(wrong *int64, format string, args ...any) {
		*wrong++
		r.what = append(r.what, framework+": "+fmt.Sprintf(format, args...))
	}
	// A machine that stands still for longer than a time-out may cost some hits.
	get := func(n int) (hit bool, took time.Duration, err error) {
		began := time.Now()
		code, header, body, err := one.get(ctx, base, n)
		if err == nil && (code != http.StatusOK || body != data.page(n, data.rows[n].version.Load())) {
			err = fmt.Errorf("/%d: %d, %d bytes", n, code, len(body))
		}
		return strings.Contains(strings.Join(header.Values("Cache-Status"), ", "), "; hit"), time.Since(began), err
	}
	for n := range largeRow + smallRows + 1 {
		stored := false
		for try := 0; try < 20 && !stored; try++ {
			if stored, _, err = get(n); err != nil {
				return nil, err
			}
			if err := cache.Flush(ctx); err != nil {
				return nil, err
			}
		}
		if !stored {
			note(&r.wrong, "/%d is never served from the store", n)
		}
	}
	before := cache.Stats()
	var largeHits, large atomic.Int64
	ended, end := context.WithTimeout(ctx, max(l.length, time.Second))
	defer end()
	done := make(chan error, 1)
	go func() {
		for ended.Err() == nil {
			hit, _, err := get(largeRow)
			if err != nil {
				done <- err
				return
			}
			large.Add(1)
			if hit {
				largeHits.Add(1)
			}
		}
		done <- nil
	}()
	var small, smallHits int64
	for n := 0; ended.Err() == nil; n++ {
		hit, took, err := get(largeRow + 1 + n%smallRows)
		if err != nil {
			note(&r.errors, "%v", err)
		}
		r.times = append(r.times, took)
		if small++; hit {
			smallHits++
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := <-done; err != nil {
		note(&r.errors, "%v", err)
	}
	r.requests, r.hits = small+large.Load(), smallHits+largeHits.Load()
	after := cache.Stats()
	if after.BreakerOpened > 0 {
		note(&r.wrong, "the circuit breaker opened %d times", after.BreakerOpened)
	}
	if 2*largeHits.Load() < large.Load() {
		note(&r.wrong, "%d of %d large pages were hits", largeHits.Load(), large.Load())
	}
	if 2*smallHits < small {
		note(&r.wrong, "%d of %d small pages were hits", smallHits, small)
	}
	if n := after.Corrupt - before.Corrupt; n > 0 {
		note(&r.wrong, "%d values were damaged", n)
	}
	return r, nil
}

// page is what the handler answers for a row.
func (d *database) page(n int, version int64) string {
	if n == d.large && n > 0 {
		line := fmt.Sprintf("%d:%d;", n, version)
		return strings.Repeat(line, largeBody/len(line)+1)[:largeBody]
	}
	return bodyOf(n, version)
}
