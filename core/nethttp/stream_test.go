package nethttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// streamed serves requests by the recorder, in a bubble with a clock of its own.
func streamed(t *testing.T, front func(http.Handler) http.Handler, h http.HandlerFunc, test func(get func(fields ...string) *httptest.ResponseRecorder, cache *cacheaside.Cache), change ...func(*cacheaside.Config)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}, Logger: slog.New(slog.DiscardHandler)}
		for _, f := range change {
			f(&cfg)
		}
		cache := cacheaside.Must(cacheaside.New(cfg))
		defer cache.Close(context.Background())
		all := New(cache)(h)
		if front != nil {
			all = front(all)
		}
		test(func(fields ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			for i := 0; i < len(fields); i += 2 {
				r.Header.Set(fields[i], fields[i+1])
			}
			w := httptest.NewRecorder()
			all.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), recorded{}, w)))
			return w
		}, cache)
	})
}

// recorded is where the context of a request has its recorder.
type recorded struct{}

// sent is what the client of r has by now.
func sent(r *http.Request) int {
	synctest.Wait()
	return r.Context().Value(recorded{}).(*httptest.ResponseRecorder).Body.Len()
}

func status(w *httptest.ResponseRecorder) string { return w.Result().Header.Get("Cache-Status") }

// TestHoldTime: a response is held back for a moment, if there is enough of it.
func TestHoldTime(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		declared int
		wait     time.Duration
		sent     bool
		status   string
	}{
		{"small", sentAtOnce, -1, time.Hour, false, "cacheaside; fwd=miss; ttl=3600; stored"},
		{"in time", sentAtOnce + 1, -1, holdTime - 1, false, "cacheaside; fwd=miss; ttl=3600; stored"},
		{"late", sentAtOnce + 1, -1, holdTime + 1, true, "cacheaside; fwd=miss"},
		{"complete", sentAtOnce + 1, sentAtOnce + 1, holdTime + 1, false, "cacheaside; fwd=miss; ttl=3600; stored"},
		{"not complete", sentAtOnce + 1, sentAtOnce + 5, holdTime + 1, true, "cacheaside; fwd=miss"},
		{"large", 1 << 20, -1, 0, false, "cacheaside; fwd=miss; ttl=3600; stored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
				size := tt.size
				if tt.declared >= 0 {
					size = tt.declared
					w.Header().Set("Content-Length", strconv.Itoa(size))
				}
				_, _ = w.Write(make([]byte, tt.size))
				time.Sleep(tt.wait)
				if n := sent(r); n != 0 != tt.sent {
					t.Errorf("the client has %d bytes of %d after %v", n, tt.size, tt.wait)
				}
				_, _ = w.Write(make([]byte, size-tt.size))
			}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
				if got := status(get()); got != tt.status {
					t.Errorf("Cache-Status is %q, want %q", got, tt.status)
				}
				if w := get(); !strings.HasPrefix(status(w), "cacheaside; hit") || w.Body.Len() != max(tt.size, tt.declared) {
					t.Errorf("then %q with %d bytes", status(w), w.Body.Len())
				}
			})
		})
	}
}

// TestHoldBytes: more than that leaves when more comes, and never where there is no limit.
func TestHoldBytes(t *testing.T) {
	for _, hold := range []int64{1, 10_000, 1 << 62, 1<<63 - 1} {
		streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
			for n := int64(0); n < 30_000; n += 1000 {
				if got := sent(r); (got > 0) != (n-1000 > hold) {
					t.Errorf("%d of %d bytes have left, %d are to be held back", got, n, hold)
				}
				_, _ = w.Write(make([]byte, 1000))
			}
			if hold == 1<<63-1 {
				time.Sleep(time.Hour)
				if n := sent(r); n > 0 {
					t.Errorf("%d bytes have left", n)
				}
			}
		}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
			get()
			if w := get(); !strings.HasPrefix(status(w), "cacheaside; hit") || w.Body.Len() != 30_000 {
				t.Errorf("then %q with %d bytes", status(w), w.Body.Len())
			}
		}, func(c *cacheaside.Config) { c.Policy.Storing.HoldBytes = hold })
	}
}

