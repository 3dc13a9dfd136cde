package coretest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// What a purge reaches: everything that answers for the public URL, by whatever
// policy and spelling it was stored, and whoever purges. Policies × kinds of purge ×
// who purges.
var matrixCases = []testCase{
	{name: "purges reach all policies", run: testMatrix},
	{name: "purges without stamps reach what they say", run: testMatrixWithout},
}

// stored is one way to store a response.
type stored struct {
	name   string // ends the path
	policy func(*cacheaside.Policy)
	query  string
	fields []string // of the request
	answer []string // of the response
	// public is the URL by which it is purged, with "~" for the path; "": that with
	// https, as of a proxy that ends TLS, and with the query.
	public string
	spell  string // the end of the path as the request has it; "": name
	status int
	length int // of the body
}

// ways are the rows of the matrix.
func ways() []stored {
	query := func(s cacheaside.Selection) func(*cacheaside.Policy) {
		return func(p *cacheaside.Policy) { p.Key.Query = s }
	}
	tracking := query(cacheaside.Except(cacheaside.TrackingParameters()...))
	coalesce := func(how cacheaside.CoalescingScope) func(*cacheaside.Policy) {
		return func(p *cacheaside.Policy) { p.Coalescing.Scope = how }
	}
	const long = "a-name-as-long-as-it-takes-to-exceed-what-keys-and-tags-are-written-out-for-"
	return []stored{
		{name: "default"},
		{name: "http", public: "http://" + defaultHost + "~"},
		{name: "query", query: "?b=2&a=1", public: "https://" + defaultHost + "~?a=1&b=2"},
		{name: "ordered", query: "?b=2&a=1", policy: func(p *cacheaside.Policy) { p.Key.KeepQueryOrder = true }},
		{name: "no-scheme", policy: func(p *cacheaside.Policy) { p.Key.IgnoreScheme = true }},
		{name: "no-host", policy: func(p *cacheaside.Policy) { p.Key.IgnoreHost = true }},
		{name: "other-host", policy: func(p *cacheaside.Policy) { p.Key.IgnoreHost = true }, public: "https://other.test~"},
		{name: "no-query", query: "?a=1", policy: query(cacheaside.None())},
		{name: "other-query", query: "?a=1", policy: query(cacheaside.None()), public: "https://" + defaultHost + "~?b=2"},
		{name: "without-query", query: "?a=1", policy: query(cacheaside.None()), public: "https://" + defaultHost + "~"},
		{name: "only", query: "?page=2&x=1", policy: query(cacheaside.Only("page")), public: "https://" + defaultHost + "~?x=2&page=2"},
		{name: "tracked", query: "?utm_source=a", policy: tracking, public: "https://" + defaultHost + "~"},
		{name: "tracking", query: "?page=1", policy: tracking, public: "https://" + defaultHost + "~?gclid=1&page=1"},
		{name: "neither", query: "?a=1", public: "https://other.test~?b=1", policy: func(p *cacheaside.Policy) {
			p.Key.IgnoreHost, p.Key.IgnoreScheme, p.Key.Query = true, true, cacheaside.None()
		}},
		{name: "generated", policy: func(p *cacheaside.Policy) {
			p.Key.Generator = func(r *cacheaside.Request) string { return "k" + r.Path }
		}},
		{name: "partition", policy: func(p *cacheaside.Policy) { p.Key.Partition = func(*cacheaside.Request) string { return "tenant" } }},
		{name: "key-headers", policy: func(p *cacheaside.Policy) { p.Key.Headers = []string{"X-Tenant"} }, fields: []string{"X-Tenant: 1"}},
		{name: "key-cookies", policy: func(p *cacheaside.Policy) { p.Key.Cookies = []string{"lang"} }, fields: []string{"Cookie: lang=de"}},
		{name: "no-cookies", policy: func(p *cacheaside.Policy) { p.Requests.Cookies = cacheaside.None() }, fields: []string{"Cookie: a=1"}},
		{name: "cookie", fields: []string{"Cookie: a=1"}, answer: []string{"Cache-Control", "public, max-age=60"}},
		{name: "varied", fields: []string{"Accept: text/plain"}, answer: []string{"Vary", "Accept"}},
		{name: "coded", fields: []string{"Accept-Encoding: br;q=0.5, gzip"}, answer: []string{"Vary", "Accept-Encoding"}},
		{name: "varied-key", fields: []string{"Accept: text/plain", "X-Tenant: 1"}, answer: []string{"Vary", "Accept"}, policy: func(p *cacheaside.Policy) {
			p.Key.Headers, p.Key.IgnoreHost = []string{"X-Tenant"}, true
		}},
		{name: "public", fields: []string{"Authorization: Bearer 1"}, answer: []string{"Cache-Control", "public, max-age=60"}},
		{name: "s-maxage", fields: []string{"Authorization: Bearer 1"}, answer: []string{"Cache-Control", "s-maxage=60"}},
		{name: "authorized", fields: []string{"Authorization: Bearer 1"}, policy: func(p *cacheaside.Policy) { p.Storing.Authorized = true }},
		{name: "process", policy: coalesce(cacheaside.CoalesceProcess)},
		{name: "none", policy: coalesce(cacheaside.CoalesceNone)},
		{name: "none-varied", policy: coalesce(cacheaside.CoalesceNone), fields: []string{"Accept: a"}, answer: []string{"Vary", "Accept"}},
		{name: "deaf", policy: func(p *cacheaside.Policy) { p.Requests.IgnoreDirectives = true }, fields: []string{"Cache-Control: no-cache"}},
		{name: "head-too", policy: func(p *cacheaside.Policy) { p.Requests.Methods = []string{http.MethodGet} }},
		{name: "rfc", answer: []string{"Cache-Control", "max-age=60"}, policy: func(p *cacheaside.Policy) { p.Requests.ForwardConditions, p.Requests.ValidateVariants = true, true }},
		{name: "negative", status: 404, policy: func(p *cacheaside.Policy) { p.StatusTTL = map[int]time.Duration{404: time.Minute} }},
		{name: "moved", status: 301, answer: []string{"Location", "/"}},
		{name: "large", length: 100 << 10},
		{name: long + long + long + long},
		{name: long, query: "?" + long + long + long},
		{name: "forwarded-proto", fields: []string{"X-Forwarded-Proto: https"}},
		{name: "ignored-proto", fields: []string{"X-Forwarded-Proto: https"}, policy: func(p *cacheaside.Policy) { p.Key.IgnoreForwarded = true }},
		{name: "forwarded-host", fields: []string{"Host: 10.0.0.1:8080", "X-Forwarded-Host: public.test"}, public: "https://public.test~"},
		{name: "ignored-host", fields: []string{"Host: 10.0.0.1:8080", "X-Forwarded-Host: public.test"}, public: "https://public.test~", policy: func(p *cacheaside.Policy) { p.Key.IgnoreForwarded = true }},
		{name: "forwarded", fields: []string{"Host: 10.0.0.1:8080", `Forwarded: for=192.0.2.1;host="public.test";proto=https`}, public: "https://public.test~"},
		{name: "backend", fields: []string{"Host: 10.0.0.1:8080", "X-Forwarded-Host: public.test"}, public: "http://10.0.0.1:8080~"},
		{name: "upper-host", fields: []string{"Host: EXAMPLE.test"}, public: "https://Example.TEST~"},
		{name: "port-80", fields: []string{"Host: example.test:80"}},
		{name: "port-443", public: "https://example.test:443~"},
		{name: "other-port", fields: []string{"Host: example.test:8080"}, public: "https://example.test:8080~"},
		{name: "dot", fields: []string{"Host: example.test."}},
		{name: "no-dot", public: "https://example.test.~"},
		{name: "spelled/x", spell: "spelled/%78"},
		{name: "hex/hü|", spell: "hex/%68%c3%bc%7c", public: "https://" + defaultHost + "/m/^/hex/h%C3%BC%7C"},
		{name: "space/a b", spell: "space/a%20b", query: "?q=a+b", public: "https://" + defaultHost + "/m/^/space/a%20b?q=a%20b"},
		{name: "query-hex", query: "?q=%61%c3%bc&%70=1|2", public: "https://" + defaultHost + "~?p=1%7C2&q=aü"},
	}
}

