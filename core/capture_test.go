package cacheaside_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestManyLargeBodies: 200 bodies of 4 MiB are under way at once. Each client gets its
// own, and the captures take no more than they may.
func TestManyLargeBodies(t *testing.T) {
	const n, size, room = 200, 4 << 20, 64 << 20
	whole := make([]byte, size+n)
	for i := range whole {
		whole[i] = byte(i * i >> 8)
	}
	m, err := memory.New(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cache := cacheaside.Must(cacheaside.New(cacheaside.Config{
		Store: m, Logger: slog.New(slog.DiscardHandler), Policy: cacheaside.Policy{TTL: time.Hour},
	}))
	defer cache.Close(context.Background())
	var written atomic.Int64
	all := make(chan struct{})
	var most uint64
	server := httptest.NewServer(nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.URL.Query().Get("i"))
		if i%2 == 0 {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		body := whole[i : i+size]
		const piece = 64 << 10
		for at := 0; at < size-piece; at += piece {
			if _, err := w.Write(body[at : at+piece]); err != nil {
				t.Error(err)
				break
			}
		}
		if written.Add(1) == n { // all of them are there
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			most = s.HeapAlloc
			close(all)
		}
		<-all
		_, _ = w.Write(body[size-piece:])
	})))
	defer server.Close()
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() {
			if err := compare(server.URL+"/?i="+strconv.Itoa(i), whole[i:i+size]); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	clients.Wait()
	server.Close() // when all handlers have returned
	st := cache.Stats()
	if st.CaptureBytes != 0 {
		t.Errorf("%d bytes are not given back", st.CaptureBytes)
	}
	t.Logf("captures: %d MiB at most; heap with all under way: %d MiB; %d stored", st.CapturePeak>>20, most>>20, st.Stores)
	if st.CapturePeak > room || st.CapturePeak < size {
		t.Errorf("the captures have taken %d bytes of %d", st.CapturePeak, room)
	}
	if most > n*size/2 {
		t.Errorf("%d bytes of memory, for bodies of %d", most, n*size)
	}
	if st.Stores == 0 || st.Stores > room/size {
		t.Errorf("%d are stored", st.Stores)
	}
}

// compare asks for a URL, whose body is to be want.
func compare(url string, want []byte) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	buf, at := make([]byte, 32<<10), 0
	for {
		n, err := res.Body.Read(buf)
		if at+n > len(want) || string(buf[:n]) != string(want[at:at+n]) {
			return fmt.Errorf("another body from byte %d on", at)
		}
		at += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if at != len(want) {
		return fmt.Errorf("%d bytes", at)
	}
	return nil
}

// TestShareOfTheBudget: what a policy does not limit may take a quarter, and none more
// than all.
func TestShareOfTheBudget(t *testing.T) {
	for _, tt := range []struct{ room, maxBytes, size, stored int64 }{
		{0, 0, 16 << 20, 1},
		{0, 0, 16<<20 + 1, 0},
		{4 << 20, 0, 1 << 20, 1},
		{4 << 20, 0, 1<<20 + 1, 0},
		{4 << 20, 1 << 62, 7 << 19, 1},
		{4 << 20, 1 << 62, 7<<19 + 1, 0},
		{4 << 20, 1000, 1000, 1},
		{4 << 20, 1000, 1001, 0},
		{1, 0, 1, 1},
	} {
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.FormatInt(tt.size, 10))
			_, _ = w.Write(make([]byte, tt.size))
		}, func(c *cacheaside.Config) {
			c.MaxCaptureBytes, c.Policy.Storing.MaxBytes = tt.room, tt.maxBytes
		})
		wants := "cacheaside; fwd=miss; detail=too-large"
		if tt.stored > 0 {
			wants = "cacheaside; fwd=miss; ttl=30; stored"
		}
		wantStatus(t, s.get("/x"), wants)
		if st := s.cache.Stats(); st.Stores != uint64(tt.stored) || st.CaptureBytes != 0 {
			t.Errorf("%+v: %d stored, %d bytes in use", tt, st.Stores, st.CaptureBytes)
		}
	}
}

// TestCaptureFull: what finds no room says so, and is sent whole.
func TestCaptureFull(t *testing.T) {
	first, proceed := make(chan struct{}), make(chan struct{})
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		if _, _ = w.Write(make([]byte, 999)); r.URL.Path == "/first" {
			close(first)
			<-proceed
		}
		_, _ = w.Write([]byte{0})
	}, func(c *cacheaside.Config) { c.MaxCaptureBytes, c.Policy.Storing.MaxBytes = 1500, 1000 })
	done := make(chan *http.Response)
	go func() { done <- s.get("/first") }()
	<-first
	for range 2 {
		r := s.get("/second")
		wantStatus(t, r, "cacheaside; fwd=miss; detail=capture-full")
		if len(body(r)) != 1000 {
			t.Error("not the whole body")
		}
	}
	close(proceed)
	wantStatus(t, <-done, "cacheaside; fwd=miss; ttl=30; stored")
	wantStatus(t, s.get("/second"), "cacheaside; fwd=miss; ttl=30; stored")
	if st := s.cache.Stats(); st.CaptureBytes != 0 || st.CapturePeak != 1000 {
		t.Errorf("%d bytes are in use, %d were", st.CaptureBytes, st.CapturePeak)
	}
}

// TestRoomForSmallBodies: large ones under way do not keep them from being stored.
func TestRoomForSmallBodies(t *testing.T) {
	const room, n = 1 << 20, 8
	begun, proceed := make(chan struct{}, n), make(chan struct{})
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			_, _ = w.Write(make([]byte, room/64))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(room/4))
		_, _ = w.Write(make([]byte, room/4-1))
		begun <- struct{}{}
		<-proceed
		_, _ = w.Write([]byte{0})
	}, func(c *cacheaside.Config) { c.MaxCaptureBytes = room })
	var large sync.WaitGroup
	for i := range n {
		large.Go(func() {
			if got := len(body(s.get("/large/" + strconv.Itoa(i)))); got != room/4 {
				t.Errorf("%d bytes", got)
			}
		})
	}
	for range n {
		<-begun
	}
	wantStatus(t, s.get("/small"), "cacheaside; fwd=miss; ttl=30; stored")
	close(proceed)
	large.Wait()
	if n := s.cache.Stats().Stores; n != 1+3 {
		t.Errorf("%d are stored", n)
	}
}

// TestCapturesOfPanics: what a handler that panics has taken is given back.
func TestCapturesOfPanics(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1000))
		panic("on purpose")
	})
	func() {
		defer func() { _ = recover() }()
		s.get("/x")
	}()
	if st := s.cache.Stats(); st.CaptureBytes != 0 || st.CapturePeak != 1000 {
		t.Errorf("%d bytes are in use, %d were", st.CaptureBytes, st.CapturePeak)
	}
}
