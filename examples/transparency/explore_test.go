package transparency
import ("testing";"fmt";"os";"path/filepath";"time";"sync/atomic";"github.com/cacheaside/cacheaside/core")
func show(s tenancy, what string, g got) {
	b := g.body; if len(b) > 30 { b = b[:30] }
	fmt.Printf("%-50s %d %q CS=%q log=%q err=%v", what, g.code, b, g.header.Get("Cache-Status"), s.log.take(), g.err)
	for _, n := range []string{"X-Request-Id","Access-Control-Allow-Origin","Vary","Set-Cookie","X-Visits","Content-Encoding","Etag","X-Ratelimit-Remaining","Retry-After"} { if v := g.header[n]; v != nil { fmt.Printf(" %s=%q", n, v) } }
	fmt.Println()
}
func TestExplore(t *testing.T) {
	for _, h := range houses() { t.Run(h.name, func(t *testing.T) {
		both := func(mw string, policy policyOf, f func(s tenancy, say func(string, got))) {
			for _, o := range [][]string{{mw, "cache"}, {"cache", mw}} {
				if mw == "session" { if o[0] == mw { o = []string{"session","visits","cache"} } else { o = []string{"cache","session","visits"}} }
				if h.name == "Fiber" { o = append([]string{"recover"}, o...) }
				s := h.under(t, policy, o...)
				f(s, func(w string, g got) { show(s, fmt.Sprint(h.name, o, w), g) })
			}
		}
		both("recover", nil, func(s tenancy, say func(string, got)) { for range 2 { say("panic", s.get("/panic")); say("late-panic", s.get("/late-panic")) } })
		both("logger", nil, func(s tenancy, say func(string, got)) { for range 2 { say("page", s.get("/page")) } })
		both("request id", nil, func(s tenancy, say func(string, got)) { for range 2 { say("page", s.get("/page")) }; say("own", s.get("/page", "X-Request-Id", "mine")) })
		both("CORS", nil, func(s tenancy, say func(string, got)) { say("page none", s.get("/page")); say("page a", s.get("/page", "Origin", "https://a.example")); say("page b", s.get("/page", "Origin", "https://b.example"));  say("preflight", s.do("OPTIONS", "/page","", "Origin", "https://b.example", "Access-Control-Request-Method", "GET")) })
		both("limiter", nil, func(s tenancy, say func(string, got)) { for range 4 { say("page", s.get("/page")) }; say("other", s.get("/json")) ; say("other", s.get("/json?2")); say("other", s.get("/json?3")) })
		{
			for _, o := range [][]string{{"recover","static", "cache"}, {"recover","cache", "static"}} {
				dir := t.TempDir()
				s := tenancy{start(t, stack{}, h.build(o, dir), true), t}
				f := filepath.Join(dir, "hello.txt")
				os.WriteFile(f, []byte("old"), 0o600)
				show(s, fmt.Sprint(h.name, o), s.get("/hello.txt"))
				os.WriteFile(f, []byte("new"), 0o600)
				show(s, fmt.Sprint(h.name, o), s.get("/hello.txt"))
				show(s, fmt.Sprint(h.name, o), s.get("/page"))
				show(s, fmt.Sprint(h.name, o), s.get("/page"))
			}
		}
		for _, p := range []policyOf{nil, authorized} {
		for _, mw := range []string{"basic auth", "JWT"} {
		both(mw, p, func(s tenancy, say func(string, got)) {
			a := func(u string) string { if mw == "JWT" { return bearer(t, u) }; return basic(u) }
			say("jack", s.get("/me", "Authorization", a("jack"))); say("jack", s.get("/me", "Authorization", a("jack"))); say("jill", s.get("/me", "Authorization", a("jill"))); say("nobody", s.get("/me"));say("nobody", s.get("/me"))
		}) } }
		both("API key", nil, func(s tenancy, say func(string, got)) { say("key", s.get("/page", "X-Key", "secret")); say("key", s.get("/page", "X-Key", "secret")); say("wrong", s.get("/page", "X-Key", "no")); say("none", s.get("/page")) })
		both("session", nil, func(s tenancy, say func(string, got)) { say("expiring nobody", s.get("/expiring")); g := s.get("/session"); say("session", g); c := g.cookies();
			say("session2", s.get("/session"))
			say("expiring with", s.get("/expiring", "Cookie", c)); g = s.get("/expiring", "Cookie", c); say("expiring with", g); say("expiring nobody", s.get("/expiring")); say("page with", s.get("/page", "Cookie", c));  say("page", s.get("/page")); say("page", s.get("/page")); say("page with", s.get("/page", "Cookie", c)) })
		both("csrf", nil, func(s tenancy, say func(string, got)) { say("page", s.get("/page")); g := s.get("/page"); say("page", g); say("page with", s.get("/page", "Cookie", g.cookies())); say("browser", s.get("/page","Sec-Fetch-Site","none")); say("browser", s.get("/page","Sec-Fetch-Site","none")); g = s.get("/form"); say("form", g); g2 := s.get("/form"); say("form", g2)
			tok := token.FindStringSubmatch(g.body); if tok == nil { tok = []string{"", "x"} }
			say("post", s.do("POST", "/form", "csrf_token="+tok[1]+"&_csrf="+tok[1], "Content-Type", "application/x-www-form-urlencoded", "Cookie", g.cookies(), "X-CSRF-Token", tok[1]))
			say("post without", s.do("POST", "/form", "x=1", "Content-Type", "application/x-www-form-urlencoded"))
			say("post other", s.do("POST", "/form", "x=1", "Content-Type", "application/x-www-form-urlencoded", "Cookie", g2.cookies(), "X-CSRF-Token", tok[1]))
			say("form again", s.get("/form", "Cookie", g.cookies()))
			say("form again", s.get("/form", "Cookie", g.cookies()))
		})
		both("compression", nil, func(s tenancy, say func(string, got)) { say("plain", s.get("/page")); say("gzip", s.get("/page", "Accept-Encoding", "gzip")); say("gzip", s.get("/page", "Accept-Encoding", "gzip, br")); say("plain", s.get("/page"));
		  say("gzip first", s.get("/page?2", "Accept-Encoding", "gzip")); say("plain", s.get("/page?2")); say("plain", s.get("/page?2")); say("gzip", s.get("/page?2", "Accept-Encoding", "gzip"));say("br", s.get("/page?2", "Accept-Encoding", "br"));say("gzip, br", s.get("/page?2", "Accept-Encoding", "gzip, deflate, br"))})
		var ahead atomic.Int64
		both("timeout", func(c *core.Config) { c.StaleIfError = time.Hour; c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } }, func(s tenancy, say func(string, got)) {
			say("slow first", s.get("/slow?2", "X-Slow", "1"))
			say("fast", s.get("/slow?2"))
			say("fast", s.get("/slow")); say("hit", s.get("/slow", "X-Slow", "1")); ahead.Add(int64(2*time.Minute)); say("stale", s.get("/slow", "X-Slow", "1"))
		})
		if h.name == "Fiber" {
		both("etag", nil, func(s tenancy, say func(string, got)) { g := s.get("/page"); say("page", g); e := g.header.Get("Etag"); say("304", s.get("/page", "If-None-Match", e)); say("304 first", s.get("/page?2", "If-None-Match", e)); say("then", s.get("/page?2"))})
		}
		s := h.under(t, func(c *core.Config) { c.GenerateETag = true }, "cache")
		g := s.get("/page"); show(s, "genetag", g); g = s.get("/page"); show(s, "genetag", g); show(s, "genetag", s.get("/page", "If-None-Match", g.header.Get("Etag")));
	})}
}