// url is the public URL, where the path is below that of who.
func (w *stored) url(who string) string {
	public := w.public
	if public == "" {
		public = "https://" + defaultHost + "~" + w.query
	}
	return strings.ReplaceAll(strings.ReplaceAll(public, "~", "/m/"+who+"/"+w.name), "^", who)
}

// target is what clients ask for.
func (w *stored) target(who string) string {
	if w.spell != "" {
		return "/m/" + who + "/" + w.spell + w.query
	}
	return "/m/" + who + "/" + w.name + w.query
}

// tag is one that the response has.
func (w *stored) tag(who string) string { return "m-" + who + "-" + w.name[:min(len(w.name), 40)] }

// roundField tells what was made before a purge from what was made after it.
const roundField = "X-Round"

func (w *stored) handler(round *atomic.Int64) Handler {
	return func(x Ctx) error {
		x.SetHeader(roundField, fmt.Sprint(round.Load()))
		who := strings.Split(x.Path(), "/")[2]
		for i := 0; i < len(w.answer); i += 2 {
			x.SetHeader(w.answer[i], w.answer[i+1])
		}
		x.SetHeader("Cache-Tag", w.tag(who))
		return x.Send(max(w.status, 200), plain, make([]byte, 1+w.length))
	}
}

// path is that of the route: frameworks differ in how they read escapes.
func (w *stored) path(who string) string {
	if dir, _, ok := strings.Cut(w.spell, "/"); ok {
		return "/m/" + who + "/" + dir + "/*"
	}
	return "/m/" + who + "/" + w.name
}

