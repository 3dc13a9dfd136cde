package inspect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

var pageViews = [][2]string{
	{"status", "Status"}, {"charts", "Charts"}, {"routes", "Routes"}, {"reasons", "Not stored"}, {"top", "Top keys"},
	{"tail", "Tail"}, {"url", "One URL"}, {"purge", "Purge"}, {"config", "Configuration"},
}

const hostile = `<script>fired++</script><img src=x onerror=fired++>"'` + "\u202egnp.exe\u2066\x1b[31m"

// shop is a recorder that has seen a day of a shop, up to now.
func shop() *Recorder {
	at := time.Now().Add(-25 * time.Hour)
	r := NewRecorder(func() time.Time { return at })
	rng := rand.New(rand.NewPCG(7, 7))
	z := rand.NewZipf(rng, 1.2, 1, 4000)
	routes := []struct {
		route, path string
		share       float64 // of hits
		handler     time.Duration
		reason      observe.Reason
	}{
		{"/blogs/:id", "/blogs/%d", 0.94, 42 * time.Millisecond, 0}, {"/blogs", "/blogs?page=%d", 0.97, 110 * time.Millisecond, 0},
		{"/users/:id", "/users/%d", 0.4, 23 * time.Millisecond, observe.ReasonPrivate}, {"/search", "/search?q=%d", 0.55, 240 * time.Millisecond, 0},
		{"/news/latest", "/news/latest", 0.995, 65 * time.Millisecond, 0}, {"/cart", "/cart", 0, 18 * time.Millisecond, observe.ReasonSetCookie},
		{"/files/:name", "/files/%d.pdf", 0.7, 310 * time.Millisecond, observe.ReasonTooLarge}, {"/export", "/export?from=%d", 0, 1800 * time.Millisecond, observe.ReasonStream},
	}
	weights := []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6, 7}
	for ; time.Since(at) > 0; at = at.Add(5 * time.Second) {
		day := 1 + 0.6*math.Sin(float64(at.Unix())/86400*2*math.Pi) + 0.15*rng.Float64()
		purged := at.Unix()%5400 < 60
		n := int(9 * day)
		if time.Since(at) < time.Hour {
			n *= 5
		}
		for range n {
			x := routes[weights[rng.IntN(len(weights))]]
			path := x.path
			if strings.Contains(path, "%d") {
				path = fmt.Sprintf(path, z.Uint64())
			}
			e := observe.Event{
				Kind: observe.KindRequest, Route: x.route, Policy: "shop", Method: observe.MethodGet, Status: 200, Key: "shop:2:{GET:https://example.com" + path + "}",
				BodyBytes: int64(2000 + rng.IntN(9000)), Result: observe.ResultHit, Tier: observe.TierNear, Total: time.Duration(70+rng.ExpFloat64()*60) * time.Microsecond,
				Age: time.Duration(rng.IntN(28)) * time.Second, TTL: time.Duration(2+rng.IntN(28)) * time.Second, Saved: x.handler,
			}
			took := time.Duration(float64(x.handler) * (0.6 + rng.ExpFloat64()*0.5))
			switch p := rng.Float64(); {
			case p > x.share || purged && p > 0.2:
				e.Result, e.Tier, e.Cause, e.Saved, e.Age, e.TTL = observe.ResultMiss, observe.TierNone, observe.CauseExpired, 0, 0, 0
				e.Handler, e.Total, e.NotStored = took, took+time.Millisecond, x.reason
				if q := rng.Float64(); purged {
					e.Cause = observe.CausePurged
				} else if x.reason != 0 || q < 0.3 {
					e.Cause = observe.CauseCold
				} else if q < 0.36 {
					e.Cause = observe.CauseVary
				}
				if x.reason == observe.ReasonPrivate && rng.IntN(3) == 0 {
					e.NotStored = observe.ReasonNoFreshness
				}
				h := observe.Event{Kind: observe.KindHandler, Route: x.route, Time: at, Total: took}
				r.Observe(&h)
			case p > x.share-0.02 && x.share > 0.1:
				e.Result, e.Stale, e.TTL = observe.ResultStale, observe.StaleWhileRevalidate, -3*time.Second
			case p > x.share-0.03 && x.share > 0.1:
				e.Result, e.Tier, e.Wait, e.Total, e.FlightID = observe.ResultCollapsed, observe.TierNone, took, took, "f-81c2"
			case p > x.share-0.04 && x.share > 0.1:
				e.Result, e.Tier, e.Total = observe.ResultRevalidated, observe.TierStore, took
			case p < 0.3:
				e.Tier, e.Total = observe.TierStore, e.Total+500*time.Microsecond
			}
			if rng.IntN(40) == 0 {
				e.Result, e.Bypass, e.Cause, e.NotStored, e.Tier, e.Status, e.Total = observe.ResultBypass, observe.ReasonMethod, 0, 0, observe.TierNone, 201, took
				e.Method, e.Saved, e.Route = observe.MethodOther, 0, "/orders"
			}
			if rng.IntN(2000) == 0 {
				e.Result, e.Status, e.Cause = observe.ResultError, 500, observe.CauseStoreError
			}
			e.Time = at.Add(-e.Total)
			r.Observe(&e)
			if e.Result == observe.ResultMiss || e.Tier == observe.TierStore {
				c := observe.Event{Kind: observe.KindStoreCall, Op: observe.OpGet, Outcome: observe.OutcomeOK, Time: at, Total: time.Duration(300+rng.ExpFloat64()*200) * time.Microsecond}
				if rng.IntN(4000) == 0 {
					c.Outcome, c.Total = observe.OutcomeTimeout, 50*time.Millisecond
				}
				r.Observe(&c)
			}
			if e.Result == observe.ResultMiss && e.NotStored == 0 {
				s := observe.Event{Kind: observe.KindStore, Outcome: observe.OutcomeOK, Route: x.route, Key: e.Key, StoredBytes: e.BodyBytes + 400, Time: at, Total: time.Millisecond, TTL: 30 * time.Second}
				if rng.IntN(300) == 0 {
					s.Outcome = observe.OutcomePurged
				}
				r.Observe(&s)
			}
		}
		if at.Unix()%5400 < 5 {
			r.Observe(&observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeTags, Outcome: observe.OutcomeOK, Soft: at.Unix()%10800 < 5, Time: at, Total: 2 * time.Millisecond})
		}
		if at.Unix()%17280 < 5 {
			r.Observe(&observe.Event{Kind: observe.KindRefresh, Trigger: observe.TriggerSWR, Outcome: observe.OutcomeRenewed, Time: at, Total: 40 * time.Millisecond})
		}
	}
	r.Observe(&observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeAll, Outcome: observe.OutcomeError, Time: time.Now().Add(-4 * time.Minute), Err: errStore})
	r.now = time.Now
	var g gauges
	g.Near.On, g.Near.Entries, g.Near.Bytes, g.Near.Hits, g.Near.Admissions, g.Waiting, g.WriteBuffer = true, 3412, 18<<20, 91234, 5120, 2, 81920
	r.Attach(g)
	return r
}

