package inspect

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/coretest/browser"
	"github.com/cacheaside/cacheaside/core/observe"
)

var pageViews = [][2]string{
	{"status", "Status"}, {"charts", "Charts"}, {"routes", "Routes"}, {"reasons", "Not stored"}, {"top", "Top keys"},
	{"tail", "Tail"}, {"url", "One URL"}, {"purge", "Purge"}, {"config", "Configuration"},
}

const hostile = `<script>fired++</script><img src=x onerror=fired++>"'` + "\u202egnp.exe\u2066\x1b[31m"

// shop is a recorder that has seen a day of a shop, up to now, or a quarter of an hour
// before, lest the hour, whose keys are shown, has only begun or ends while a test looks.
func shop() *Recorder {
	began := time.Now()
	end := began
	if into := end.Sub(end.Truncate(time.Hour)); into < 5*time.Minute || into > 50*time.Minute {
		end = end.Add(-15 * time.Minute)
	}
	at := end.Truncate(5 * time.Second).Add(-25*time.Hour + time.Second)
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
	for ; at.Before(end); at = at.Add(5 * time.Second) {
		day := 1 + 0.6*math.Sin(float64(at.Unix())/86400*2*math.Pi) + 0.15*rng.Float64()
		purged := at.Unix()%5400 < 60
		n := int(9 * day)
		if os.Getenv("CACHEASIDE_SCREENSHOTS") != "" {
			n *= 8
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
				h := observe.Event{Kind: observe.KindHandler, Route: x.route, Time: at.Add(-took), Total: took}
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
				c := observe.Event{Kind: observe.KindStoreCall, Op: observe.OpGet, Outcome: observe.OutcomeOK, Time: at.Add(-time.Millisecond), Total: time.Duration(300+rng.ExpFloat64()*200) * time.Microsecond}
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
		if ago := end.Sub(at); ago > 235*time.Second && ago <= 240*time.Second {
			r.Observe(&observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeAll, Outcome: observe.OutcomeError, Time: at, Err: errStore})
		}
		if at.Unix()%17280 < 5 {
			r.Observe(&observe.Event{Kind: observe.KindRefresh, Trigger: observe.TriggerSWR, Outcome: observe.OutcomeRenewed, Time: at, Total: 40 * time.Millisecond})
		}
	}
	r.now = func() time.Time { return end.Add(time.Since(began)) }
	var g gauges
	g.Near.On, g.Near.Entries, g.Near.Bytes, g.Near.Hits, g.Near.Admissions, g.Waiting, g.WriteBuffer = true, 3412, 18<<20, 91234, 5120, 2, 81920
	r.Attach(g)
	return r
}