// change answers unsafe requests: by naming the target, or as that of x.
func change(x Ctx) error {
	if to := x.Header("X-To"); to != "" {
		x.SetHeader("Location", to)
		return x.Send(http.StatusCreated, plain, nil)
	}
	return x.NoContent(http.StatusNoContent)
}

// purger is somebody who purges.
type purger struct {
	name string
	by   *cacheaside.Cache
	site *site // for unsafe requests
}

// matrix is a service in two processes, and who purges.
type matrix struct {
	*run
	rows    []stored
	round   atomic.Int64
	sites   [2]*site // of two processes with the same policies
	purgers []purger
}

// matrix makes the services: purgers are a handle that stores, another one of its
// cache, one of another process with the same policies, and one of a process that
// knows none of them.
func (c *run) matrix() *matrix {
	c.Helper()
	store := c.Store()
	m := &matrix{run: c, rows: ways()}
	names := []string{"own", "base", "same", "stranger"}
	build := func(base *cacheaside.Cache) *site {
		app := App{}
		for i := range m.rows {
			w := &m.rows[i]
			h := base
			if w.policy != nil {
				h = c.With(base, w.policy)
			}
			for _, who := range names {
				app.Routes = append(app.Routes, Route{Path: w.path(who), Cache: h, Handler: w.handler(&m.round)})
			}
		}
		return c.Site(app)
	}
	config := func(cfg *cacheaside.Config) { cfg.Store, cfg.Policy.Stale.WhileRevalidate = store, time.Minute }
	changes := func(cache *cacheaside.Cache) *site {
		return c.Site(App{Global: cache, Routes: []Route{{Path: "/m/*", Methods: []string{"DELETE", "POST"}, Handler: change}}})
	}
	one, two := c.Cache(config), c.Cache(config)
	stranger := c.Cache(config, func(cfg *cacheaside.Config) { cfg.Policy.Key.MaxBytes, cfg.Policy.Stale.WhileRevalidate = 64, 0 })
	m.sites = [2]*site{build(one), build(two)}
	own := c.With(one, func(p *cacheaside.Policy) { p.Key.IgnoreHost = true })
	for i, by := range []*cacheaside.Cache{own, one, two, stranger} {
		m.purgers = append(m.purgers, purger{names[i], by, changes(by)})
	}
	return m
}

func (m *matrix) each(f func(p *purger, w *stored)) {
	for i := range m.purgers {
		for j := range m.rows {
			if m.tried(i, j) {
				f(&m.purgers[i], &m.rows[j])
			}
		}
	}
}

// tried: each row has one of the purgers, in turn, or all of them in a long run.
func (m *matrix) tried(purger, row int) bool {
	return storetest.Long() || row%len(m.purgers) == purger
}

// fill has everything stored.
func (m *matrix) fill() {
	m.Helper()
	m.each(func(p *purger, w *stored) { m.sites[0].Get(w.target(p.name), w.fields...) })
	m.flush(m.sites[0].cache)
}

