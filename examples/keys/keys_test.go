// Package keys tests that no two requests share an answer that a handler would
// have answered differently.
package keys

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

// Pairs of requests that caches or frameworks have mistaken for one another, in the
// form of parse.
var pairs = [][2]string{
	{"/", "/"},
	{"/p\nCookie: role =admin", "/p"},
	{"/p\nCookie: role", "/p"},
	{"/p\nCookie: role\t=admin", "/p"},
	{"/p\nCookie: =role=admin", "/p\nCookie: role=admin"},
	{"/p\nCookie: role=\"admin\"", "/p\nCookie: role=admin"},
	{"/p\nCookie: role=a\nCookie: role=b", "/p\nCookie: role=a; role=b"},
	{"/p\nCookie: role=a; k=1", "/p\nCookie: k=1; role=a"},
	{"/p\nCookie: role=a;role=b", "/p\nCookie: role=b;role=a"},
	{"/p\nCookie: role=de\u00a0", "/p\nCookie: role=de"},
	{"/p\nCookie: role=a%20b", "/p\nCookie: role=a b"},
	{"/p\nCookie: role=a" + strings.Repeat(";x", 3000), "/p\nCookie: role=a"},
	{"/p\nX-Tenant: acme\u00a0", "/p\nX-Tenant: acme"},
	{"/p\nX-Tenant: acme\u0085", "/p\nX-Tenant: acme"},
	{"/p\nX-Tenant: \tacme", "/p\nX-Tenant: acme"},
	{"/p\nX-Tenant: free\nX-Tenant: paid", "/p\nX-Tenant: free,paid"},
	{"/p\nX-Tenant: free\nX-Tenant: paid", "/p\nX-Tenant: free, paid"},
	{"/p\nX-Tenant: a\nX-Tenant: b", "/p\nX-Tenant: b\nX-Tenant: a"},
	{"/p\nX-Tenant:", "/p"},
	{"/p\nx-tenant: a", "/p\nx-tenant: b"},
	{"/p\nx-tenant: a", "/p\nX-Tenant: a"},
	{"/p\nX-Tenant: a\nx-tenant: b", "/p\nx-tenant: b\nX-Tenant: a"},
	{"/p\nSpelled: x-tenant=a", "/p\nX-Tenant: a"},
	{"/p\nSpelled: cookie=role=a", "/p\nSpelled: cookie=role=b"},
	{"/p\nX-Forwarded-Host: shop.example\u00a0", "/p\nX-Forwarded-Host: shop.example"},
	{"/p\nx-forwarded-host: evil.example", "/p"},
	{"/p\nX-Forwarded-Proto: https\nX-Url-Scheme: http", "/p\nX-Url-Scheme: http\nX-Forwarded-Proto: https"},
	{"/p\nX-Forwarded-Ssl: on\nX-Forwarded-Proto: http", "/p\nX-Forwarded-Proto: http\nX-Forwarded-Ssl: on"},
	{"/p\nForwarded: for=1;host=a", "/p\nForwarded: for=1"},
	{"/p\nForwarded: for=1;\u00a0host=a", "/p\nForwarded: for=1"},
	{"/p\nForwarded: ho\u017ft=a", "/p"},
	{"/?id=1&%69d=2", "/?%69d=2&id=1"},
	{"/?sort[]=name&sort%5B%5D=date", "/?sort%5B%5D=date&sort[]=name"},
	{"/?a+b=1&a%20b=2", "/?a%20b=2&a+b=1"},
	{"/?a%zz=1&a%25zz=2", "/?a%25zz=2&a%zz=1"},
	{"/?b&a;b=1", "/?a;b=1&b"},
	{"/?id=1;utm_a=2", "/?id=1;utm_a=3"},
	{"/?%69d=1", "/?%69d=2"},
	{"/?=1&=2", "/?=2&=1"},
	{"/?id=1" + strings.Repeat("&", 10001), "/?id=1"},
	{"/?id=1#a", "/?id=1"},
	{"/?id=1&&id=2", "/?id=2&id=1"},
	{"/\nHost: a.example", "/\nHost: b.example"},
	{"/\nHost: A.example", "/\nHost: a.example:80"},
	{"http://b.example/\nHost: a.example", "/\nHost: a.example"},
	{"http://k.example/\nHost: \u212a.example", "http://k.example/\nHost: k.example"},
	{"https://b.example/\nHost: b.example", "/\nHost: b.example"},
	{"/\nAccept-Language: de, en", "/\nAccept-Language: en, de"},
	{"/\nAccept-Language: de\nAccept-Language: en", "/\nAccept-Language: de, en"},
	{"/\nAccept-Encoding: gzip\nAccept-Encoding: br", "/\nAccept-Encoding: gzip, br"},
	{"/\nAccept-Encoding: gzip;q=0, *", "/\nAccept-Encoding: *"},
	{"/\nAccept: a/b\nAccept: c/d", "/\nAccept: a/b, c/d"},
	{"/\n=method: QUERY\n=content: a", "/\n=method: QUERY\n=content: b"},
	{"/\n=method: QUERY\n=content: a", "/\n=method: POST\n=content: a"},
	{"/\n=method: QUERY\n=content: a", "/\n=content: a"},
	{"/\n=method: QUERY\n=content: a", "/\n=method: QUERY\n=chunks: a"},
	{"/\n=method: QUERY\n=content:", "/\n=method: QUERY\n=chunks:"},
	{"/\n=content: a", "/"},
	{"/\n=method: QUERY", "/"},
	{"/\n=method: POST\n=content: id=1\nContent-Type: application/x-www-form-urlencoded", "/\n=method: POST\n=content: id=1"},
	{"/\n=method: POST\n=content: id=1\nContent-Type: application/x-www-form-urlencoded", "/\n=method: POST\n=content: id=1\nContent-Type: Application/X-WWW-Form-Urlencoded"},
	{"/\n=method: POST\n=content: id=1\nContent-Type: application/x-www-form-urlencoded", "/?id=1\n=method: POST\nContent-Type: application/x-www-form-urlencoded"},
	{"/\n=method: QUERY\n=content: a\nContent-Type: a/b;c=d", "/\n=method: QUERY\n=content: a\nContent-Type: a/b; c=d"},
	{"/\n=method: QUERY\n=content: a\nContent-Type:", "/\n=method: QUERY\n=content: a"},
	{"/\n=method: QUERY\n=content: a\nContent-Type: a/b\nContent-Type: c/d", "/\n=method: QUERY\n=content: a\nContent-Type: c/d\nContent-Type: a/b"},
	{"/\n=method: QUERY\n=content: a\nSpelled: content-type=a/b", "/\n=method: QUERY\n=content: a\nContent-Type: a/b"},
	{"/\n=method: QUERY\n=content: a\ncontent-type: a/b", "/\n=method: QUERY\n=content: a\nContent-Type: a/b"},
	{"/\n=method: QUERY\n=content: a\nContent-Encoding: gzip", "/\n=method: QUERY\n=content: a"},
	{"/\n=method: QUERY\n=content: a\nContent-Encoding: gzip\nContent-Encoding: br", "/\n=method: QUERY\n=content: a\nContent-Encoding: gzip, br"},
	{"/\n=method: QUERY\n=content: a\nContent-Language: de", "/\n=method: QUERY\n=content: a\nContent-Language: en"},
	{"/\n=method: POST\n=content: --b\r\n\nContent-Type: multipart/form-data; boundary=b", "/\n=method: POST\n=content: --c\r\n\nContent-Type: multipart/form-data; boundary=b"},
	{"/\n=method: QUERY\n=content: GET / HTTP/1.1", "/\n=method: QUERY\n=content: GET /b HTTP/1.1"},
}

