package dragonfly_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

const largeKey = "some:{large}:key:of:ours"

// largeValue is one that nobody else writes.
func largeValue(writer, round, size int) []byte {
	line := fmt.Appendf(nil, "written by %03d in round %06d\n", writer, round)
	return bytes.Repeat(line, size/len(line)+1)[:size]
}

// isWhole reports whether b is a value of somebody's from the first to the last byte.
func isWhole(b []byte) bool {
	var writer, round int
	if _, err := fmt.Sscanf(string(b[:min(len(b), 64)]), "written by %d in round %d", &writer, &round); err != nil {
		return false
	}
	return bytes.Equal(b, largeValue(writer, round, len(b)))
}

// writeLarge writes value under largeKey, with a token that nobody else takes.
func writeLarge(ctx context.Context, s *dragonfly.Store, token string, value []byte) (bool, error) {
	if err := s.Set(ctx, largeKey+":lock", []byte(token), time.Hour); err != nil {
		return false, err
	}
	return writeAgain(ctx, s, token, largeKey, value)
}

func writeAgain(ctx context.Context, s *dragonfly.Store, token, key string, value []byte) (bool, error) {
	written, err := s.Write(ctx, store.Write{
		Lock: largeKey + ":lock", Token: token, Values: []store.Value{{Key: key, Data: value, TTL: time.Hour}},
	})
	return written.Stored, err
}

func wantValue(t *testing.T, s store.Store, key string, want []byte) {
	t.Helper()
	got, found, err := s.Get(t.Context(), key)
	if err != nil || found != (want != nil) || !bytes.Equal(got, want) {
		t.Errorf("Get: %d bytes %.40q, %v, %v; want %d bytes %.40q", len(got), got, found, err, len(want), want)
	}
}

