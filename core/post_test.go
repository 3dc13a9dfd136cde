package cacheaside_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// counted is a number that a POST raises, and that a GET and the answer to a POST show.
type counted struct {
	mu     sync.Mutex
	n      int
	vary   string // of a GET
	tagged bool
	before func(method string)
	after  func(method string) // the number was read, or changed
	answer http.Header         // of a POST
}

// at has f called once, at that point of a request's handler.
func (c *counted) at(before bool, method string, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hook := func(m string) {
		if m == method {
			c.mu.Lock()
			run := f
			f = nil
			c.mu.Unlock()
			if run != nil {
				run()
			}
		}
	}
	if before {
		c.before = hook
	} else {
		c.after = hook
	}
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	before, after := c.before, c.after
	c.mu.Unlock()
	if before != nil {
		before(r.Method)
	}
	c.mu.Lock()
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	if c.tagged {
		h.Set("Cache-Tag", "all-rows,row-a")
	}
	switch r.Method {
	case http.MethodPost:
		c.n++
		h.Set("Content-Location", r.URL.RequestURI())
		for name, values := range c.answer {
			h[name] = values
		}
	default:
		if c.vary != "" {
			h.Set("Vary", c.vary)
		}
	}
	n := c.n
	c.mu.Unlock()
	if after != nil {
		after(r.Method)
	}
	_, _ = fmt.Fprint(w, n)
}

// leavingWriter calls f when the header is sent.
type leavingWriter struct {
	*httptest.ResponseRecorder
	f func(http.Header)
}

func (w *leavingWriter) leave() {
	if f := w.f; f != nil {
		w.f = nil
		f(w.Header())
	}
}

func (w *leavingWriter) WriteHeader(code int) {
	w.leave()
	w.ResponseRecorder.WriteHeader(code)
}

func (w *leavingWriter) Write(p []byte) (int, error) {
	w.leave()
	return w.ResponseRecorder.Write(p)
}

// post sends a POST; leaving, which may be nil, is called as its response goes out.
func (i *instance) post(t testing.TB, path string, leaving func(http.Header)) (body, status string) {
	t.Helper()
	w := &leavingWriter{httptest.NewRecorder(), leaving}
	body = i.during(http.MethodPost, path, w)
	must(t, i.Flush(context.Background()))
	return body, w.Header().Get("Cache-Status")
}

// during is a request while another one is under way, whose write nobody waits for.
func (i *instance) during(method, path string, w *leavingWriter) (body string) {
	i.h.ServeHTTP(w, httptest.NewRequest(method, "http://example.com"+path, nil))
	return w.Body.String()
}

func storingPosts(cfg *cacheaside.Config) { cfg.Policy.Storing.Post = true }

// onStores runs f with a server and a store in the process.
func onStores(t *testing.T, f func(t *testing.T, s store.Store)) {
	t.Helper()
	t.Run("server", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, newServer(t)) }) })
	t.Run("memory", func(t *testing.T) {
		s, err := memory.New(1 << 20)
		must(t, err)
		defer func() { _ = s.Close() }()
		f(t, s)
	})
}

func TestRFC9110_9_3_3_PostIsStoredForGet(t *testing.T) {
	onStores(t, func(t *testing.T, s store.Store) {
		c := &counted{tagged: true}
		one, two := newInstance(t, s, c, storingPosts), newInstance(t, s, c, storingPosts)
		one.want(t, "/a?x=1", "0", "stored")
		one.want(t, "/a?x=2", "0", "stored")
		for n := 1; n <= 2; n++ {
			if body, status := one.post(t, "/a?x=1", nil); body != fmt.Sprint(n) || !strings.HasPrefix(status, "cacheaside; fwd=method; ttl=") || !strings.HasSuffix(status, "; stored") {
				t.Errorf("%q, %s", body, status)
			}
			two.want(t, "/a?x=1", fmt.Sprint(n), "hit")
			one.want(t, "/a?x=1", fmt.Sprint(n), "hit")
		}
		one.want(t, "/a?x=2", "0", "hit")
		must(t, two.PurgeTags(context.Background(), "row-a"))
		c.n = 7
		one.want(t, "/a?x=1", "7", "fwd=miss")
	})
}

// TestPurgeDuringPost: whoever purges while a POST is under way, at whatever moment, will
// not see its response in the cache.
func TestPurgeDuringPost(t *testing.T) {
	for name, purge := range hardWays {
		for _, when := range []string{"before the change", "after the change", "leaving", "stored"} {
			t.Run(name+" "+when, func(t *testing.T) {
				onStores(t, func(t *testing.T, s store.Store) {
					c := &counted{tagged: true}
					one, two := newInstance(t, s, c, storingPosts), newInstance(t, s, c, storingPosts)
					one.want(t, "/a", "0", "stored") // so that the store knows the tags
					change := func() {               // of which the POST knows nothing
						c.mu.Lock()
						c.n += 10
						c.mu.Unlock()
						must(t, purge(two))
					}
					var leaving func(http.Header)
					switch when {
					case "before the change":
						c.at(true, http.MethodPost, func() { must(t, purge(two)) })
					case "after the change":
						c.at(false, http.MethodPost, change)
					case "leaving":
						leaving = func(http.Header) { change() }
					}
					one.post(t, "/a", leaving)
					if when == "stored" {
						two.want(t, "/a", "1", "hit")
						change()
					}
					want := "11"
					if when == "before the change" {
						want = "1"
					}
					one.want(t, "/a", want, "fwd=")
					two.want(t, "/a", want, "")
				})
			})
		}
	}
}

