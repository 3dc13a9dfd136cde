package cacheaside

import (
	"context"
	"net/http"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// TestKeyPolicy: each field of it reaches the key.
func TestKeyPolicy(t *testing.T) {
	came := adapter.Request{
		Method: http.MethodGet, Scheme: "http", Host: "h", Path: "/a", RawQuery: "b=2&a=1&utm_source=x&gclid=3&fbclid=4",
		Header: http.Header{"X-A": {"1"}, "X-Host": {"p"}, "Cookie": {"sid=5; lang=de"}},
	}
	const query = "a=1&b=2&fbclid=4&gclid=3&utm_source=x"
	for _, c := range []struct {
		name   string
		policy KeyPolicy
		want   string // empty: no key
	}{
		{"zero", KeyPolicy{}, "GET:http://h/a?" + query + "|f:X-Host|=p"},
		{"Query, allowed", KeyPolicy{Query: Only("a")}, "GET:http://h/a?a=1|f:X-Host|=p"},
		{"Query, denied", KeyPolicy{Query: Except(TrackingParameters()...)}, "GET:http://h/a?a=1&b=2|f:X-Host|=p"},
		{"Query, none", KeyPolicy{Query: None()}, "GET:http://h/a|f:X-Host|=p"},
		{"KeepQueryOrder", KeyPolicy{KeepQueryOrder: true}, "GET:http://h/a?b=2&a=1&utm_source=x&gclid=3&fbclid=4|f:X-Host|=p"},
		{"Headers", KeyPolicy{Headers: []string{"x-b", "X-A", "x-a"}}, "GET:http://h/a?" + query + "|h:X-A=1|h:X-B|f:X-Host|=p"},
		{"Cookies", KeyPolicy{Cookies: []string{"sid", "lang", "sid"}}, "GET:http://h/a?" + query + "|c:lang=lang=de|c:sid=sid=5|f:X-Host|=p"},
		{"Generator", KeyPolicy{Generator: func(r *Request) string { return r.Path }}, "GET:http://h|k:/a|f:X-Host|=p"},
		{"Partition", KeyPolicy{Partition: func(r *Request) string { return r.Header.Values("x-a")[0] }}, "GET:http://h/a?" + query + "|v:1|f:X-Host|=p"},
		{"IgnoreHost", KeyPolicy{IgnoreHost: true}, "GET:http:///a?" + query + "|f:X-Host|=p"},
		{"IgnoreScheme", KeyPolicy{IgnoreScheme: true}, "GET://h/a?" + query + "|f:X-Host|=p"},
		{"IgnoreForwarded", KeyPolicy{IgnoreForwarded: true}, "GET:http://h/a?" + query},
		{"MaxBytes", KeyPolicy{MaxBytes: minKeyBytes, IgnoreForwarded: true, Partition: func(*Request) string { return query }}, ""},
	} {
		cache := cacheNamed(t, "", func(cfg *Config) { cfg.Policy.Key = c.policy })
		var req keys.Request
		req.Enter(&came)
		key, ok := cache.keys.Key(&req)
		if key.Primary != c.want || ok != (c.want != "") {
			t.Errorf("%s:\n got %s\nwant %s", c.name, key.Primary, c.want)
		}
	}
}

func BenchmarkReadsCookies(b *testing.B) {
	c := Must(New(Config{Policy: Policy{Requests: RequestPolicy{Cookies: Except(AnalyticsCookies()...)}}}))
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	var req keys.Request
	h, _ := req.Enter(&adapter.Request{Header: http.Header{"Cookie": {"_ga=GA1.2.3; _ga_X1=GS1.1; _gid=GA1.2; _gcl_au=1.1; _fbp=fb.1; _hjSessionUser_1=e; _clck=x; _uetvid=1; ajs_anonymous_id=2"}}})
	v := &visit{visitState: visitState{c: c, arrived: arrived{header: h}}}
	b.ReportAllocs()
	for b.Loop() {
		if v.readsCookies() {
			b.Fatal("they are of analytics")
		}
	}
}
