package coretest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// The response to a POST that is stored for GET (RFC 9110 section 9.3.3).
var postCases = []testCase{
	{name: "POST stored for GET", run: testPost},
	{name: "POST that is not stored", run: testPostNotStored},
	{name: "POST stored with tags", run: testPostTags},
	{name: "POST and what is purged meanwhile", run: testPostPurged},
	{name: "POST and GET at once", run: testPostAndGet},
	{name: "POST that streams", run: testPostStreams},
	{name: "POST stored, without the policy", run: testPostOff},
}

// counter shows a number, which a POST raises.
type counter struct {
	n      atomic.Int64
	during func(Ctx) (done bool, err error) // when the number is known
}

func (n *counter) handle(x Ctx) error {
	now := n.n.Load()
	if x.Method() == "POST" {
		now = n.n.Add(1)
		x.SetHeader("Content-Location", "/x?a=1")
	}
	x.SetHeader("Cache-Control", "max-age=60")
	if n.during != nil {
		if done, err := n.during(x); done || err != nil {
			return err
		}
	}
	return x.Send(200, plain, strconv.AppendInt(nil, now, 10))
}

func (c *run) counting(change ...func(*cacheaside.Policy)) (*site, *counter) {
	c.Helper()
	n := &counter{}
	cache := c.Cache(func(cfg *cacheaside.Config) {
		cfg.Namespace = randomName()
		cfg.Policy = cacheaside.Policy{Storing: cacheaside.StoringPolicy{Post: true}}
		for _, f := range change {
			f(&cfg.Policy)
		}
	})
	app := one(cache, n.handle)
	app.Routes[0].Methods = []string{"GET", "HEAD", "POST"}
	return c.Site(app), n
}

const numberAt = "/x?a=1"

func testPost(c *run) {
	s, n := c.counting()
	for i := range 3 {
		want := strconv.Itoa(i + 1)
		s.Do("POST", numberAt, "data").Fwd("method").Stored().Is(200, want).Has("Content-Location", numberAt)
		s.Get(numberAt).Hit().Is(200, want)
		s.Head(numberAt).Hit().Is(200, "")
		s.Get("/x?a=2").NotHit().Is(200, want)                             // another resource, of which the POST has said nothing
		later := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) // than the Date that is stored, whatever clock a server has
		s.Get(numberAt, "If-Modified-Since: "+later).Hit().Is(304, "")
		n.n.Store(int64(i + 1))
		c.purged(s.cache.PurgeURL(c.context(), "http://"+defaultHost+"/x?a=2"))
	}
	c.purged(s.cache.PurgeURL(c.context(), "http://"+defaultHost+numberAt))
	s.Get(numberAt).NotHit().Stored()
	s.Do("PUT", numberAt, "data") // no such route
	s.Do("POST", numberAt, "data", "X-HTTP-Method-Override: PUT").Fwd("method").NotStored()
	s.Get(numberAt).NotHit().Is(200, "4")
}

func testPostNotStored(c *run) {
	s, n := c.counting()
	set := func(fields ...string) func(Ctx) (bool, error) {
		return func(x Ctx) (bool, error) {
			if x.Method() == "POST" {
				for i := 0; i < len(fields); i += 2 {
					x.SetHeader(fields[i], fields[i+1])
				}
			}
			return false, nil
		}
	}
	for _, tt := range []struct {
		name   string
		during func(Ctx) (bool, error)
		detail string
	}{
		{"of another URI", set("Content-Location", "/x?a=2"), ""},
		{"of another host", set("Content-Location", "http://other.test/x?a=1"), ""},
		{"of no URI", set("Content-Location", "http://[:/"), ""},
		{"without Content-Location", func(x Ctx) (bool, error) { x.DelHeader("Content-Location"); return false, nil }, ""},
		{"with two of them", func(x Ctx) (bool, error) { x.AddHeader("Content-Location", "/x?a=1"); return false, nil }, ""},
		{"without freshness", set("Cache-Control", "public"), "no-freshness"},
		{"that is stale", set("Cache-Control", "max-age=0"), "expired"},
		{"to be validated", set("Cache-Control", "no-cache, max-age=60", "Etag", `"a"`), "no-freshness"},
		{"no-store", set("Cache-Control", "no-store, max-age=60"), "no-store"},
		{"private", set("Cache-Control", "private, max-age=60"), "private"},
		{"with a cookie", set("Set-Cookie", "a=b"), "set-cookie"},
		{"that varies", set("Vary", "Accept"), "vary"},
		{"in a coding", set("Content-Encoding", "x"), "vary"},
		{"201", func(x Ctx) (bool, error) {
			if x.Method() == "POST" {
				return true, x.Send(201, plain, []byte("made"))
			}
			return false, nil
		}, "status"},
	} {
		n.during = nil
		s.Get(numberAt)
		s.Get(numberAt).Hit()
		n.during = tt.during
		r := s.Do("POST", numberAt, "data").Fwd("method").NotStored()
		if got := r.CacheStatus()["detail"]; got != tt.detail {
			c.Errorf("a POST %s: detail %q, want %q", tt.name, got, tt.detail)
		}
		n.during = nil
		s.Get(numberAt).NotHit().Is(200, strconv.FormatInt(n.n.Load(), 10))
	}
	s.Get(numberAt).Hit()
	n.during = func(x Ctx) (bool, error) { return true, x.Error(409, "no") }
	s.Do("POST", numberAt, "data").Fwd("method").NotStored()
	s.Get(numberAt).Hit() // nothing was changed
}