// TestBrowser tries the page in a browser, if there is one.
func TestBrowser(t *testing.T) {
	if os.Getenv("CACHEASIDE_LONG") != "1" && os.Getenv("CACHEASIDE_SCREENSHOTS") == "" {
		t.Skip("it takes its time: CACHEASIDE_LONG=1 runs it")
	}
	b := browser.Start(t)
	for name, test := range map[string]func(*testing.T, *browser.Browser){
		"page": testPage, "keyboard": testKeyboard, "hostile": testHostile, "tokens": testTokens, "live": testLive, "cookie": testCookie,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

// testPage goes through all views, in light and dark, wide and narrow.
func testPage(t *testing.T, b *browser.Browser) {
	f := &fake{values: &values{of: map[string][]byte{}}}
	f.values.of[slotKey(3)] = []byte(`{"instance":{"id":"x2","host":"web-2","pid":1,"started":1},"now":1795780000000,"recent":{"requests":812,"results":{"hit":790},"hit_share":0.973,"saved_seconds":61.5},"waiting":1}`)
	e, err := newEndpoint(f, shop(), Access{Token: fullToken, ReadToken: readToken}, WithInstance("web-1"), WithSharing())
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Pointer[Endpoint]
	served.Store(e)
	p := visit(t, b, serve(t, &served))
	p.until(`!document.getElementById('door').hidden`)
	p.Shoot("door-light")
	p.signIn(fullToken)
	shows := map[string]string{
		"status": `document.querySelectorAll('.card').length === 8 && document.body.innerText.includes('1.40.1') && document.body.innerText.includes('web-2')`,
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
				p.Eval(after[v[0]], nil)
				p.until(done[v[0]])
			}
			var overflows bool
			p.Eval(`document.documentElement.scrollWidth > innerWidth`, &overflows)
			if overflows {
				t.Errorf("%s is wider than the window", v[0])
			}
			p.Shoot(v[0] + "-" + scheme)
		}
	}
	p.view("charts", "Charts")
	p.until(shows["charts"])
	for theme, ground := range map[string]string{"light": "rgb(246, 247, 249)", "dark": "rgb(18, 21, 26)", "": "rgb(18, 21, 26)"} {
		p.Eval(`(() => { const s = document.getElementById('theme'); s.value = `+quoted(theme)+`; s.dispatchEvent(new Event('change')); })()`, nil)
		p.until(`getComputedStyle(document.body).backgroundColor === ` + quoted(ground))
		p.until(shows["charts"])
	}
	p.look("light", 390, 844)
	for _, v := range pageViews {
		p.view(v[0], v[1])
		p.until(shows[v[0]])
		var overflows bool
		p.Eval(`document.documentElement.scrollWidth > innerWidth`, &overflows)
		if overflows {
			t.Errorf("%s is wider than a phone", v[0])
		}
		p.Shoot(v[0] + "-phone")
	}
	p.clean()
}

// quiet is a page over a recorder that has seen little.
func quiet(t *testing.T, b *browser.Browser) (*page, *fake, *Recorder, *atomic.Pointer[Endpoint]) {
	t.Helper()
	f, e, r := newFake(WithInstance("web-1"))
	var served atomic.Pointer[Endpoint]
	served.Store(e)
	return visit(t, b, serve(t, &served)), f, r, &served
}

