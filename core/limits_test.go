package cacheaside_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

func TestLongHeadersAreNotStored(t *testing.T) {
	long := ""
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", long)
		w.Header().Set("Etag", `"1"`)
		fmt.Fprint(w, "fine")
	})
	long = strings.Repeat("x", defaultMaxHeaderBytes)
	wantStatus(t, s.get("/long"), "cacheaside; fwd=miss; detail=header-too-large")
	long = strings.Repeat("x", defaultMaxHeaderBytes-500)
	wantStatus(t, s.get("/long"), "cacheaside; fwd=miss; ttl=30; stored")

	// The same for what an update would make of it.
	s = newService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("X-Long", strings.Repeat("x", defaultMaxHeaderBytes))
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "fine")
	})
	s.get("/")
	s.clock.Advance(time.Minute)
	r := s.get("/")
	if body(r) != "fine" {
		t.Error("no body")
	}
	wantStatus(t, r, "cacheaside; fwd=stale; fwd-status=304; ttl=30; detail=header-too-large")
}

func TestLargeBodiesPassThrough(t *testing.T) {
	size, declared := defaultMaxBytes+1, false
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		if declared {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for range size >> 10 {
			_, _ = w.Write(make([]byte, 1<<10))
		}
		_, _ = w.Write(make([]byte, size%(1<<10)))
	})
	for range 2 {
		r := s.get("/")
		if n := len(body(r)); n != size {
			t.Errorf("%d bytes, want %d", n, size)
		}
		wantStatus(t, r, "cacheaside; fwd=miss") // nothing else was known when the header left
		if strings.Contains(r.Header.Get("Cache-Status"), "detail") {
			t.Errorf("Cache-Status is %q", r.Header.Get("Cache-Status"))
		}
	}
	declared = true
	wantStatus(t, s.get("/"), "cacheaside; fwd=miss; detail=too-large")
	declared = false
	size--
	s.get("/")
	r := s.get("/")
	if len(body(r)) != size {
		t.Error("not the whole body")
	}
	wantStatus(t, r, "cacheaside; hit; ttl=30")
}

// TestWaitingIsBounded: beyond it requests do not fail, but ask the handler.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, slow(time.Second), process, func(c *cacheaside.Config) { c.Policy.Coalescing.MaxWaiting = 20 })
		for _, a := range f.herd(50, "/x") {
			a.is(t, 200, "/x", "")
		}
		f.called(1 + 50 - 1 - 20)
		for _, a := range f.herd(20, "/y") { // nobody is forgotten to have left
			a.is(t, 200, "/y", "")
		}
		f.called(1)
	})
}

// TestWaitingIsCounted: as long as a request waits for another one, of its own process or
// of another.
func TestWaitingIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, slow(time.Second))
		waiting := func() (n uint64) {
			synctest.Wait()
			for _, c := range f.caches {
				n += c.Stats().Waiting
			}
			return n
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, a := range f.herd(9, "/x") {
				a.is(t, 200, "/x", "")
			}
		}()
		time.Sleep(500 * time.Millisecond)
		if n := waiting(); n != 8 {
			t.Errorf("%d of 9 wait while one asks the handler", n)
		}
		<-done
		if n := waiting(); n != 0 {
			t.Errorf("%d wait when all is over", n)
		}
	})
}

// TestControlCharactersAreNotStored: the framework makes what it likes of them.
func TestControlCharactersAreNotStored(t *testing.T) {
	for _, value := range []string{"a\r\nSet-Cookie: x=1", "a\nb", "a\x00b", "a\x7f"} {
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Reflected"] = []string{value}
			fmt.Fprint(w, "fine")
		})
		for range 2 {
			wantStatus(t, s.get("/"), "cacheaside; fwd=miss; detail=header")
		}
	}
}
