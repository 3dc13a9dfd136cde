package httprules

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fill is a GET answered at noon, within no time, by a 200 with these fields.
func fill(pairs ...string) Fill {
	return Fill{
		Method: "GET", RequestHeader: http.Header{}, Status: 200, ResponseHeader: fields(pairs...),
		RequestTime: noon, ResponseTime: noon,
	}
}

func (f Fill) rules(r Rules) Fill           { f.Rules = r; return f }
func (f Fill) status(n int) Fill            { f.Status = n; return f }
func (f Fill) method(s string) Fill         { f.Method = s; return f }
func (f Fill) request(pairs ...string) Fill { f.RequestHeader = fields(pairs...); return f }
func (f Fill) took(d time.Duration) Fill    { f.ResponseTime = f.RequestTime.Add(d); return f }
func (f Fill) with(name, value string) Fill {
	f.ResponseHeader.(http.Header).Add(name, value)
	return f
}
func fresh(pairs ...string) Fill { return fill(append(pairs, "Cache-Control", "max-age=60")...) }
func (f Fill) check(t *testing.T, reason string) Verdict {
	t.Helper()
	v := Judge(f)
	if v.Reason != reason || v.Store != (reason == "") {
		t.Errorf("%s %d %v\n with %+v: got %v %q, want %q", f.Method, f.Status, f.ResponseHeader, f.Rules, v.Store, v.Reason, reason)
	}
	return v
}