// TestHeaderWhileItLeaves: the handler may go on to use its header while the response
// leaves, and what it sets is not sent any more.
func TestHeaderWhileItLeaves(t *testing.T) {
	streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-H", "sent")
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		for i := range 2 * int(holdTime/time.Millisecond) {
			h.Set("X-H", strconv.Itoa(i))
			h.Set("X-Late-"+strconv.Itoa(i), "1")
			time.Sleep(time.Millisecond)
		}
		if sent(r) == 0 {
			t.Error("nothing has left")
		}
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		for _, want := range []string{"cacheaside; fwd=miss", "cacheaside; hit"} {
			w := get()
			if h := w.Result().Header; !strings.HasPrefix(status(w), want) || h.Get("X-H") != "sent" || h.Get("X-Late-0") != "" || w.Body.Len() != 2*sentAtOnce {
				t.Errorf("%v, want %q, %d bytes", h, want, w.Body.Len())
			}
		}
	})
}

// TestStale5xxIsNotSent: what a stale response may replace is held back, however long.
func TestStale5xxIsNotSent(t *testing.T) {
	fails := false
	streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if fails {
			w.WriteHeader(http.StatusBadGateway)
		}
		for range 1000 {
			_, _ = w.Write(make([]byte, 1000))
			time.Sleep(time.Millisecond)
		}
		if fails && sent(r) > 0 {
			t.Error("the client gets the error")
		}
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		get()
		time.Sleep(2 * time.Hour)
		fails = true
		if w := get(); w.Code != 200 || !strings.Contains(status(w), "stale-if-error") {
			t.Errorf("%d, %q", w.Code, status(w))
		}
	}, func(c *cacheaside.Config) { c.Policy.Stale.IfError = 24 * time.Hour })
}

// TestRefusedReplaces: a newer response that is let go because it is not for others takes
// the stored one away, as one that is held back does.
func TestRefusedReplaces(t *testing.T) {
	private, validated := false, false
	streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
		validated = validated || r.Header.Get("If-None-Match") != ""
		w.Header().Set("Etag", `"1"`)
		if private {
			w.Header().Set("Cache-Control", "private")
		}
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		time.Sleep(2 * holdTime)
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		get()
		time.Sleep(61 * time.Minute)
		private = true
		if w := get(); status(w) != "cacheaside; fwd=stale; detail=private" {
			t.Errorf("Cache-Status is %q", status(w))
		}
		if !validated {
			t.Error("the stored response was not validated")
		}
		if w := get(); !strings.HasPrefix(status(w), "cacheaside; fwd=miss") {
			t.Errorf("Cache-Status is %q: the old one is still there", status(w))
		}
	})
}

// TestCutShort: a response that has left and ends before its length is not stored.
func TestCutShort(t *testing.T) {
	streamed(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write(make([]byte, 9000))
		time.Sleep(2 * holdTime)
	}, func(get func(...string) *httptest.ResponseRecorder, cache *cacheaside.Cache) {
		for range 2 {
			if w := get(); w.Body.Len() != 9000 || status(w) != "cacheaside; fwd=miss" {
				t.Errorf("%d bytes, %q", w.Body.Len(), status(w))
			}
		}
		if st := cache.Stats(); st.Stores != 0 || st.CaptureBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestLongerThanDeclared: likewise. What it makes of the rest is for the server to say.
func TestLongerThanDeclared(t *testing.T) {
	streamed(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write(make([]byte, 9000))
		time.Sleep(2 * holdTime)
		_, _ = w.Write(make([]byte, 1001))
	}, func(get func(...string) *httptest.ResponseRecorder, cache *cacheaside.Cache) {
		get()
		if st := cache.Stats(); st.Stores != 0 || st.CaptureBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestFlushWhileItLeaves: it has left already, and is stored all the same.
func TestFlushWhileItLeaves(t *testing.T) {
	streamed(t, nil, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		time.Sleep(2 * holdTime)
		w.(http.Flusher).Flush()
		if !r.Context().Value(recorded{}).(*httptest.ResponseRecorder).Flushed {
			t.Error("nothing was flushed")
		}
		_, _ = io.WriteString(w, "end")
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		get()
		if w := get(); !strings.HasPrefix(status(w), "cacheaside; hit") || w.Body.Len() != 2*sentAtOnce+3 {
			t.Errorf("then %q with %d bytes", status(w), w.Body.Len())
		}
	})
}

// TestFrontPanicsWhileItLeaves: somebody in front panics while the response leaves: the
// handler hears of it when it writes next, or returns, as without a cache.
func TestFrontPanicsWhileItLeaves(t *testing.T) {
	for _, writes := range []bool{true, false} {
		var seen any
		front := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { seen = recover() }()
				next.ServeHTTP(panicking{w}, r)
			})
		}
		streamed(t, front, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 2*sentAtOnce))
			time.Sleep(2 * holdTime)
			if writes {
				_, _ = w.Write(nil)
				t.Error("the handler has not heard of it")
			}
		}, func(get func(...string) *httptest.ResponseRecorder, cache *cacheaside.Cache) {
			if get(); seen != "in front" {
				t.Errorf("recovered %v", seen)
			}
			if st := cache.Stats(); st.Stores != 0 || st.CaptureBytes != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

type panicking struct{ http.ResponseWriter }

func (panicking) Write([]byte) (int, error) { panic("in front") }

// TestCompressionInFront: it gets the bytes as they come, and what is stored is plain.
func TestCompressionInFront(t *testing.T) {
	front := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				next.ServeHTTP(w, r)
				return
			}
			z := gzip.NewWriter(w)
			defer z.Close()
			next.ServeHTTP(&zipping{w, z}, r)
		})
	}
	whole := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	streamed(t, front, func(w http.ResponseWriter, r *http.Request) {
		for rest := whole; len(rest) > 0; rest = rest[8192:] {
			_, _ = w.Write(rest[:8192])
			time.Sleep(2 * holdTime)
		}
		if sent(r) == 0 {
			t.Error("nothing has left")
		}
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		w := get("Accept-Encoding", "gzip")
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, whole) || w.Result().Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%d bytes, %v, %v", len(got), err, w.Result().Header)
		}
		if w := get(); !strings.HasPrefix(status(w), "cacheaside; hit") || !bytes.Equal(w.Body.Bytes(), whole) || w.Result().Header.Get("Content-Encoding") != "" {
			t.Errorf("then %v with %d bytes", w.Result().Header, w.Body.Len())
		}
	})
}