// TestGetDuringPost: a GET that has read what a POST changes then does not take the place
// of what the POST has left, whoever ends first.
func TestGetDuringPost(t *testing.T) {
	for _, vary := range []string{"", "Accept-Language"} {
		for _, known := range []bool{false, true} { // that it varies
			for _, other := range []bool{false, true} { // process
				for _, ends := range []string{"within", "leaving", "last"} {
					t.Run(fmt.Sprintf("%s known=%v other=%v %s", vary, known, other, ends), func(t *testing.T) {
						onStores(t, func(t *testing.T, s store.Store) {
							c := &counted{vary: vary}
							one := newInstance(t, s, c, storingPosts)
							two := one
							if other {
								two = newInstance(t, s, c, storingPosts)
							}
							if known {
								two.want(t, "/a", "0", "stored", "Accept-Language", "de")
								if vary == "" {
									must(t, two.PurgeURL(context.Background(), "http://example.com/a"))
								}
							}
							read, end, done := make(chan bool), make(chan bool), make(chan bool)
							c.at(false, http.MethodGet, func() { close(read); <-end })
							go func() {
								defer close(done)
								if body := two.during(http.MethodGet, "/a", &leavingWriter{ResponseRecorder: httptest.NewRecorder()}); body != "0" {
									t.Errorf("a GET that has read 0 gave %q", body)
								}
							}()
							<-read
							finish := func() { close(end); <-done }
							var leaving func(http.Header)
							switch ends {
							case "within":
								c.at(true, http.MethodPost, finish)
							case "leaving":
								leaving = func(http.Header) { finish() }
							}
							one.post(t, "/a", leaving)
							if ends == "last" {
								one.want(t, "/a", "1", "hit")
								finish()
							}
							for range 2 {
								one.want(t, "/a", "1", "")
								two.want(t, "/a", "1", "")
								two.want(t, "/a", "1", "", "Accept-Language", "de")
							}
						})
					})
				}
			}
		}
	}
}

// TestPostDuringPost: of two, the one that has changed nothing of what the other one did
// leaves nothing behind.
func TestPostDuringPost(t *testing.T) {
	for _, other := range []bool{false, true} {
		for _, when := range []string{"handler", "leaving"} {
			t.Run(fmt.Sprintf("other=%v %s", other, when), func(t *testing.T) {
				onStores(t, func(t *testing.T, s store.Store) {
					c := &counted{}
					one := newInstance(t, s, c, storingPosts)
					two := one
					if other {
						two = newInstance(t, s, c, storingPosts)
					}
					inner := func() {
						if body := two.during(http.MethodPost, "/a", &leavingWriter{ResponseRecorder: httptest.NewRecorder()}); body != "2" {
							t.Errorf("the second POST gave %q", body)
						}
					}
					var leaving func(http.Header)
					if when == "handler" {
						c.at(false, http.MethodPost, inner)
					} else {
						leaving = func(http.Header) { inner() }
					}
					if body, _ := one.post(t, "/a", leaving); body != "1" {
						t.Errorf("the first POST gave %q", body)
					}
					for range 2 {
						one.want(t, "/a", "2", "")
						two.want(t, "/a", "2", "")
					}
					one.post(t, "/a", nil) // the first two hold nothing back
					two.want(t, "/a", "3", "hit")
				})
			})
		}
	}
}

// TestPostMadePersonal: what middleware in front makes of the response as it leaves counts.
func TestPostMadePersonal(t *testing.T) {
	onStores(t, func(t *testing.T, s store.Store) {
		c := &counted{}
		one := newInstance(t, s, c, storingPosts)
		one.want(t, "/a", "0", "stored")
		one.post(t, "/a", func(h http.Header) { h.Set("Set-Cookie", "a=b") })
		one.want(t, "/a", "1", "fwd=miss")
		one.post(t, "/a", nil)
		one.want(t, "/a", "2", "hit")
	})
}

// TestPostWithoutAStore: trouble of the store is none of the client's.
func TestPostWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t), &counted{}
		one := newInstance(t, s, c, storingPosts)
		one.want(t, "/a", "0", "stored")
		s.fail.Store(true) // what purges needs
		if body, status := one.post(t, "/a", nil); body != "1" || strings.Contains(status, "stored;") || strings.HasSuffix(status, "stored") {
			t.Errorf("%q, %s", body, status)
		}
		s.fail.Store(false)
		if body, status := one.post(t, "/a", nil); body != "2" || !strings.Contains(status, "stored") {
			t.Errorf("%q, %s", body, status)
		}
		one.want(t, "/a", "2", "hit")
		if n := one.Stats().Stores; n != 2 {
			t.Errorf("%d were stored, want 2", n)
		}
	})
}

// TestPostThatPanics: nobody knows what it has changed before.
func TestPostThatPanics(t *testing.T) {
	onStores(t, func(t *testing.T, s store.Store) {
		c := &counted{}
		one := newInstance(t, s, c, storingPosts)
		one.want(t, "/a", "0", "stored")
		c.at(false, http.MethodPost, func() { panic(http.ErrAbortHandler) })
		func() {
			defer func() { _ = recover() }()
			one.post(t, "/a", nil)
		}()
		one.want(t, "/a", "1", "fwd=miss")
		one.post(t, "/a", nil)
		one.want(t, "/a", "2", "hit")
	})
}

func TestPostOutlivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newServer(t), &counted{}
		one := newInstance(t, s, c, storingPosts)
		one.post(t, "/a", nil)
		synctest.Wait()
		s.mu.Lock()
		for key := range s.values {
			if strings.HasSuffix(key, ":lock") {
				t.Errorf("%s is left", key)
			}
		}
		s.mu.Unlock()
		time.Sleep(61 * time.Second)
		one.want(t, "/a", "1", "fwd=miss")
	})
}