// TestPage goes through all views, in light and dark, wide and narrow.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	f := new(fake)
	e, err := newEndpoint(f, shop(), Access{Token: fullToken, ReadToken: readToken}, WithInstance("web-1"))
	if err != nil {
		t.Fatal(err)
	}
	p := b.visit(serve(t, e))
	p.until(`!document.getElementById('door').hidden`)
	p.shoot("door-light")
	p.signIn(fullToken)
	shows := map[string]string{
		"status": `document.querySelectorAll('.card').length === 8 && document.body.innerText.includes('1.40.1')`,
		"charts": `document.querySelectorAll('.chart canvas').length === 3`,
		"routes": `document.querySelectorAll('#view tbody tr').length >= 8`, "reasons": `document.querySelectorAll('#view tbody tr').length >= 4`,
		"top": `document.querySelectorAll('#view tbody tr').length === 50`, "tail": `document.querySelectorAll('#view tbody tr').length > 100`,
		"url": `document.getElementById('ask-url')`, "purge": `document.getElementById('targets')`, "config": `document.querySelectorAll('#view tbody tr').length > 20`,
	}
	after := map[string]string{
		"url":   `(() => { document.getElementById('ask-url').value = 'https://example.com/blogs/1000?page=2'; document.querySelector('#view form').requestSubmit(); })()`,
		"purge": `(() => { document.getElementById('targets').value = 'blog-1000\nuser-7'; document.querySelector('#view form').requestSubmit(); })()`,
	}
	done := map[string]string{"url": `document.querySelectorAll('.entry').length === 3`, "purge": `document.getElementById('confirm')`}
	for _, scheme := range []string{"light", "dark"} {
		p.look(scheme, 1280, 900)
		for _, v := range pageViews {
			p.view(v[0], v[1])
			p.until(shows[v[0]])
			if after[v[0]] != "" {
				p.eval(after[v[0]], nil)
				p.until(done[v[0]])
			}
			var overflows bool
			p.eval(`document.documentElement.scrollWidth > innerWidth`, &overflows)
			if overflows {
				t.Errorf("%s is wider than the window", v[0])
			}
			p.shoot(v[0] + "-" + scheme)
		}
	}
	p.look("light", 390, 844)
	for _, v := range pageViews {
		p.view(v[0], v[1])
		p.until(shows[v[0]])
		var overflows bool
		p.eval(`document.documentElement.scrollWidth > innerWidth`, &overflows)
		if overflows {
			t.Errorf("%s is wider than a phone", v[0])
		}
		p.shoot(v[0] + "-phone")
	}
	p.clean()
}