// testKeyboard does everything without a mouse: it signs in, goes through the views, sorts,
// chooses, looks a URL up, purges and signs out.
func testKeyboard(t *testing.T, b *browser.Browser) {
	p, f, r, _ := quiet(t, b)
	for i := range 5 {
		e := hitOf("/blogs/:id", keyNamed(i))
		if i > 2 {
			missed(&e)
			e.Route, e.NotStored = "/users/:id", observe.ReasonPrivate
		}
		r.Observe(&e)
	}
	p.signIn(fullToken)
	p.until(`document.activeElement.id === 'title'`)
	for _, v := range pageViews {
		p.Eval(`document.activeElement.blur(), window.scrollTo(0, 0), getSelection().removeAllRanges()`, nil)
		p.tabTo(`nav a[href="#/` + v[0] + `"]`)
		p.press("Enter")
		p.until(`document.getElementById('title').textContent === ` + quoted(v[1]) + ` && document.activeElement.id === 'title'`)
		p.until(`document.querySelector('nav a[aria-current=page]').hash === '#/` + v[0] + `'`)
		// The ring around what has the focus can be seen.
		p.press("Tab")
		var ring string
		p.Eval(`(() => { const e = document.activeElement, l = e.closest('label'); return [getComputedStyle(e), l && getComputedStyle(l)].some(s => s && s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) ? 'yes' : e.outerHTML; })()`, &ring)
		if ring != "yes" && ring != "<body></body>" && !strings.HasPrefix(ring, "<body") {
			t.Errorf("%s: nothing shows where the focus is: %.200s", v[0], ring)
		}
	}
	p.view("charts", "Charts")
	p.until(`document.querySelectorAll('.chart canvas').length > 0`)
	p.tabTo(`input[value="15m"]`)
	p.press("ArrowRight")
	p.until(`document.querySelector('input[value="1h"]').checked && document.querySelectorAll('.chart canvas').length > 0`)
	p.tabTo(`.chart`)
	p.press("End", "ArrowLeft", "ArrowRight")
	p.until(`/\d\d:\d\d/.test(document.querySelector('.u-legend .u-value').textContent)`)
	p.tabTo(`summary`)
	p.press("Enter")
	p.until(`document.querySelectorAll('details[open] tbody tr').length > 0`)

	p.view("routes", "Routes")
	p.until(`document.querySelectorAll('#view tbody tr').length === 2`)
	p.until(`document.querySelector('th[aria-sort=descending]').textContent === 'Requests'`)
	p.tabTo(`thead th button`)
	p.press("Enter")
	p.until(`document.querySelector('th[aria-sort]').textContent === 'Route' && document.querySelector('tbody th').textContent === '/blogs/:id'`)
	p.press("Enter")
	p.until(`document.querySelector('tbody th').textContent === '/users/:id'`)

	p.view("url", "One URL")
	p.tabTo(`#ask-url`)
	p.write("https://example.com/users/7")
	p.tabTo(`#ask-header`)
	p.write("Accept: text/html")
	p.tabTo(`button[type=submit]`)
	p.press("Enter")
	p.until(`document.querySelectorAll('.entry').length === 3`)
	p.tabTo(`#view button[type=button]`)
	p.press("Enter")
	p.until(`document.querySelectorAll('.steps li').length === 5`)

	p.view("purge", "Purge")
	p.tabTo(`#targets`)
	p.write("blog-1000")
	p.tabTo(`#view button[type=submit]`)
	p.press("Enter")
	p.until(`document.activeElement.id === 'confirm'`)
	p.write("blog-100")
	p.press("Enter") // not what is to be typed
	p.until(`document.querySelector('button.danger').disabled`)
	if n := len(f.purges()); n != 0 {
		t.Fatalf("%d purges without confirmation", n)
	}
	f.answerPurges(503)
	p.write("0")
	p.press("Tab", "Enter")
	p.until(`document.body.innerText.includes('Not acknowledged: repeat') && document.activeElement.textContent === 'Repeat'`)
	f.answerPurges(200)
	p.press("Enter")
	p.until(`document.querySelector('.note.good')`)
	if got := f.purges(); len(got) != 1 || got[0] != `{"tags":["blog-1000"]}` {
		t.Errorf("purged: %q", got)
	}
	p.Eval(`document.activeElement.blur()`, nil)
	p.tabTo(`#leave`)
	p.press("Enter")
	p.until(`document.activeElement.id === 'token' && document.getElementById('view').children.length === 0`)
	p.clean("503")
}

// testHostile shows what somebody else has sent as the text that it is.
func testHostile(t *testing.T, b *browser.Browser) {
	p, f, r, _ := quiet(t, b)
	long := strings.Repeat("x", 8<<10)
	for i, key := range []string{"cacheaside:2:{GET:https://example.com/" + hostile + "}", hostile, "cacheaside:2:{GET:https://example.com/" + long + "}"} {
		for range 3 {
			e := hitOf(hostile, key)
			missed(&e)
			e.NotStored = observe.ReasonNoStore
			if i == 2 {
				e.Route = "/" + long
			}
			e.Err = fmt.Errorf("no: %s", hostile)
			r.Observe(&e)
		}
	}
	p.signIn(fullToken)
	for _, v := range pageViews {
		p.view(v[0], v[1])
		switch v[0] {
		case "routes", "top", "tail":
			p.until(`document.getElementById('view').textContent.includes('<script>fired++</script>')`)
			p.until(`document.getElementById('view').textContent.includes('\\u{202e}')`)
		case "reasons":
			p.until(`document.getElementById('view').textContent.includes('no-store')`)
		case "url":
			p.Eval(`document.getElementById('ask-url').value = 'https://example.com/?'+encodeURIComponent(`+quoted(hostile)+`)`, nil)
			p.Eval(`document.querySelector('#view form').requestSubmit()`, nil)
			p.until(`document.querySelectorAll('.entry').length === 3`)
		case "purge":
			p.Eval(`document.getElementById('targets').value = `+quoted(hostile+"\n"+long), nil)
			p.Eval(`document.querySelector('#view form').requestSubmit()`, nil)
			p.until(`document.querySelectorAll('.targets li').length === 2`)
		}
		var bad string
		p.Eval(`(() => {
			if (document.querySelector('#view script, #view img')) return 'an element was made of a text';
			if (document.documentElement.scrollWidth > innerWidth) return 'the page is wider than the window';
			if (/[\u202a-\u202e\u2066-\u2069\u001b]/.test(document.getElementById('view').textContent)) return 'a character that turns text around';
			return '';
		})()`, &bad)
		if bad != "" {
			t.Errorf("%s: %s", v[0], bad)
		}
		p.Shoot("hostile-" + v[0])
	}
	if len(f.purges()) != 0 {
		t.Error("it was purged")
	}
	p.clean()
}

