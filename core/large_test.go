package cacheaside_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/store"
)

// distant is a server at the end of a link, over which large values take time.
type distant struct {
	*server
	rate   atomic.Int64 // bytes a second of large values; 0: no limit
	reads  atomic.Int64 // of large values
	writes atomic.Int64
}

// carry takes the time for size bytes, as far as ctx allows.
func (d *distant) carry(ctx context.Context, size int) error {
	rate := d.rate.Load()
	if rate == 0 || size < store.LargeValue {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(int64(size) * int64(time.Second) / rate))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("distant: %w: %w", store.ErrSlow, ctx.Err())
	}
}

// brought is the end of a read, which gave err.
func (d *distant) brought(ctx context.Context, value []byte, err error) error {
	if len(value) >= store.LargeValue {
		d.reads.Add(1)
		store.ExpectBytes(ctx, len(value))
	}
	if err == nil {
		err = d.carry(ctx, len(value))
	}
	return err
}

func (d *distant) Get(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, err := d.server.Get(ctx, key)
	if err = d.brought(ctx, value, err); err != nil {
		return nil, false, err
	}
	return value, found, nil
}

func (d *distant) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	value, found, stamps, err := d.server.GetStamped(ctx, key, dst, keys)
	if err = d.brought(ctx, value, err); err != nil {
		return nil, false, dst, err
	}
	return value, found, stamps, nil
}

func (d *distant) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	return d.server.Stamps(ctx, dst, keys)
}

func (d *distant) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	begun, err := d.server.Begin(ctx, f)
	if begun.Found {
		if err = d.brought(ctx, begun.Value, err); err != nil {
			begun.Value, begun.Found, begun.Late = nil, false, true
		}
	}
	return begun, nil
}

func (d *distant) Write(ctx context.Context, w store.Write) (store.Written, error) {
	size := len(w.Values[0].Data)
	if size >= store.LargeValue {
		d.writes.Add(1)
	}
	if err := d.carry(ctx, size); err != nil {
		return store.Written{}, err
	}
	return d.server.Write(ctx, w)
}

// farAway is a cache on a distant server. The path of a request says how many KiB
// its response has.
func farAway(t *testing.T, log io.Writer) (d *distant, cache *cacheaside.Cache, get func(path string) (status string, took time.Duration)) {
	d = &distant{server: newServer(t)}
	cache = cacheaside.Must(cacheaside.New(cacheaside.Config{Store: d, Logger: slog.New(slog.NewTextHandler(log, nil)), Policy: cacheaside.Policy{TTL: 10 * time.Minute}}))
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var kib int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &kib)
		w.Header().Set("Cache-Tag", r.URL.Query().Get("tag"))
		_, _ = io.WriteString(w, strings.Repeat("x", kib<<10))
	}))
	return d, cache, func(path string) (string, time.Duration) {
		t.Helper()
		w, began := httptest.NewRecorder(), time.Now()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://h"+path, nil))
		took := time.Since(began)
		var kib int
		if _, _ = fmt.Sscanf(path, "/%d", &kib); w.Code != http.StatusOK || w.Body.Len() != kib<<10 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		must(t, cache.Flush(context.Background()))
		return w.Header().Get("Cache-Status"), took
	}
}

// TestLargeTakesItsTime: with the default time-outs what a link of 1 Gb/s can carry
// is stored and served, whatever else is read along with it.
func TestLargeTakesItsTime(t *testing.T) {
	for _, target := range []string{"/8191?tag=", "/8191?tag=a", "/1024?tag=a,b", "/64?tag="} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d, cache, get := farAway(t, &log)
			d.rate.Store(125e6)
			if status, _ := get(target); !strings.Contains(status, "stored") {
				t.Errorf("%s: %s", target, status)
			}
			for i := range 3 {
				if i == 2 {
					time.Sleep(2 * time.Minute) // the tags are not remembered any more
				}
				if status, _ := get(target); !strings.Contains(status, "; hit") {
					t.Errorf("%s: %s", target, status)
				}
			}
			if s := cache.Stats(); s.Slow+s.StoreErrors+s.BreakerOpened != 0 || log.Len() > 0 {
				t.Errorf("%s: %+v\n%s", target, s, &log)
			}
		})
	}
}

// TestTooLarge: what does not arrive in time is no failure of the store, and is not
// stored again for a minute, while small responses are.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d, cache, get := farAway(t, &log)
		get("/2048") // stored while the link is well
		get("/2047")
		d.rate.Store(1 << 20)
		for range 8 { // one after the other would open the circuit breaker
			status, took := get("/2048")
			if !strings.Contains(status, "detail=slow-read") || strings.Contains(status, "stored") {
				t.Errorf("what cannot be read: %s", status)
			}
			// A request looks twice, before and after it takes the lock.
			if limit := 2 * (defaultLookupTimeout + store.TransferTime(2049<<10)); took > limit {
				t.Errorf("it took %v, more than %v", took, limit)
			}
		}
		if d.writes.Load() != 2 {
			t.Errorf("%d writes of what cannot be read", d.writes.Load())
		}
		get("/1")
		if status, _ := get("/1"); !strings.Contains(status, "; hit") {
			t.Errorf("a small one: %s", status)
		}
		// What cannot be written is not tried again either.
		if status, _ := get("/4096"); !strings.Contains(status, "stored") {
			t.Errorf("not known to be slow: %s", status)
		}
		if status, _ := get("/4096"); !strings.Contains(status, "detail=slow-read") {
			t.Errorf("what cannot be written: %s", status)
		}
		s := cache.Stats()
		if s.BreakerOpened != 0 || cache.BreakerOpen() || s.StoreErrors != 0 || log.Len() > 0 || s.Slow != 17 {
			t.Errorf("%+v\n%s", s, &log)
		}
		d.rate.Store(0)
		if status, _ := get("/2047"); !strings.Contains(status, "; hit") {
			t.Errorf("what was never slow: %s", status)
		}
		time.Sleep(time.Minute + time.Second)
		get("/4096")
		if status, _ := get("/4096"); !strings.Contains(status, "; hit") {
			t.Errorf("a minute later: %s", status)
		}
	})
}

// TestSlowIsNoSuccess: what did not arrive in time does not keep the circuit breaker
// from opening when the store fails as well.
func TestSlowIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, i := newAiling(t, quiet)
		var n atomic.Int64
		a.ill(func(context.Context, bool) error {
			time.Sleep(10 * time.Millisecond)
			if n.Add(1)%2 == 0 {
				return fmt.Errorf("ailing: %w", store.ErrSlow)
			}
			return errDown
		})
		for range 20 {
			i.timed(t, "/a")
		}
		if !i.BreakerOpen() {
			t.Error("the circuit breaker is closed on a store that fails")
		}
		a.ill(nil)
	})
}

func TestTransferTime(t *testing.T) {
	for size, want := range map[int]time.Duration{
		0: 0, 1: 0, store.LargeValue - 1: 0, store.LargeValue: 25 * time.Millisecond, 1 << 20: 100 * time.Millisecond, 8 << 20: 800 * time.Millisecond,
		1 << 30: 10 * time.Second, 1 << 62: 10 * time.Second,
	} {
		if got := store.TransferTime(size); got != want {
			t.Errorf("%d bytes have %v, want %v", size, got, want)
		}
	}
	store.ExpectBytes(context.Background(), 1<<20) // of somebody else
}
