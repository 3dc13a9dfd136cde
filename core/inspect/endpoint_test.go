package inspect

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/observe"
)

// ask makes a request of the page, in the manner of "GET /cache/api/status?x=y".
func asked(line, token string, more ...string) *adapter.Request {
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if method == "POST" {
		h.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return &adapter.Request{Method: method, Scheme: "http", Host: "admin.example", Path: path, RawQuery: query, Header: h}
}

func TestNewRefuses(t *testing.T) {
	allow := func(context.Context, *adapter.Request) bool { return true }
	for name, c := range map[string]struct {
		access Access
		ok     bool
	}{
		"nobody":         {Access{}, false},
		"short":          {Access{Token: "short"}, false},
		"short to read":  {Access{Token: fullToken, ReadToken: "short"}, false},
		"space":          {Access{Token: fullToken + " "}, false},
		"one for both":   {Access{Token: fullToken, ReadToken: fullToken}, false},
		"a token":        {Access{Token: fullToken}, true},
		"only to read":   {Access{ReadToken: readToken}, true},
		"a function":     {Access{Authorize: allow}, true},
		"all of these":   {Access{fullToken, readToken, allow}, true},
		"empty and read": {Access{Token: "", ReadToken: "                "}, false},
	} {
		if _, err := newEndpoint(new(fake), NewRecorder(nil), c.access); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, NewRecorder(nil), Access{Token: fullToken}); err == nil {
		t.Error("without a cache")
	}
	if _, err := newEndpoint(new(fake), nil, Access{Token: fullToken}); err == nil {
		t.Error("without a recorder")
	}
}

// The real cache answers, too, and purges.
func TestCache(t *testing.T) {
	cache, err := cacheaside.New(cacheaside.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	e, err := New(cache, NewRecorder(nil), Access{Token: fullToken}, WithInstance("one"))
	if err != nil {
		t.Fatal(err)
	}
	for line, body := range map[string]string{
		"GET /api/status": "", "GET /api/config": "", "POST /api/purge": `{"tags":["a"]}`, "POST /api/preview": `{"all":true}`,
	} {
		if r := e.Serve(t.Context(), asked(line, fullToken), []byte(body)); r.Status != 200 {
			t.Errorf("%s: %d %s", line, r.Status, r.Body)
		}
	}
	if cache.Stats().Purges != 1 {
		t.Errorf("%d purges", cache.Stats().Purges)
	}
	if r := e.Serve(t.Context(), asked("POST /api/purge", fullToken), []byte(`{"tags":["a"],"tags":["b"]}`)); r.Status != 400 {
		t.Errorf("a member twice: %d", r.Status)
	}
}

func TestAnswers(t *testing.T) {
	f, e, _ := newFake()
	huge := `{"url":"` + strings.Repeat("x", MaxBody) + `"}`
	ask := `{"url":"https://example.com/blogs/1000","header":[{"name":"Accept","value":"text/html"}]}`
	for _, c := range []struct {
		line, token, body string
		status            int
		more              []string
	}{
		{"GET /", "", "", 200, nil},
		{"HEAD /", "", "", 200, nil},
		{"POST /", "", "{}", 405, nil},
		{"GET /cache/", "", "", 200, nil},
		{"GET /cache/inspect.js", "", "", 200, nil},
		{"GET /cache/uplot.LICENSE", "", "", 200, nil},
		{"GET /cache/favicon.ico", "", "", 404, nil},
		{"GET /cache/api", "", "", 404, nil},
		{"GET /cache", "", "", 308, nil},
		{"GET /?token=" + fullToken, "", "", 400, nil},
		{"GET /api/status?access_token=" + fullToken, fullToken, "", 400, nil},
		{"GET /api/session", "", "", 200, nil},
		{"GET /api/status", "", "", 401, nil},
		{"GET /api/status", "wrong-token-of-32-bytes-012345678", "", 401, nil},
		{"GET /api/nothing", "", "", 401, nil}, // nobody learns what there is
		{"POST /api/purge", "", `{"all":true}`, 401, nil},
		{"GET /api/status", readToken, "", 200, nil},
		{"GET /api/status", fullToken, "", 200, nil},
		{"HEAD /api/status", fullToken, "", 200, nil},
		{"DELETE /api/status", fullToken, "", 405, nil},
		{"OPTIONS /api/status", fullToken, "", 405, nil},
		{"GET /api/status?x=1", fullToken, "", 400, nil},
		{"GET /api/status?%zz", fullToken, "", 400, nil},
		{"GET /api/nothing", fullToken, "", 404, nil},
		{"GET /api/status/x.y", fullToken, "", 404, nil},
		{"GET /api/cache/", "", "", 200, nil}, // mounted there
		{"GET /api/cache/inspect.js", "", "", 200, nil},
		{"GET /api/cache/api/status", readToken, "", 200, nil},
		{"GET /api/", "", "", 200, nil},
		{"GET /api/inspect.css", "", "", 200, nil},
		{"GET /api/charts", readToken, "", 200, nil},
		{"GET /api/charts?range=24h", readToken, "", 200, nil},
		{"GET /api/charts?range=1y", readToken, "", 400, nil},
		{"GET /api/charts?range=1h&range=24h", readToken, "", 400, nil},
		{"GET /api/routes", readToken, "", 200, nil},
		{"GET /api/reasons", readToken, "", 200, nil},
		{"GET /api/top?by=misses&period=previous&limit=3", readToken, "", 200, nil},
		{"GET /api/top?by=nothing", readToken, "", 400, nil},
		{"GET /api/top?limit=101", readToken, "", 400, nil},
		{"GET /api/tail?after=3&limit=500&kind=request", readToken, "", 200, nil},
		{"GET /api/tail?limit=501", readToken, "", 400, nil},
		{"GET /api/tail?after=-1", readToken, "", 400, nil},
		{"GET /api/config", readToken, "", 200, nil},
		{"GET /api/lookup", readToken, "", 405, nil},
		{"POST /api/lookup", readToken, ask, 200, nil},
		{"POST /api/lookup", readToken, ask, 415, []string{"Content-Type", "text/plain"}},
		{"POST /api/lookup", readToken, ask, 415, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"POST /api/lookup", readToken, ask, 200, []string{"Content-Type", "application/json; charset=utf-8"}},
		{"POST /api/lookup", readToken, huge, 413, nil},
		{"POST /api/lookup", readToken, "", 400, nil},
		{"POST /api/lookup", readToken, "[]", 400, nil},
		{"POST /api/lookup", readToken, `{"url":"/path"}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"file:///etc/passwd"}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://u:p@example.com/"}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://example.com/","method":"POST"}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://example.com/","header":[{"name":"A B","value":""}]}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://example.com/","header":[{"name":"A","value":"x\r\nB: y"}]}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://example.com/","url":"https://example.com/"}`, 400, nil},
		{"POST /api/lookup", readToken, `{"url":"https://example.com/"} {}`, 400, nil},
		{"POST /api/lookup", readToken, "{\"url\":\"https://example.com/\xff\"}", 400, nil},
		{"POST /api/explain", readToken, ask, 200, nil},
		{"POST /api/explain", readToken, `{"url":"https://example.com/","send":true}`, 403, nil},
		{"POST /api/explain", fullToken, `{"url":"https://example.com/","send":true}`, 200, nil},
		{"POST /api/preview", readToken, `{"tags":["a"]}`, 200, nil},
		{"POST /api/preview", readToken, `{"tag":["a"]}`, 400, nil},
		{"POST /api/preview", readToken, `{}`, 400, nil},
		{"POST /api/purge", readToken, `{"tags":["a"]}`, 403, nil},
		{"POST /api/purge", fullToken, `{"tags":["a"]}`, 415, []string{"Content-Type", "text/plain"}},
		{"POST /api/purge", fullToken, `{"tags":["a"]}`, 200, nil},
		{"POST /deep/mount/api/api/purge", fullToken, `{"tags":["b"]}`, 200, nil},
		{"PURGE /api/purge", fullToken, "", 405, nil},
	} {
		r := e.Serve(t.Context(), asked(c.line, c.token, c.more...), []byte(c.body))
		if r.Status != c.status {
			t.Errorf("%s with %.8q: %d, not %d: %.100s", c.line, c.token, r.Status, c.status, r.Body)
		}
		for _, name := range []string{"Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"} {
			if r.Header.Get(name) == "" {
				t.Errorf("%s: no %s", c.line, name)
			}
		}
		if r.Status >= 400 {
			var m struct{ Error string }
			if json.Unmarshal(r.Body, &m) != nil || m.Error == "" || strings.Contains(string(r.Body), fullToken) {
				t.Errorf("%s: %s", c.line, r.Body)
			}
		}
	}
	if got := f.purges(); len(got) != 2 {
		t.Errorf("%d purges", len(got))
	}
	if got := e.Serve(t.Context(), asked("GET /a/cache", ""), nil).Header.Get("Location"); got != "./cache/" {
		t.Errorf("Location: %s", got)
	}
	if got := e.Serve(t.Context(), asked("GET //evil", ""), nil).Header.Get("Location"); got != "./evil/" {
		t.Errorf("Location: %s", got)
	}
	stripped := asked("GET ", "")
	stripped.Target = "/admin/cache?x"
	if got := e.Serve(t.Context(), stripped, nil).Header.Get("Location"); got != "./cache/" {
		t.Errorf("Location of a stripped path: %s", got)
	}
	const want = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := e.Serve(t.Context(), asked("GET /", ""), nil).Header.Get("Content-Security-Policy"); got != want {
		t.Error(got)
	}
}

// What an Authorize function allows must come from the page itself.
func TestSameOrigin(t *testing.T) {
	e, err := newEndpoint(new(fake), NewRecorder(nil), Access{ReadToken: readToken, Authorize: func(_ context.Context, req *adapter.Request) bool {
		return len(req.Header.Values("Cookie")) > 0
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		more   []string
		status int
	}{
		{nil, 401},
		{[]string{"Cookie", "s=1"}, 401},
		{[]string{"Cookie", "s=1", "Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Cookie", "s=1", "Sec-Fetch-Site", "same-site"}, 401},
		{[]string{"Cookie", "s=1", "Sec-Fetch-Site", "cross-site", "Origin", "http://admin.example"}, 401},
		{[]string{"Cookie", "s=1", "Sec-Fetch-Site", "none"}, 401},
		{[]string{"Cookie", "s=1", "Origin", "https://admin.example"}, 200},
		{[]string{"Cookie", "s=1", "Origin", "https://admin.example:8443"}, 401},
		{[]string{"Cookie", "s=1", "Origin", "https://evil.example"}, 401},
		{[]string{"Cookie", "s=1", "Origin", "null"}, 401},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 401},
		{[]string{"Sec-Fetch-Site", "cross-site", "Authorization", "Bearer " + readToken}, 200},
	} {
		if r := e.Serve(t.Context(), asked("GET /api/status", "", c.more...), nil); r.Status != c.status {
			t.Errorf("%q: %d", c.more, r.Status)
		}
		want := c.status
		if want == 200 && strings.Contains(strings.Join(c.more, ""), readToken) {
			want = 403
		}
		if r := e.Serve(t.Context(), asked("POST /api/purge", "", c.more...), []byte(`{"all":true}`)); r.Status != want {
			t.Errorf("a purge with %q: %d", c.more, r.Status)
		}
	}
}

func TestSession(t *testing.T) {
	_, e, _ := newFake()
	for token, want := range map[string]string{"": "none", "wrong": "none", readToken: "read", fullToken: "full"} {
		var s Session
		r := e.Serve(t.Context(), asked("GET /api/session", token, "Sec-Fetch-Site", "same-origin"), nil)
		if json.Unmarshal(r.Body, &s); r.Status != 200 || s.Access != want || (s.Problem != "") != (token == "wrong") || !s.Token {
			t.Errorf("%q: %+v", token, s)
		}
	}
}

func TestStoreFails(t *testing.T) {
	f, e, _ := newFake()
	for _, c := range []struct {
		err    error
		status int
	}{
		{errStore, 503}, {context.DeadlineExceeded, 503}, {fmt.Errorf("%w: a host that is not ours", errAsk), 400},
		{errCannot, 501},
	} {
		f.fails(c.err)
		r := e.Serve(t.Context(), asked("POST /api/lookup", fullToken), []byte(`{"url":"https://example.com/"}`))
		if r.Status != c.status || strings.Contains(string(r.Body), secret) {
			t.Errorf("%v: %d %s", c.err, r.Status, r.Body)
		}
	}
	f.fails(cacheaside.ErrCannotPurge)
	if r := e.Serve(t.Context(), asked("POST /api/preview", fullToken), []byte(`{"all":true}`)); r.Status != 501 {
		t.Errorf("%d", r.Status)
	}
	f.fails(errors.New("Purge.Tags: too long"))
	if r := e.Serve(t.Context(), asked("POST /api/preview", fullToken), []byte(`{"all":true}`)); r.Status != 400 {
		t.Errorf("%d", r.Status)
	}
	f.answerPurges(503)
	if r := e.Serve(t.Context(), asked("POST /api/purge", fullToken), []byte(`{"all":true}`)); r.Status != 503 || !strings.Contains(string(r.Body), "not acknowledged") {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// No answer has a secret, wherever it was put, nor a character that acts on the text.
func TestNothingSecret(t *testing.T) {
	f, e, r := newFake()
	c := newClock()
	keys := []string{
		"GET:https://u:" + secret + "@example.com/a?token=" + secret + "&" + secret + strings.Repeat("x", 16),
		"GET:https://example.com/b?q=" + secret + ";r=" + secret + "|t:/c?x=" + secret,
		"GET:https://example.com/c|k:" + secret, "GET:https://example.com/d|u:" + secret + "|v:" + secret,
		"GET:https://example.com/e|h:X-Api-Key=" + secret + "|=" + secret + "|s=" + secret + "|c:sid=" + secret + "|f:Forwarded|=" + secret + "|o:1",
		"GET:https://example.com/f|z:" + secret, "GET://" + secret + "@example.com/",
	}
	for _, k := range keys {
		for _, result := range []observe.Result{observe.ResultMiss, observe.ResultError} {
			c.told(r, func(e *observe.Event) {
				e.Result, e.Err, e.Key = result, errStore, "cacheaside:2:{"+k+"}:0123456789abcdef0123456789abcdef"
			})
		}
	}
	c.told(r, func(e *observe.Event) {
		missed(e)
		e.Route, e.Policy, e.Key, e.FlightID = "/\u202e<script>\x00\xff", "\u2066p", "<script>\u202e\x1b[31m"+strings.Repeat("k", 8<<10), "\u202eabc"
	})
	f.fails(nil)
	ask := []byte(`{"url":"https://example.com/blogs/1000?page=` + secret + `"}`)
	for _, line := range []string{
		"GET /api/status", "GET /api/charts", "GET /api/routes", "GET /api/reasons", "GET /api/top", "GET /api/top?by=misses", "GET /api/tail",
		"GET /api/config", "POST /api/lookup", "POST /api/explain",
	} {
		resp := e.Serve(t.Context(), asked(line, fullToken), ask)
		body := string(resp.Body)
		if resp.Status != 200 {
			t.Errorf("%s: %d %s", line, resp.Status, body)
		}
		if i := strings.Index(body, secret); i >= 0 {
			t.Errorf("%s: …%s", line, body[max(0, i-80):i+20])
		}
		if strings.ContainsAny(body, "\u202e\u2066\x1b\x00<") || strings.Contains(body, `\u202e`) || strings.Contains(body, "0123456789abcdef0123456789abcdef") {
			t.Errorf("%s: %s", line, body)
		}
	}
	if body := string(e.Serve(t.Context(), asked("GET /api/tail", fullToken), nil).Body); !strings.Contains(body, `\\u{202e}`) {
		t.Error("what turns text around is not shown as such")
	}
	f.fails(errStore)
	if body := string(e.Serve(t.Context(), asked("GET /api/status", fullToken), nil).Body); strings.Contains(body, secret) {
		t.Error(body)
	}
}

// The library is what npm has as uplot 1.6.32, unchanged.
func TestVendored(t *testing.T) {
	for name, want := range map[string]string{
		"uplot.js":      "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uplot.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"uplot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(assets[name].body)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A response with very many variants has an answer of a bounded size.
func TestManyVariants(t *testing.T) {
	l := Lookup{Found: []Found{{Entries: make([]Entry, 1000)}, {}}}
	redactLookup(&l)
	if f := l.Found; len(f[0].Entries) != maxEntries || f[0].More != 900 || f[1].Entries == nil {
		t.Errorf("%d and %d", len(f[0].Entries), f[0].More)
	}
}

func TestKeyID(t *testing.T) {
	if a, b := keyOf("x", 1<<20), keyOf("x", 2<<20); a.ID == b.ID || len(a.ID) != 12 {
		t.Errorf("%v %v", a, b)
	}
}