// count gives each group of requests a path.
var count atomic.Int64

// FuzzSameAnswer asks several requests of one cache: the two given and what mutating
// them by seed makes of them; 0 leaves them alone. Whatever comes from the cache
// must be what the handler would have said.
func FuzzSameAnswer(f *testing.F) {
	for i, pair := range pairs {
		for framework := range frameworks {
			f.Add(uint(i*len(frameworks)+framework), pair[0], pair[1], uint64(i+1))
		}
	}
	f.Fuzz(func(t *testing.T, setup uint, first, second string, seed uint64) {
		if len(first)+len(second) > 40_000 {
			t.Skip()
		}
		framework, pol := int(setup%uint(len(frameworks))), int(setup/uint(len(frameworks))%uint(len(policies)))
		all := []request{parse(first), parse(second)}
		if seed != 0 {
			rnd := rand.New(rand.NewPCG(seed, 0))
			all = append(all, mutate(rnd, all[0]), mutate(rnd, all[1]))
			all = append(all, mutate(rnd, all[2]), mutate(rnd, all[0]))
		}
		compare(t, framework, pol, all)
	})
}

// TestPairs asks each of the pairs in both orders, with every framework and policy.
func TestPairs(t *testing.T) {
	for _, pair := range pairs {
		for framework := range frameworks {
			for pol := range policies {
				first, second := parse(pair[0]), parse(pair[1])
				compare(t, framework, pol, []request{first, second})
				compare(t, framework, pol, []request{second, first})
			}
		}
	}
}

// compare asks one cache for all, which have a path of their own.
func compare(t *testing.T, framework, pol int, all []request) {
	t.Helper()
	s := serviceOf(t, framework, pol)
	n := count.Add(1)
	for i, r := range all {
		saw, body, _, ok := s.ask(r.text(n))
		if !ok || saw == body {
			continue
		}
		var b strings.Builder
		for _, r := range all[:i] {
			fmt.Fprintf(&b, "%q\n", r.text(n))
		}
		t.Errorf("%s, %s: after\n%s\n%q got from the cache\n%s\nbut is answered\n%s",
			frameworks[framework], policies[pol].name, b.String(), r.text(n), body, saw)
	}
}

// TestHitsAreFound: there is something to compare, with every framework and policy.
func TestHitsAreFound(t *testing.T) {
	for framework := range frameworks {
		for pol := range policies {
			n := count.Add(1)
			r := parse("/p?id=1&a+b=2\nX-Tenant: a\nCookie: role=x; k=y\nX-Forwarded-Proto: https\nAccept-Language: de")
			s := serviceOf(t, framework, pol)
			for _, content := range []string{"", "\n=content: id=1", "\n=chunks: id=2\nContent-Type: application/x-www-form-urlencoded"} {
				for _, method := range methods {
					r := parse("/p" + content + "\n=method: " + method)
					r.lines = append(r.lines, line{"X-Tenant", "a"})
					for i := range 2 {
						if _, _, hit, ok := s.ask(r.text(n)); !ok || hit != (i == 1) {
							t.Errorf("%s, %s: %q: hit %v, ok %v", frameworks[framework], policies[pol].name, r.text(n), hit, ok)
						}
					}
				}
			}
			for i := range 2 {
				saw, body, hit, ok := s.ask(r.text(n))
				if !ok || saw != body || !strings.Contains(saw, "path") || hit != (i == 1) {
					t.Errorf("%s, %s: hit %v, %q and %q", frameworks[framework], policies[pol].name, hit, saw, body)
				}
			}
		}
	}
}