func testPostTags(c *run) {
	s, n := c.counting()
	n.during = func(x Ctx) (bool, error) {
		if !cacheaside.AddTags(x.Context(), "number") {
			return true, x.Error(500, "nobody hears")
		}
		return false, nil
	}
	s.Get(numberAt).Stored()
	s.Do("POST", numberAt, "data").Stored().Is(200, "1")
	s.Get(numberAt).Hit().Is(200, "1")
	c.purged(s.cache.PurgeTags(c.context(), "number"))
	s.Get(numberAt).NotHit().Is(200, "1")
}

func testPostPurged(c *run) {
	s, n := c.counting()
	s.Get(numberAt).Stored()
	for name, purge := range map[string]cacheaside.Purge{
		"URL":    {URLs: []string{"http://" + defaultHost + numberAt}},
		"prefix": {Prefixes: []string{"http://" + defaultHost + "/x"}},
		"all":    {All: true},
	} {
		n.during = func(x Ctx) (bool, error) {
			if x.Method() == "POST" { // of what was read by now
				n.n.Add(10)
				return false, s.cache.Purge(context.WithoutCancel(x.Context()), purge)
			}
			return false, nil
		}
		s.Do("POST", numberAt, "data").Fwd("method")
		n.during = nil
		if got, want := s.Get(numberAt).NotHit().Body, strconv.FormatInt(n.n.Load(), 10); got != want {
			c.Errorf("after a purge of the %s within a POST a GET gave %s, want %s", name, got, want)
		}
		s.Get(numberAt).Hit()
	}
}

func testPostAndGet(c *run) {
	s, n := c.counting()
	for _, varies := range []bool{false, true} {
		read, end := make(chan bool), make(chan bool)
		var once sync.Once
		n.during = func(x Ctx) (bool, error) {
			if x.Method() == "GET" {
				if varies {
					x.SetHeader("Vary", "Accept-Language")
				}
				once.Do(func() { close(read); <-end })
			}
			return false, nil
		}
		var get sync.WaitGroup
		before := strconv.FormatInt(n.n.Load(), 10)
		get.Go(func() {
			if r, err := s.Try(c.context(), "GET", numberAt, ""); err != nil || r.Body != before {
				c.Errorf("a GET that has begun before the POST: %v, %v", r, err)
			}
		})
		<-read
		after := strconv.FormatInt(n.n.Load()+1, 10)
		s.Do("POST", numberAt, "data").Stored().Is(200, after)
		s.Get(numberAt).Hit().Is(200, after)
		close(end)
		get.Wait()
		c.flush(s.cache)
		for range 2 {
			s.Get(numberAt).Is(200, after)
		}
		c.purged(s.cache.PurgeURL(c.context(), "http://"+defaultHost+numberAt))
	}
}

func testPostStreams(c *run) {
	s, n := c.counting(func(p *cacheaside.Policy) { p.Storing.HoldBytes, p.Storing.MaxBytes = 1<<10, 4<<10 })
	s.Get(numberAt).Stored()
	for _, flushes := range []bool{true, false} {
		n.during = func(x Ctx) (bool, error) {
			if x.Method() != "POST" {
				return false, nil
			}
			return true, x.Stream(200, plain, func(w Stream) error {
				for range 10 {
					if _, err := w.Write([]byte(strings.Repeat("x", 1<<10))); err != nil {
						return err
					}
					if flushes {
						if err := w.Flush(); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		r := s.Do("POST", numberAt, "data").Fwd("method").NotStored()
		if want := strings.Repeat("x", 10<<10); !strings.HasPrefix(r.Body, want) {
			c.Errorf("a streamed response has %d bytes, want %d", len(r.Body), len(want))
		}
		n.during = nil
		s.Get(numberAt).NotHit().Stored()
	}
	s.Do("POST", numberAt, "data").Stored()
}

func testPostOff(c *run) {
	s, _ := c.counting(func(p *cacheaside.Policy) { p.Storing.Post = false })
	s.Do("POST", numberAt, "data").Fwd("method").NotStored().Is(200, "1")
	s.Get(numberAt).Miss().Stored()
	s.Do("POST", numberAt, "data").Fwd("method").NotStored().Is(200, "2")
	s.Get(numberAt).NotHit().Is(200, "2")
}