// next sees to it that what is stored was made since the last purge, and from now on
// before the next one.
func (m *matrix) next() {
	m.Helper()
	m.flush(m.sites[0].cache)
	m.Clock.Advance(10 * time.Second) // another background run may follow the last one
	m.each(func(p *purger, w *stored) {
		m.Eventually(w.target(p.name)+" is stored", func() bool {
			r := m.sites[1].Get(w.target(p.name), w.fields...)
			status := r.CacheStatus()
			return status["hit"] != "" && status["detail"] != "stale-while-revalidate" && r.Header.Get(roundField) == fmt.Sprint(m.round.Load())
		})
	})
	m.round.Add(1)
}

// gone checks that nobody is answered with what was made before the purge, or only
// with what is known to be stale.
func (m *matrix) gone(what string, soft bool) {
	m.Helper()
	m.Clock.Advance(time.Second) // what is known of prefixes and all is read anew
	m.each(func(p *purger, w *stored) {
		for i, s := range m.sites {
			r := s.Get(w.target(p.name), w.fields...)
			if r.Header.Get(roundField) == fmt.Sprint(m.round.Load()) || soft && r.CacheStatus()["detail"] == "stale-while-revalidate" {
				continue
			}
			m.Errorf("%s by %s leaves %s for process %d, which asks for it as %.60q", what, p.name, w.url(p.name), i+1, w.target(p.name))
		}
	})
}

func testMatrix(c *run) {
	m := c.matrix()
	ctx := context.Background() // Timeouts.Purge ends what hangs
	byURL := []func(p *purger, raw string) error{
		func(p *purger, raw string) error { return p.by.PurgeURL(ctx, raw) },
		func(p *purger, raw string) error { return p.order(ctx, "PURGE", raw, nil) },
		func(p *purger, raw string) error {
			return p.order(ctx, http.MethodPost, "", map[string]any{"urls": []string{raw}})
		},
		func(p *purger, raw string) error { return p.change(http.MethodDelete, raw, "") },
		func(p *purger, raw string) error {
			u := cacheaside.Must(url.Parse(raw))
			return p.change(http.MethodPost, u.Scheme+"://"+u.Host+"/m/"+p.name, u.RequestURI())
		},
	}
	each := func(f func(p *purger, w *stored) error) func() {
		return func() { m.each(func(p *purger, w *stored) { c.purged(f(p, w)) }) }
	}
	// Each kind for each row and for each purger, in two rounds.
	rotated := func(round int) func() {
		return func() {
			for i := range m.purgers {
				for j := range m.rows {
					if !m.tried(i, j) {
						continue
					}
					p := &m.purgers[i]
					c.purged(byURL[(i+j+round*3)%len(byURL)](p, m.rows[j].url(p.name)))
				}
			}
		}
	}
	// A purge of a prefix takes its time, so they are all at once.
	prefixes := func(f func(p *purger, prefix string) error) func() {
		return func() {
			errs := make(chan error, len(m.purgers)*len(m.rows))
			var wg sync.WaitGroup
			for i := range m.purgers {
				p, hosts := &m.purgers[i], map[string]bool{}
				for j := range m.rows {
					host, _, _ := strings.Cut(m.rows[j].url(p.name), "/m/")
					if !hosts[host] {
						hosts[host] = true
						wg.Go(func() { errs <- f(p, host+"/m/"+p.name) })
					}
				}
			}
			wg.Wait()
			close(errs)
			for err := range errs {
				c.purged(err)
			}
		}
	}
	m.fill()
	for _, kind := range []struct {
		name  string
		soft  bool
		purge func()
	}{
		{"a purge of the URL", false, rotated(0)},
		{"another purge of the URL", false, rotated(1)},
		{"PurgeTags", false, each(func(p *purger, w *stored) error { return p.by.PurgeTags(ctx, w.tag(p.name)) })},
		{"PurgePrefix", false, prefixes(func(p *purger, prefix string) error {
			return p.by.Purge(ctx, cacheaside.Purge{Prefixes: []string{prefix}})
		})},
		{"PurgeAll", false, func() { c.purged(m.purgers[3].by.Purge(ctx, cacheaside.Purge{All: true})) }},
		{"SoftPurgeTags", true, each(func(p *purger, w *stored) error {
			return p.by.Purge(ctx, cacheaside.Purge{Tags: []string{w.tag(p.name)}, Soft: true})
		})},
		{"SoftPurgePrefix", true, prefixes(func(p *purger, prefix string) error {
			return p.by.Purge(ctx, cacheaside.Purge{Prefixes: []string{prefix}, Soft: true})
		})},
		{"SoftPurgeAll", true, func() { c.purged(m.purgers[0].by.Purge(ctx, cacheaside.Purge{All: true, Soft: true})) }},
	} {
		m.next()
		kind.purge()
		m.gone(kind.name, kind.soft)
	}
}