func TestRFC9111_3_StoringResponses(t *testing.T) {
	ttl := Rules{TTL: time.Minute, Listed: true}
	for _, tt := range []struct {
		name string
		fill Fill
		want string // the reason; "": stored
	}{
		{"method GET", fresh(), ""},
		{"method HEAD", fresh().method("HEAD"), "method"},
		{"method POST", fresh().method("POST"), "method"},
		{"method in lower case is another", fresh().method("get"), "method"},

		{"not final", fresh().status(103), "status"},
		{"no status code", fresh().status(600), "status"},
		{"206", fresh().status(206), "partial"},
		{"Content-Range", fresh("Content-Range", "bytes 0-1/2"), "partial"},
		{"416", fresh("Content-Range", "bytes */2").status(416).rules(Rules{AnyStatus: true}), "partial"},
		{"304", fresh().status(304).rules(Rules{AnyStatus: true, Listed: true}), "status"},
		{"412", fresh().status(412).rules(Rules{AnyStatus: true}), "status"},

		{"request no-store", fresh().request("Cache-Control", "no-store"), "request-no-store"},
		{"request no-cache", fresh().request("Cache-Control", "no-cache, max-age=0"), ""},
		{"no-store", fresh().with("Cache-Control", "no-store"), "no-store"},
		{"no-store with TTL", fill("Cache-Control", "no-store").rules(ttl), "no-store"},
		{"5.2.2.3 must-understand, understood", fresh().with("Cache-Control", "no-store, must-understand"), ""},
		{"5.2.2.3 must-understand, not understood", fresh().with("Cache-Control", "must-understand").status(299).rules(Rules{AnyStatus: true}), "status"},
		{"private", fresh().with("Cache-Control", "private"), "private"},
		{"private, targeted public", fresh().with("Cache-Control", "private").with("CDN-Cache-Control", "max-age=60").rules(Rules{Targets: []string{"CDN-Cache-Control"}}), ""},
		{"private by target", fresh().with("CDN-Cache-Control", "private").rules(Rules{Targets: []string{"CDN-Cache-Control"}}), "private"},
		{"private with fields", fresh().with("Cache-Control", `private="x-user"`), ""},
		{"private with a field that cannot be missed", fresh().with("Cache-Control", `private="content-encoding"`), "private"},

		{"3.5 authorization", fresh().request("Authorization", "x"), "authorization"},
		{"3.5 authorization, public", fresh().with("Cache-Control", "public").request("Authorization", "x"), ""},
		{"3.5 authorization, must-revalidate", fresh().with("Cache-Control", "must-revalidate").request("Authorization", "x"), ""},
		{"3.5 authorization, s-maxage", fill("Cache-Control", "s-maxage=60").request("Authorization", "x"), ""},
		{"3.5 authorization, proxy-revalidate", fresh().with("Cache-Control", "proxy-revalidate").request("Authorization", "x"), "authorization"},
		{"3.5 authorization by policy", fresh().request("Authorization", "x").rules(Rules{Authorization: true}), ""},

		{"set-cookie", fresh("Set-Cookie", "a=b"), "set-cookie"},
		{"set-cookie, public", fresh("Set-Cookie", "a=b").with("Cache-Control", "public"), "set-cookie"},
		{"set-cookie by policy", fresh("Set-Cookie", "a=b").rules(Rules{SetCookie: true}), ""},
		{"set-cookie named by no-cache", fresh("Set-Cookie", "a=b").with("Cache-Control", `no-cache="Set-Cookie"`), "set-cookie"},
		{"set-cookie named by no-cache, by policy", fresh("Set-Cookie", "a=b").with("Cache-Control", `max-age=60, no-cache="Set-Cookie"`).rules(Rules{SetCookie: true}), ""},

		{"4.1 Vary", fresh("Vary", "Accept, Foo"), ""},
		{"4.1 Vary: *", fresh("Vary", "Accept", "Vary", "Foo, *"), "vary-any"},

		{"nothing said", fill(), "no-freshness"},
		{"nothing said, with TTL", fill().rules(ttl), ""},
		{"nothing said, TTL for others", fill().status(404).rules(Rules{TTL: time.Minute}), "no-freshness"},
		{"listed without TTL", fill().status(500).rules(Rules{Listed: true}), "no-freshness"},
		{"explicit, listed", fresh().status(500).rules(Rules{Listed: true}), ""},
		{"nothing said of another status", fill().status(500), "status"},
		{"explicit, other status", fresh().status(500), "status"},
		{"explicit, any status", fresh().status(599).rules(Rules{AnyStatus: true}), ""},
		{"any status, nothing said", fill().status(599).rules(Rules{AnyStatus: true}), "status"},
		{"max-age=0 beats TTL", fill("Cache-Control", "max-age=0").rules(ttl), "expired"},
		{"Expires: 0 beats TTL", fill("Expires", "0").rules(ttl), "expired"},
		{"Age beyond TTL, which counts from the response", fill("Age", "61").rules(ttl), ""},
		{"Age beyond max-age", fill("Age", "61").with("Cache-Control", "max-age=60").rules(ttl), "expired"},

		{"no-cache without validator", fresh().with("Cache-Control", "no-cache"), "no-cache"},
		{"no-cache with ETag", fill("Cache-Control", "no-cache", "ETag", `"a"`), ""},
		{"no-cache with ETag, other status", fill("Cache-Control", "no-cache", "ETag", `"a"`).status(500), "status"},
		{"no-cache with Last-Modified", fill("Cache-Control", "no-cache", "Last-Modified", httpDate(-time.Hour)), ""},
		{"no-cache with bad Last-Modified", fill("Cache-Control", "no-cache", "Last-Modified", "0"), "no-cache"},
		{"no-cache with empty ETag", fill("Cache-Control", "no-cache", "ETag", " "), "no-cache"},
		{"no-cache with fields", fresh().with("Cache-Control", `no-cache="a"`), ""},
		{"stale with validator", fill("Cache-Control", "max-age=0", "ETag", `"a"`), ""},
		{"stale, to be served stale", fill("Cache-Control", "max-age=0, stale-while-revalidate=5"), ""},
		{"stale, to be served stale on error", fill("Cache-Control", "max-age=0, stale-if-error=5"), ""},
		{"stale, and longer than it may be", fill("Cache-Control", "max-age=0, stale-if-error=5", "Age", "5"), "expired"},
		{"stale, never to be served stale", fill("Cache-Control", "max-age=0, stale-if-error=5, must-revalidate"), "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.fill.check(t, tt.want) })
	}
}

func TestRFC9110_15_1_StatusCodes(t *testing.T) {
	heuristic := []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
	explicit := append(slices.Clone(heuristic), 302, 303, 307)
	never := []int{206, 304, 412, 416}
	for code := 200; code < 600; code++ {
		stored := func(f Fill) bool { return Judge(f.status(code)).Store }
		modified := func() Fill { return fill("Last-Modified", httpDate(-24*time.Hour)) }
		what := strconv.Itoa(code)
		equal(t, what+" explicit", stored(fresh()), slices.Contains(explicit, code))
		equal(t, what+" explicit, any status", stored(fresh().rules(Rules{AnyStatus: true})), !slices.Contains(never, code))
		equal(t, what+" heuristic", stored(modified().rules(Rules{Heuristic: true, AnyStatus: true})), slices.Contains(heuristic, code))
		equal(t, what+" heuristic, public", stored(modified().with("Cache-Control", "public").rules(Rules{Heuristic: true})), !slices.Contains(never, code))
		equal(t, what+" heuristic, not allowed", stored(modified().rules(Rules{AnyStatus: true})), false)
	}
}

func TestRFC9111_5_2_2_3_MustUnderstand(t *testing.T) {
	understood := []int{
		200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 413, 414, 415, 417,
		421, 422, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 511,
	}
	unknown := []int{206, 207, 226, 299, 304, 309, 399, 412, 416, 418, 420, 427, 430, 432, 450, 452, 499, 506, 510, 512, 599}
	for _, code := range append(slices.Clone(understood), unknown...) {
		f := fresh().with("Cache-Control", "no-store, must-understand").rules(Rules{AnyStatus: true}).status(code)
		equal(t, strconv.Itoa(code), Judge(f).Store, slices.Contains(understood, code))
	}
}

func TestRFC9111_4_2_1_FreshnessLifetime(t *testing.T) {
	type source uint8
	const (
		none source = iota
		explicit
		heuristic
	)
	all := Rules{TTL: 9 * second, Listed: true, Heuristic: true}
	targets := Rules{TTL: 9 * second, Listed: true, Targets: []string{"CDN-Cache-Control"}}
	for _, tt := range []struct {
		name string
		fill Fill
		want time.Duration
		from source
	}{
		{"s-maxage over max-age", fill("Cache-Control", "max-age=1, s-maxage=60", "Expires", httpDate(-time.Hour)), 60 * second, explicit},
		{"shorter s-maxage", fill("Cache-Control", "s-maxage=1", "Cache-Control", "max-age=60"), second, explicit},
		{"max-age over Expires", fill("Cache-Control", "max-age=60", "Expires", "0"), 60 * second, explicit},
		{"max-age=0 over Expires", fill("Cache-Control", "max-age=0", "Expires", httpDate(time.Hour)), 0, explicit},
		{"targeted over s-maxage", fill("Cache-Control", "s-maxage=1", "CDN-Cache-Control", "max-age=60").rules(targets), 60 * second, explicit},
		{"targeted without lifetime", fill("Cache-Control", "s-maxage=1", "Expires", httpDate(time.Hour), "CDN-Cache-Control", "public").rules(targets), 9 * second, none},
		{"max-age over TTL", fill("Cache-Control", "max-age=0").rules(all), 0, explicit},
		{"Expires over TTL", fill("Expires", httpDate(-time.Hour)).rules(all), 0, explicit},
		{"no-cache over TTL", fill("Cache-Control", "no-cache").rules(all), 0, explicit},
		{"TTL over heuristic", fill("Last-Modified", httpDate(-time.Hour)).rules(all), 9 * second, none},
		{"TTL bounded", fill().rules(Rules{TTL: 1 << 62, Listed: true}), maxDelta, none},
		{"nothing", fill(), 0, none},

		{"5.3 Expires minus Date", fill("Date", httpDate(-10*second), "Expires", httpDate(10*second)), 20 * second, explicit},
		{"5.3 both fast", fill("Date", httpDate(400*second), "Expires", httpDate(300*second)), 0, explicit},
		{"5.3 no Date", fill("Expires", httpDate(10*second)), 10 * second, explicit},
		{"5.3 invalid Date", fill("Date", "foo", "Expires", httpDate(10*second)), 10 * second, explicit},
		{"5.3 now", fill("Date", httpDate(0), "Expires", httpDate(0)), 0, explicit},
		{"5.3 0", fill("Expires", "0"), 0, explicit},
		{"5.3 empty", fill("Expires", ""), 0, explicit},
		{"5.3 UTC", fill("Expires", "Thu, 18 Aug 2050 02:01:18 UTC"), 0, explicit},
		{"5.3 RFC 850", fill("Expires", noon.Add(time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT")), time.Hour, explicit},
		{"5.3 asctime", fill("Expires", noon.Add(time.Hour).Format(time.ANSIC)), time.Hour, explicit},
		{"5.3 several", fill("Expires", httpDate(time.Hour), "Expires", httpDate(time.Minute)), time.Minute, explicit},
		{"5.3 one of several invalid", fill("Expires", httpDate(time.Hour), "Expires", "0"), 0, explicit},
		{"5.3 far", fill("Expires", "Fri, 31 Dec 9999 23:59:59 GMT"), maxDelta, explicit},
		{"1.2.2 far", fill("Cache-Control", "max-age=99999999999"), maxDelta, explicit},

		{"4.2.2 a tenth", fill("Last-Modified", httpDate(-time.Hour)).rules(Rules{Heuristic: true}), 6 * time.Minute, heuristic},
		{"4.2.2 a tenth before Date", fill("Date", httpDate(-time.Hour), "Last-Modified", httpDate(-3*time.Hour)).rules(Rules{Heuristic: true}), 12 * time.Minute, heuristic},
		{"4.2.2 at most a day", fill("Last-Modified", httpDate(-1000*time.Hour)).rules(Rules{Heuristic: true}), 24 * time.Hour, heuristic},
		{"4.2.2 in the future", fill("Last-Modified", httpDate(time.Hour)).rules(Rules{Heuristic: true}), 0, none},
		{"4.2.2 the epoch", fill("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT").rules(Rules{Heuristic: true}), 0, none},
		{"4.2.2 year 1", fill("Last-Modified", "Mon, 01 Jan 0001 00:00:00 GMT").rules(Rules{Heuristic: true}), 0, none},
		{"4.2.2 invalid", fill("Last-Modified", "yesterday").rules(Rules{Heuristic: true}), 0, none},
		{"4.2.2 not allowed", fill("Last-Modified", httpDate(-time.Hour)), 0, none},
		{"4.2.2 explicit", fill("Last-Modified", httpDate(-time.Hour), "Cache-Control", "max-age=1").rules(Rules{Heuristic: true}), second, explicit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(tt.fill)
			equal(t, "Lifetime", v.Lifetime, tt.want)
			equal(t, "Explicit", v.Explicit, tt.from == explicit)
			equal(t, "Heuristic", v.Heuristic, tt.from == heuristic)
		})
	}
}

func TestRFC9111_4_2_3_Age(t *testing.T) {
	for _, tt := range []struct {
		name string
		fill Fill
		want time.Duration
	}{
		{"nothing", fresh(), 0},
		{"Age", fresh("Age", "30"), 30 * second},
		{"Age and delay", fresh("Age", "30").took(2 * second), 32 * second},
		{"delay alone", fresh().took(2 * second), 2 * second},
		{"apparent age", fresh("Date", httpDate(-time.Hour)), time.Hour},
		{"apparent age over Age", fresh("Date", httpDate(-time.Hour), "Age", "30"), time.Hour},
		{"Age over apparent age", fresh("Date", httpDate(-10*second), "Age", "30").took(second), 31 * second},
		{"the second of Date", fresh("Date", httpDate(0)).took(900 * time.Millisecond), 900 * time.Millisecond},
		{"Date in the future", fresh("Date", httpDate(time.Hour), "Age", "3"), 3 * second},
		{"invalid Date", fresh("Date", "foo", "Age", "3"), 3 * second},
		{"Date of year 1", fresh("Date", "Mon, 01 Jan 0001 00:00:00 GMT", "Age", "3"), 3 * second},
		{"clock set back meanwhile", fresh("Age", "3").took(-time.Hour), 3 * second},
		{"huge", fresh("Age", "99999999999").took(time.Hour), maxDelta},

		{"5.1 no number", fresh("Age", "abc"), 0},
		{"5.1 negative", fresh("Age", "-7200"), 0},
		{"5.1 decimal", fresh("Age", "7200.0"), 0},
		{"5.1 empty", fresh("Age", ""), 0},
		{"5.1 list", fresh("Age", "7200,0"), 7200 * second},
		{"5.1 list, other order", fresh("Age", "0, 7200"), 0},
		{"5.1 two lines", fresh("Age", "7200", "Age", "0"), 7200 * second},
		{"5.1 two lines, other order", fresh("Age", "0", "Age", "7200"), 0},
		{"5.1 first of list invalid", fresh("Age", "x, 7200"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) { equal(t, "InitialAge", Judge(tt.fill).InitialAge, tt.want) })
	}
}

func TestRFC9111_4_2_3_NoRequestTime(t *testing.T) {
	f := fresh("Age", "5")
	f.RequestTime = time.Time{}
	equal(t, "InitialAge", Judge(f).InitialAge, 5*second)
}

func TestRFC9110_6_6_1_Date(t *testing.T) {
	equal(t, "given", Judge(fresh("Date", httpDate(-5*second))).Date, noon.Add(-5*second))
	equal(t, "missing", Judge(fresh().took(second)).Date, noon.Add(second))
	equal(t, "invalid", Judge(fresh("Date", "x")).Date, noon)
	equal(t, "long ago", Judge(fresh("Date", "Sat, 01 Jan 1678 00:00:00 GMT")).Date.Year(), 1678)
	equal(t, "too long ago", Judge(fresh("Date", "Fri, 31 Dec 1677 23:59:59 GMT")).Date, noon)
	equal(t, "far ahead", Judge(fresh("Date", "Tue, 31 Dec 2261 23:59:59 GMT")).Date.Year(), 2261)
	equal(t, "too far ahead", Judge(fresh("Date", "Wed, 01 Jan 2262 00:00:00 GMT")).Date, noon)
	equal(t, "beyond Unix nanoseconds", Judge(fresh("Date", "Fri, 31 Dec 9999 23:59:59 GMT")).Date, noon)
}

func TestRFC9111_4_2_4_StaleProhibited(t *testing.T) {
	for cc, want := range map[string]bool{
		"max-age=60":                   false,
		"max-age=60, must-revalidate":  true,
		"max-age=60, proxy-revalidate": true,
		"s-maxage=60":                  true,
		"no-cache":                     true,
		`no-cache="a", max-age=60`:     false,
	} {
		v := Judge(fill("Cache-Control", cc))
		equal(t, cc+": MustRevalidate", v.MustRevalidate, want)
		equal(t, cc+": NoCache", v.NoCache, cc == "no-cache")
	}
	v := Judge(fresh().with("Cache-Control", "stale-while-revalidate=5, stale-if-error=x"))
	equal(t, "StaleWhileRevalidate", v.StaleWhileRevalidate, Delta{5 * second, true})
	equal(t, "StaleIfError", v.StaleIfError, Delta{0, true})
}

func TestRFC9111_3_1_StoredFields(t *testing.T) {
	v := fresh("Connection", "close, a, B", "Connection", "a").with("Cache-Control", `private="x-user", no-cache="set-cookie"`).check(t, "")
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "A", "B", "X-User", "Set-Cookie",
	} {
		if !slices.Contains(v.Strip, name) {
			t.Errorf("%s would be stored", name)
		}
	}
	for _, name := range []string{"Cache-Control", "Content-Type", "Close", "Date", "Etag"} {
		if slices.Contains(v.Strip, name) {
			t.Errorf("%s would not be stored", name)
		}
	}
	if extra := Judge(fresh()).Strip; len(extra) != len(hopByHop) {
		t.Errorf("what one response names reaches the next: %q", extra)
	}
}

func TestRFC9110_7_6_1_ConnectionFields(t *testing.T) {
	got := ConnectionFields(fields("Connection", "close, keep-alive ,,x-B, bad name, x-a", "Connection", "X-b"))
	if want := []string{"Keep-Alive", "X-A", "X-B"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, want := range map[string]bool{
		"Connection": true, "TE": true, "transfer-encoding": true, "Upgrade": true, "": false, "Te2": false, "Via": false,
	} {
		equal(t, name, HopByHop(name), want)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("max-age=60", "", "", "30", "", "", "", uint16(200), uint8(0), int64(0))
	f.Add("no-cache", "no-store", "max-age=5", "x", httpDate(0), httpDate(60*second), httpDate(-time.Hour), uint16(404), uint8(255), int64(1e9))
	f.Add(`private="a", s-maxage=1`, "no-cache", "", "-1", "x", "0", "", uint16(599), uint8(6), int64(-5))
	f.Add("no-store, must-understand", "", "", "", "", "", "", uint16(200), uint8(3), int64(1<<62))
	f.Fuzz(func(t *testing.T, cc, reqCC, cdn, age, date, expires, modified string, status uint16, bits uint8, took int64) {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		h := http.Header{
			"Cache-Control": {cc}, "Cdn-Cache-Control": {cdn}, "Age": {age}, "Date": {date},
			"Expires": {expires}, "Last-Modified": {modified}, "Set-Cookie": {"a=b"},
		}
		for _, name := range []string{"Age", "Date", "Expires", "Last-Modified", "Cdn-Cache-Control"} {
			if h.Get(name) == "" {
				h.Del(name)
			}
		}
		if !bit(7) {
			h.Del("Set-Cookie")
		}
		fill := Fill{
			Method: "GET", RequestHeader: http.Header{"Cache-Control": {reqCC}}, Status: int(status), ResponseHeader: h,
			RequestTime: noon, ResponseTime: noon.Add(time.Duration(took)),
			Rules: Rules{
				TTL: time.Duration(took), Listed: bit(0), AnyStatus: bit(1), Heuristic: bit(2), SetCookie: bit(3), Authorization: bit(4),
				Targets: []string{"CDN-Cache-Control"},
			},
		}
		if bit(5) {
			fill.RequestHeader.(http.Header).Set("Authorization", "x")
		}
		v := Judge(fill)
		c := ParseResponseControl(h, fill.Rules.Targets)
		checkTold(t, fill, max(time.Duration(took), 1))
		if v.Store != (v.Reason == "") {
			t.Fatalf("Store %v with reason %q", v.Store, v.Reason)
		}
		lifetime := v.Lifetime
		if !v.Explicit && !v.Heuristic { // the policy's, on top of any age
			lifetime = max(lifetime-v.InitialAge, 0)
		}
		for _, d := range []time.Duration{lifetime, v.InitialAge, v.StaleWhileRevalidate.D, v.StaleIfError.D} {
			if d < 0 || d > maxDelta {
				t.Fatalf("duration out of range: %+v", v)
			}
		}
		if v.Date.IsZero() || !time.Unix(0, v.Date.UnixNano()).Equal(v.Date) {
			t.Fatalf("Date %v", v.Date)
		}
		if v.Explicit && v.Heuristic || v.Heuristic && !bit(2) {
			t.Fatalf("source of lifetime: %+v", v)
		}
		if (c.MaxAge.OK || c.SMaxAge.OK || !c.Targeted && h["Expires"] != nil) && !v.Explicit {
			t.Fatalf("explicit freshness lost: %+v", v)
		}
		if !v.Store {
			return
		}
		switch {
		case c.Private, c.NoStore && !c.MustUnderstand, ParseRequestControl(fill.RequestHeader).NoStore:
			t.Fatalf("stored though forbidden: %+v", v)
		case status < 200, status == 206, status == 304, status > 599:
			t.Fatalf("stored a %d", status)
		case bit(5) && !bit(4) && !c.Public && !c.MustRevalidate && !c.SMaxAge.OK:
			t.Fatalf("stored in spite of Authorization: %+v", v)
		case bit(7) && !bit(3) && !slices.Contains(v.Strip, "Set-Cookie"):
			t.Fatalf("stored with Set-Cookie: %+v", v)
		case !v.Explicit && v.Lifetime <= 0:
			t.Fatalf("stored without any freshness: %+v", v)
		case c.NoCache && !v.NoCache:
			t.Fatalf("no-cache lost: %+v", v)
		case (c.MustRevalidate || c.ProxyRevalidate || c.SMaxAge.OK || c.NoCache) && !v.MustRevalidate:
			t.Fatalf("must-revalidate lost: %+v", v)
		}
		fill.Method = "HEAD"
		if Judge(fill).Store {
			t.Fatal("stored a HEAD")
		}
		fill.Method = "GET"
		h["Vary"] = []string{"Foo, *"}
		if Judge(fill).Store {
			t.Fatal("stored a Vary: *")
		}
	})
}

func TestJudgeWithoutHeaders(t *testing.T) {
	v := Judge(Fill{Method: "GET", Status: 200, ResponseTime: noon, Rules: Rules{Listed: true, TTL: time.Second}})
	if !v.Store || v.Lifetime != time.Second {
		t.Errorf("got %+v", v)
	}
	if !strings.EqualFold(Judge(Fill{Method: "GET", Status: 200}).Reason, "no-freshness") {
		t.Error("stored without freshness")
	}
}