// testTokens: a wrong one is refused with what to do, one to read cannot purge, one in the
// fragment is taken out of it, and one that is not accepted any more leads back to the door.
func testTokens(t *testing.T, b *browser.Browser) {
	p, f, r, served := quiet(t, b)
	p.until(`document.activeElement && document.activeElement.id === 'token'`)
	p.clean() // the door itself makes no errors
	p.write("wrong-token-of-32-bytes-012345678")
	p.press("Enter")
	p.until(`document.getElementById('refused').textContent.includes('not accepted')`)
	p.until(`document.getElementById('frame').hidden && document.activeElement.id === 'token'`)
	p.Shoot("door-refused")
	p.Eval(`document.getElementById('token').value = ''`, nil)
	p.signIn(readToken)
	p.view("purge", "Purge")
	p.until(`document.body.innerText.includes('This token may only read')`)
	p.Eval(`document.getElementById('targets').value = 'blog-1000'; document.querySelector('#view form').requestSubmit()`, nil)
	p.until(`document.querySelectorAll('.targets li').length === 1 && !document.getElementById('confirm')`)
	var status int
	p.Eval(`fetch('api/purge', {method: 'POST', headers: {Authorization: 'Bearer `+readToken+`', 'Content-Type': 'application/json'}, body: '{"all":true}'}).then(r => r.status)`, &status)
	if status != 403 || len(f.purges()) != 0 {
		t.Errorf("a purge with the token that may read: %d, %d purges", status, len(f.purges()))
	}
	var kept string
	p.Eval(`JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])`, &kept)
	if kept != `[0,0,""]` {
		t.Errorf("kept: %s", kept)
	}
	p.clean("403")

	p.view("status", "Status")
	old := served.Load()
	anew, _ := newEndpoint(f, r, Access{Token: "another-token-of-32-bytes-012345"})
	served.Store(anew) // the service was started anew
	p.until(`!document.getElementById('door').hidden && document.getElementById('refused').textContent.includes('not accepted')`)
	served.Store(old)
	p.clean("401")

	p.Do("Page.navigate", map[string]any{"url": p.base + "#token=" + fullToken}, nil)
	p.until(`!document.getElementById('frame').hidden && location.hash === '#/status'`)
	p.until(`document.querySelectorAll('.card').length === 8`)
	var history string
	p.Eval(`location.href`, &history)
	if strings.Contains(history, fullToken) {
		t.Error("the token stays in the address")
	}
	p.clean()
}