// order asks the endpoint of a purger's cache.
func (p *purger) order(ctx context.Context, method, raw string, order any) error {
	e := cacheaside.Must(p.by.PurgeEndpoint(cacheaside.PurgeAccess{Token: purgeToken}))
	u := cacheaside.Must(url.Parse(raw))
	body := cacheaside.Must(json.Marshal(order))
	if r := e.Serve(ctx, &cacheaside.Request{
		Method: method, Scheme: "http", Host: u.Host, Path: u.EscapedPath(), RawQuery: u.RawQuery,
		Header: http.Header{"Authorization": {"Bearer " + purgeToken}},
	}, body); r.Status != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, raw, r.Status, r.Body)
	}
	return nil
}

// change sends an unsafe request by way of a purger's cache.
func (p *purger) change(method, raw, location string) error {
	u := cacheaside.Must(url.Parse(raw))
	fields := []string{"Host: " + u.Host}
	if location != "" {
		fields = append(fields, "X-To: "+location)
	}
	if r := p.site.Do(method, u.RequestURI(), "", fields...); r.Status >= 300 {
		return fmt.Errorf("%s: status %d", r.What, r.Status)
	}
	return nil
}

// testMatrixWithout: a store that orders nothing is either purged of a URL, or the
// caller hears that something may be left.
func testMatrixWithout(c *run) {
	app := App{}
	rows := ways()
	caches := make([]*cacheaside.Cache, len(rows))
	for i := range rows {
		w := &rows[i]
		base := c.Cache(func(cfg *cacheaside.Config) {
			cfg.Store, cfg.Namespace = unstamped{c.Store()}, c.namespace+fmt.Sprint(i)
		})
		caches[i] = base
		if w.policy != nil {
			base = c.With(base, w.policy)
		}
		app.Routes = append(app.Routes, Route{Path: w.path("own"), Cache: base, Handler: w.handler(new(atomic.Int64))})
	}
	s := c.Site(app)
	plainly := 0
	for i := range rows {
		w := &rows[i]
		ask := func() bool {
			hit := s.Get(w.target("own"), w.fields...).CacheStatus()["hit"] != ""
			c.flush(caches[i])
			return hit
		}
		ask()
		if !ask() {
			c.Fatalf("%s is not stored", w.name)
		}
		ctx := c.context()
		for what, err := range map[string]error{
			"tags": caches[i].PurgeTags(ctx, w.tag("own")), "soft tags": caches[i].Purge(ctx, cacheaside.Purge{Tags: []string{w.tag("own")}, Soft: true}),
			"prefix": caches[i].Purge(ctx, cacheaside.Purge{Prefixes: []string{w.url("own")}}), "soft prefix": caches[i].Purge(ctx, cacheaside.Purge{Prefixes: []string{w.url("own")}, Soft: true}),
			"all": caches[i].Purge(ctx, cacheaside.Purge{All: true}), "soft all": caches[i].Purge(ctx, cacheaside.Purge{All: true, Soft: true}),
		} {
			if !errors.Is(err, cacheaside.ErrCannotPurge) {
				c.Errorf("%s: a purge of %s: %v", w.name, what, err)
			}
		}
		err := caches[i].PurgeURL(ctx, w.url("own"))
		left := ask()
		switch {
		case err != nil && !errors.Is(err, cacheaside.ErrCannotPurge):
			c.Errorf("%s: %v", w.name, err)
		case err == nil && left:
			c.Errorf("%s: %s is left, and nothing says so", w.name, w.url("own"))
		case err == nil:
			plainly++
		}
	}
	if plainly < 10 {
		c.Errorf("only %d of %d could be purged", plainly, len(rows))
	}
}