// TestLargeInTwoParts: from LargeValue on a value is a stub and bytes, which outlive it,
// and replacing it leaves nothing behind.
func TestLargeInTwoParts(t *testing.T) {
	p := storetest.StartServer(t)
	s, c := open(t, p.Addr), other(t, p.Addr)
	ctx := t.Context()
	keys := func() int64 {
		n, err := c.Do(ctx, c.B().Dbsize().Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	number := func(args ...string) int64 {
		n, err := c.Do(ctx, c.B().Arbitrary(args...).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	small := largeValue(0, 0, store.LargeValue-1)
	for name, n := range ran(t, c, func() {
		if err := s.Set(ctx, largeKey, small, time.Hour); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, largeKey, small)
	}) {
		if name != "hello" && name != "client" && name != "client|setinfo" && // of a connection that comes late
			(name != "set" && name != "get" || n != 1) {
			t.Errorf("a value that is not large takes %d %s", n, name)
		}
	}
	if keys() != 1 {
		t.Errorf("a value that is not large takes %d keys", keys())
	}
	for i := range 4 {
		value := largeValue(0, i, store.LargeValue<<i)
		if written, err := writeLarge(ctx, s, "a", value); !written || err != nil {
			t.Fatal(written, err)
		}
		wantValue(t, s, largeKey, value)
		if n := keys(); n != 2 {
			t.Errorf("value and bytes are %d keys", n)
		}
		if n := number("STRLEN", largeKey); n > 100 {
			t.Errorf("the stub has %d bytes", n)
		}
		body := largeKey + ":body:" + fmt.Sprint(i%2)
		if n := number("STRLEN", body); n != int64(len(value)+16) {
			t.Errorf("%d bytes for a value of %d", n, len(value))
		}
		if stub, bytes := number("PTTL", largeKey), number("PTTL", body); bytes <= stub || bytes > stub+20_000 || stub > time.Hour.Milliseconds() {
			t.Errorf("the stub lasts for %d ms, its bytes for %d", stub, bytes)
		}
	}
	for name, n := range ran(t, c, func() { wantValue(t, s, largeKey, largeValue(0, 3, store.LargeValue<<3)) }) {
		if name != "hello" && name != "client" && name != "client|setinfo" && // of a connection that comes late
			(name != "get" || n != 2) {
			t.Errorf("a large hit takes %d %s", n, name)
		}
	}
	// Those of a write that was given up are under the other key.
	run(t, c, "SET", largeKey+":body:0", "bytes of a write that was given up")
	for name, n := range ran(t, c, func() {
		if err := s.Delete(ctx, largeKey); err != nil {
			t.Fatal(err)
		}
	}) {
		if name != "unlink" || n != 1 {
			t.Errorf("Delete takes %d %s", n, name)
		}
	}
	if keys() != 0 {
		t.Errorf("Delete leaves %d keys", keys())
	}
}

// TestLargeDamaged: a stub whose bytes are gone, somebody else's or damaged is
// absent, and so is one that is damaged itself.
func TestLargeDamaged(t *testing.T) {
	p := storetest.StartServer(t)
	s, c := open(t, p.Addr, withNear()), other(t, p.Addr)
	ctx := t.Context()
	const size = store.LargeValue + 10_000
	const body, another = largeKey + ":body:0", "some:{large}:other:key"
	get := func(key string) string {
		text, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	set := func(key, value string) { run(t, c, "SET", key, value, "KEEPTTL") }
	for name, damage := range map[string]func(){
		"bytes gone":                func() { run(t, c, "DEL", body) },
		"bytes of another write":    func() { set(body, get(another+":body:0")) },
		"bytes of another type":     func() { run(t, c, "DEL", body); run(t, c, "RPUSH", body, "a") },
		"bytes cut":                 func() { set(body, get(body)[:size/2]) },
		"bytes cut into identity":   func() { set(body, get(body)[:7]) },
		"no bytes":                  func() { set(body, "") },
		"bytes too long":            func() { set(body, get(body)+"x") },
		"other identity":            func() { set(body, "x"+get(body)[1:]) },
		"bytes much too long":       func() { set(body, get(body)+strings.Repeat("x", 16<<20)) },
		"bytes are a number":        func() { set(body, "12345") },
		"stub of another key":       func() { set(largeKey, get(another)) },
		"stub damaged":              func() { b := []byte(get(largeKey)); b[12] ^= 1; set(largeKey, string(b)) },
		"stub of the other slot":    func() { b := []byte(get(largeKey)); b[8] ^= 1; set(largeKey, string(b)) },
		"stub is its own bytes":     func() { set(body, get(largeKey)) },
		"bytes are those of a stub": func() { set(largeKey, get(another)); set(body, get(another)) },
	} {
		run(t, c, "DEL", body)
		for i, key := range []string{largeKey, another} {
			run(t, c, "DEL", key)
			if err := s.Set(ctx, key, largeValue(i, 1, size), time.Hour); err != nil {
				t.Fatal(err)
			}
			wantValue(t, s, key, largeValue(i, 1, size))
		}
		damage()
		for range 3 {
			wantValue(t, s, largeKey, nil)
			if v, found, _ := tier(t, s, largeKey); found {
				t.Errorf("%s: GetTier found %d bytes", name, len(v))
			}
			if v, found, _, err := s.GetStamped(ctx, largeKey, nil, []string{"some:{large}:stamp"}); found || err != nil {
				t.Errorf("%s: GetStamped: %d bytes, %v", name, len(v), err)
			}
		}
		// The connections are as good as before.
		wantValue(t, s, another, largeValue(1, 1, size))
		if err := s.Set(ctx, largeKey, largeValue(0, 2, size), time.Hour); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantValue(t, s, largeKey, largeValue(0, 2, size))
		if t.Failed() {
			t.Fatalf("with %s", name)
		}
	}
}

// TestLookalike: a value that looks like a stub comes back as it went.
func TestLookalike(t *testing.T) {
	s := open(t, storetest.Server(t))
	ctx, key := t.Context(), storetest.Prefix()+"{key}"
	if err := s.Set(ctx, key, largeValue(0, 0, 1<<17), time.Hour); err != nil {
		t.Fatal(err)
	}
	stub, err := s.Client().Do(ctx, s.Client().B().Get().Key(key).Build()).AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, key, stub, time.Hour); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, key, stub)
}

// TestLargeWriters: whatever several processes write at once, what is read is one
// whole value, and what is written after them is found.
func TestLargeWriters(t *testing.T) {
	p := storetest.StartServer(t)
	ctx := t.Context()
	var all sync.WaitGroup
	var found atomic.Int64
	var stores []*dragonfly.Store
	for range 3 {
		stores = append(stores, openPatiently(t, p.Addr))
	}
	for i, s := range stores {
		all.Go(func() {
			for round := range 60 {
				size := store.LargeValue + 1000*((i+round)%7)
				if (i+round)%5 == 0 {
					size = 1000
				}
				// Another one may have used the token up.
				if _, err := writeLarge(ctx, s, "a", largeValue(i, round, size)); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
		})
		for range 2 {
			all.Go(func() {
				for range 200 {
					got, ok, err := s.Get(ctx, largeKey)
					if err != nil || ok && !isWhole(got) {
						t.Errorf("Get: %d bytes %.60q, %v", len(got), got, err)
						return
					}
					if ok {
						found.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	if found.Load() == 0 {
		t.Error("nothing was ever found")
	}
	last := largeValue(9, 9, 200_000)
	if written, err := writeLarge(ctx, stores[1], "a", last); !written || err != nil {
		t.Fatal(written, err)
	}
	for _, s := range stores {
		wantValue(t, s, largeKey, last)
	}
}

// TestLargePurged: nothing that was on its way when its lock was deleted is ever
// read.
func TestLargePurged(t *testing.T) {
	p := storetest.StartServer(t)
	s, purger := openPatiently(t, p.Addr), openPatiently(t, p.Addr)
	ctx, lock := t.Context(), largeKey+":lock"
	var refused int
	for round := range 60 {
		token := fmt.Sprint("token ", round)
		if err := s.Set(ctx, lock, []byte(token), time.Hour); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan bool, 1)
		go func() {
			written, err := writeAgain(ctx, s, token, largeKey, largeValue(1, round, 1<<20))
			if err != nil {
				t.Error(err)
			}
			wrote <- written
		}()
		time.Sleep(time.Duration(round%12) * 200 * time.Microsecond)
		for _, key := range []string{lock, largeKey} {
			if err := purger.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
		wantValue(t, purger, largeKey, nil)
		if !<-wrote {
			refused++
		}
		wantValue(t, purger, largeKey, nil)
		wantValue(t, s, largeKey, nil)
	}
	t.Logf("%d of 60 writes came too late", refused)
}

// TestLargeRefused: a write for which there is no memory leaves what was there.
func TestLargeRefused(t *testing.T) {
	p := storetest.StartServer(t, servers.Memory(6<<20), servers.NoEviction())
	s := open(t, p.Addr)
	ctx := t.Context()
	old := largeValue(0, 0, 1<<20)
	if written, err := writeLarge(ctx, s, "a", old); !written || err != nil {
		t.Fatal(written, err)
	}
	for _, size := range []int{1 << 20, 4 << 20} { // refused at once, and by what comes after it
		var err error
		for i := 0; i < 8 && err == nil; i++ {
			if err = s.Set(ctx, largeKey+":lock", []byte("a"), time.Hour); err == nil {
				_, err = writeAgain(ctx, s, "a", fmt.Sprint(largeKey, i), largeValue(1, i, size))
			}
		}
		if !errors.Is(err, dragonfly.ErrRefused) || errors.Is(err, store.ErrSlow) {
			t.Fatalf("writes to a full server: %v", err)
		}
		if written, err := writeAgain(ctx, s, "a", largeKey, largeValue(1, 1, size)); written || !errors.Is(err, dragonfly.ErrRefused) {
			t.Fatal(written, err)
		}
		wantValue(t, s, largeKey, old)
	}
}

// stuck is a connection that delivers nothing more once left bytes were read, of all
// connections.
type stuck struct {
	net.Conn
	left *atomic.Int64
}

func (s *stuck) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.left.Add(int64(-n)) < 0 {
		_, err = io.Copy(io.Discard, s.Conn) // until its deadline
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	return n, err
}

// TestLargeTooSlow: a value that arrives in part is no failure, and not read again
// for a while; one of which nothing arrives is one.
func TestLargeTooSlow(t *testing.T) {
	p := storetest.StartServer(t)
	var left atomic.Int64
	left.Store(1 << 40)
	s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
		InitAddress: []string{p.Addr},
		DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			conn, err := d.DialContext(ctx, "tcp", addr)
			return &stuck{Conn: conn, left: &left}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	value := largeValue(0, 0, 4<<20)
	for _, key := range []string{largeKey, largeKey + "2"} {
		if err := s.Set(t.Context(), key, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, key, value)
	}
	get := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, found, err := s.Get(ctx, key)
		if found {
			t.Error("found")
		}
		return err
	}
	left.Store(1 << 20)
	if err := get(largeKey); !errors.Is(err, store.ErrSlow) {
		t.Errorf("what arrives in part: %v, want ErrSlow", err)
	}
	left.Store(1 << 40)
	c := other(t, p.Addr)
	if got := ran(t, c, func() {
		if err := get(largeKey); !errors.Is(err, store.ErrSlow) {
			t.Errorf("what has not arrived: %v, want ErrSlow", err)
		}
	}); got["get"] != 1 {
		t.Errorf("what has not arrived is read again: %v", got)
	}
	wantValue(t, s, largeKey+"2", value)
	if err := s.Set(t.Context(), largeKey, value, time.Hour); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, largeKey, value)

	left.Store(200) // the stub alone
	if err := get(largeKey + "2"); err == nil || errors.Is(err, store.ErrSlow) {
		t.Errorf("what does not arrive at all: %v", err)
	}
	left.Store(1 << 40)
}

// TestLargeAfterLostConnections: connections for large values that the server has
// closed while they were idle cost no answer.
func TestLargeAfterLostConnections(t *testing.T) {
	p := storetest.StartServer(t)
	s, c := openPatiently(t, p.Addr), other(t, p.Addr)
	for i := range 3 {
		value := largeValue(0, i, 1<<18)
		if err := s.Set(t.Context(), largeKey, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for j := range 6 { // at once, so that there are several connections
			key := fmt.Sprint(largeKey, j)
			if err := s.Set(t.Context(), key, value, time.Hour); err != nil {
				t.Fatal(err)
			}
			all.Go(func() { wantValue(t, s, key, value) })
		}
		all.Wait()
		storetest.Disconnect(t, c)
		until(t, "a connection", func() bool { _, _, err := s.Get(t.Context(), "some:small:key"); return err == nil })
		wantValue(t, s, largeKey, value)
	}
}

// TestLargeNear: a large value that is read often is here, and leaves when another
// process replaces or removes it.
func TestLargeNear(t *testing.T) {
	s, p := openNear(t)
	writer, c := openPatiently(t, p.Addr), other(t, p.Addr)
	ctx := t.Context()
	for i := range 10 {
		value := string(largeValue(0, i, 1<<20))
		if err := writer.Set(ctx, largeKey, []byte(value), time.Hour); err != nil {
			t.Fatal(err)
		}
		until(t, "the new value", func() bool { v, _, _ := tier(t, s, largeKey); return v == value })
		heat(t, s, largeKey)
		if v, found, near := tier(t, s, largeKey); v != value || !found || !near {
			t.Errorf("%d bytes, %v, %v", len(v), found, near)
		}
		if got := ran(t, c, func() { tier(t, s, largeKey) }); len(got) > 0 {
			t.Errorf("a copy takes %v", got)
		}
		switch i % 3 {
		case 0:
			if err := writer.Delete(ctx, largeKey); err != nil {
				t.Fatal(err)
			}
			until(t, "the end", func() bool { _, found, _ := tier(t, s, largeKey); return !found })
		case 1: // by this process
			if err := s.Set(ctx, largeKey, []byte("small"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if v, _, _ := tier(t, s, largeKey); v != "small" {
				t.Errorf("%d bytes after a write", len(v))
			}
		}
	}
}

// TestLargeClose: what is on its way when the store is closed ends, and nothing is
// read or written later.
func TestLargeClose(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr)
	value := largeValue(0, 0, 4<<20)
	if err := s.Set(t.Context(), largeKey, value, time.Hour); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				if got, found, err := s.Get(t.Context(), largeKey); found && (err != nil || !bytes.Equal(got, value)) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				_ = s.Set(t.Context(), largeKey+"2", value[:1<<17], time.Hour)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if _, found, err := s.Get(t.Context(), largeKey); found || err == nil {
		t.Errorf("Get of a closed store: %v, %v", found, err)
	}
}