// testLive: what happens while the page is open is seen, hits only while it is; a service
// that is gone is told of, and found again.
func testLive(t *testing.T, b *browser.Browser) {
	p, f, r, _ := quiet(t, b)
	hits := func(n int) {
		for i := range n {
			e := hitOf("/blogs/:id", keyNamed(i))
			r.Observe(&e)
		}
	}
	hits(3)
	p.signIn(fullToken)
	p.until(`document.body.innerText.includes('100 %')`)
	p.view("tail", "Tail")
	p.until(`document.body.innerText.includes('0 events')`)
	hits(4)
	p.until(`document.querySelectorAll('#view tbody tr').length === 4`)
	r.Observe(&observe.Event{Kind: observe.KindPurge, Purge: observe.PurgeTags, Outcome: observe.OutcomeOK, Time: time.Now()})
	p.until(`document.querySelector('#view tbody tr').textContent.includes('purge')`)
	p.Eval(`(() => { const s = document.querySelector('#view select'); s.value = 'purge'; s.dispatchEvent(new Event('change')); })()`, nil)
	p.until(`document.querySelectorAll('#view tbody tr').length === 1`)
	p.Eval(`document.getElementById('pause').click()`, nil)
	p.view("charts", "Charts")
	p.until(`document.querySelector('.targets li')`)
	p.until(`document.getElementById('live').textContent === 'Paused'`)
	p.Eval(`document.getElementById('pause').click()`, nil)
	p.until(`document.getElementById('live').textContent === 'Live'`)
	p.view("status", "Status")
	f.fails(errStore)
	p.until(`document.querySelector('.note.bad')`)
	f.fails(nil)
	p.until(`!document.querySelector('.note.bad')`)
	r.Attach(gauges{BreakerOpen: true})
	p.until(`document.body.innerText.includes('The circuit breaker is open')`)
	p.Do("Network.emulateNetworkConditions", map[string]any{"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}, nil)
	p.until(`document.getElementById('live').textContent.includes('not reachable') && document.getElementById('alert').textContent.includes('cannot be reached')`)
	p.Do("Network.emulateNetworkConditions", map[string]any{"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}, nil)
	p.until(`document.getElementById('live').textContent === 'Live' && !document.getElementById('alert').textContent`)
	p.clean("ERR_INTERNET_DISCONNECTED")
}

// testCookie: who is let in by a cookie needs no token, from the page itself only.
func testCookie(t *testing.T, b *browser.Browser) {
	var cookies atomic.Int32
	f := &fake{values: &values{of: map[string][]byte{}}}
	e, err := newEndpoint(f, NewRecorder(nil), Access{Authorize: func(_ context.Context, req *adapter.Request) bool {
		ok := first(req.Header.Values("Cookie")) == "session=1"
		if ok {
			cookies.Add(1)
		}
		return ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Pointer[Endpoint]
	served.Store(e)
	base := serve(t, &served)
	p := visit(t, b, base)
	p.until(`document.body.innerText.includes('sign in there') && document.getElementById('token').hidden`)
	p.Do("Network.setCookie", map[string]any{"url": base, "name": "session", "value": "1"}, nil)
	p.Do("Page.reload", nil, nil)
	p.until(`document.querySelectorAll('.card').length === 8 && document.getElementById('leave').hidden`)
	p.Eval(`location.hash = '#/purge'`, nil)
	p.until(`document.getElementById('targets')`)
	p.Eval(`document.getElementById('targets').value = 'a'; document.querySelector('#view form').requestSubmit()`, nil)
	p.until(`document.activeElement.id === 'confirm'`)
	p.write("a")
	p.press("Enter")
	p.until(`document.querySelector('.note.good')`)
	p.clean()
	// The same from a page of another origin, which the browser gives the cookie to: a port
	// is no other site.
	evil := httptest.NewServer(http.NotFoundHandler())
	defer evil.Close()
	p.Do("Page.navigate", map[string]any{"url": evil.URL}, nil)
	p.until(`location.href.startsWith(` + quoted(evil.URL) + `) && document.readyState === 'complete'`)
	cookies.Store(0)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json"} {
		p.Eval(`fetch('`+base+`api/purge', {method: 'POST', mode: 'no-cors', credentials: 'include', headers: {'Content-Type': '`+kind+`'}, body: '{"all":true}'}).then(() => 0, () => 0)`, nil)
	}
	p.Eval(`fetch('`+base+`api/status', {credentials: 'include'}).then(() => fired++, () => 0)`, nil)
	if got := f.purges(); len(got) != 1 || cookies.Load() == 0 {
		t.Errorf("purged: %q, with %d cookies", got, cookies.Load())
	}
	p.clean("404", "401", "CORS", "ERR_FAILED", "ERR_BLOCKED_BY_RESPONSE.NotSameOrigin")
}