type zipping struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w *zipping) WriteHeader(status int) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}

func (w *zipping) Write(b []byte) (int, error) {
	if w.Header().Get("Content-Encoding") == "" {
		w.WriteHeader(http.StatusOK)
	}
	return w.z.Write(b)
}

func (w *zipping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestPersonalWhenItHasLeft: what middleware in front has made of it is for one client.
func TestPersonalWhenItHasLeft(t *testing.T) {
	front := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&onHeader{ResponseWriter: w, name: "Set-Cookie", value: "a=1"}, r)
		})
	}
	streamed(t, front, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		time.Sleep(2 * holdTime)
	}, func(get func(...string) *httptest.ResponseRecorder, cache *cacheaside.Cache) {
		get()
		if n := cache.Stats().Stores; n != 0 {
			t.Errorf("%d responses were stored", n)
		}
	})
}

// TestSetInFront: what is set from behind by way of a writer in front is part of the
// response, and the timer leaves such a header alone.
func TestSetInFront(t *testing.T) {
	front := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Front", "1")
			w.Header().Add("X-Both", "front")
			next.ServeHTTP(w, r)
		})
	}
	streamed(t, front, func(w http.ResponseWriter, r *http.Request) {
		before := r.Context().Value(recorded{}).(*httptest.ResponseRecorder).Header()
		w.Header().Add("X-Both", "handler")
		before.Set("X-Session", "1")
		before.Add("X-Both", "session")
		before.Del("X-Front")
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		for i := range 2 * int(holdTime/time.Millisecond) { // nobody else has it
			before.Set("X-Session", strconv.Itoa(i))
			time.Sleep(time.Millisecond)
		}
	}, func(get func(...string) *httptest.ResponseRecorder, _ *cacheaside.Cache) {
		h := get().Result().Header
		if got := strings.Join(h.Values("X-Both"), " "); got != "front handler session" || h.Get("X-Session") == "" || h.Get("X-Front") != "" {
			t.Errorf("%v", h)
		}
	})
}

// TestHandlesBehindOneAnother: what the one has let go does not wait at the next.
func TestHandlesBehindOneAnother(t *testing.T) {
	other := cacheaside.Must(cacheaside.New(cacheaside.Config{Policy: cacheaside.Policy{TTL: time.Hour}}))
	defer other.Close(t.Context())
	streamed(t, New(other), func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 2*sentAtOnce))
		time.Sleep(holdTime + 1)
		if sent(r) == 0 {
			t.Error("nothing has left")
		}
		time.Sleep(holdTime)
	}, func(get func(...string) *httptest.ResponseRecorder, cache *cacheaside.Cache) {
		get()
		if a, b := cache.Stats().Stores, other.Stats().Stores; a != 1 || b != 1 {
			t.Errorf("%d and %d are stored", a, b)
		}
	})
}
