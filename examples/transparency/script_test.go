package transparency

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the handlers of all frameworks answer with.
const (
	maxBytes = 32 << 10 // of the policy
	etag     = `"v1"`
	plain    = "text/plain; charset=utf-8"
)

var (
	written  = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	modified = written.Format(http.TimeFormat)
	pageText = text(3000)
	bigText  = text(24 << 10)    // more than one write of any buffer
	hugeText = text(36 << 10)    // more than the policy holds back
	packed   = gzipped(pageText) // a handler's own encoding
)

func text(n int) string {
	return strings.Repeat("All work and no play makes Jack a dull boy.\n", n/44+1)[:n]
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.Bytes()
}

// A step is a request of the script. Its name is that of the route and of what is
// special about it.
type step struct {
	name, method, path string
	header             []string
	body               string
	jar                string // the visitor whose cookies go along and who keeps those that come
	hit                bool   // answered from what an earlier step has stored
}

// script is the same for all stacks.
var script = steps()

func steps() []step {
	var all []step
	add := func(name, method, path string, header ...string) *step {
		all = append(all, step{name: name, method: method, path: path, header: header})
		return &all[len(all)-1]
	}
	get := func(name, path string, header ...string) *step { return add(name, "GET", path, header...) }
	gz := []string{"Accept-Encoding", "gzip"}

	// Handlers that answer with a body.
	for _, r := range []string{"page", "untyped", "json", "tagged", "file", "big", "declared", "pieces", "encoded", "vary", "expiring", "huge", "stream", "private"} {
		stored := !slices.Contains([]string{"file", "huge", "stream", "private"}, r)
		get(r, "/"+r)
		get(r+"/again", "/"+r).hit = stored
		add(r+"/head", "HEAD", "/"+r)
		get(r+"/gzip", "/"+r, gz...)
		if slices.Contains([]string{"page", "file", "big", "encoded", "vary"}, r) {
			get(r+"/gzip-again", "/"+r, gz...)
			add(r+"/gzip-head", "HEAD", "/"+r, gz...)
		}
	}
	for _, r := range []string{"page", "untyped", "file"} { // what is asked first is something else
		add(r+"/head-first", "HEAD", "/"+r+"?first=head")
		get(r+"/after-head", "/"+r+"?first=head")
		add(r+"/head-gzip-first", "HEAD", "/"+r+"?first=head-gzip", gz...)
		get(r+"/gzip-first", "/"+r+"?first=gzip", gz...)
		get(r+"/plain-after-gzip", "/"+r+"?first=gzip")
	}

	// Ranges and conditions, of what is not stored and of what is.
	conditions := map[string][]string{
		"range":                   {"Range", "bytes=10-19"},
		"range-gzip":              {"Range", "bytes=10-19", "Accept-Encoding", "gzip"},
		"range-suffix":            {"Range", "bytes=-5"},
		"range-none":              {"Range", "bytes=999999-"},
		"range-two":               {"Range", "bytes=0-1,4-5"},
		"range-bad":               {"Range", "lines=1-2"},
		"if-range":                {"Range", "bytes=10-", "If-Range", etag},
		"if-range-gzip":           {"Range", "bytes=10-", "If-Range", etag, "Accept-Encoding", "gzip"},
		"if-range-other":          {"Range", "bytes=10-", "If-Range", `"v0"`},
		"if-range-date":           {"Range", "bytes=10-", "If-Range", modified},
		"if-none-match":           {"If-None-Match", etag},
		"if-none-match-gzip":      {"If-None-Match", etag, "Accept-Encoding", "gzip"},
		"if-none-match-weak":      {"If-None-Match", "W/" + etag},
		"if-none-match-other":     {"If-None-Match", `"v0"`},
		"if-none-match-any":       {"If-None-Match", "*"},
		"if-modified-since":       {"If-Modified-Since", modified},
		"if-modified-since-old":   {"If-Modified-Since", "Sun, 01 Jan 2023 00:00:00 GMT"},
		"if-match-other":          {"If-Match", `"v0"`},
		"if-unmodified-since":     {"If-Unmodified-Since", "Sun, 01 Jan 2023 00:00:00 GMT"},
		"if-none-match-and-range": {"If-None-Match", `"v0"`, "Range", "bytes=10-19"},
	}
	first := []string{"range", "range-gzip", "if-range", "if-none-match", "if-none-match-gzip", "if-modified-since", "if-match-other"}
	for _, c := range []struct {
		route        string
		names, first []string
	}{
		{"page", []string{"range", "range-gzip", "if-range", "if-none-match", "if-none-match-any", "if-modified-since", "if-match-other"}, first[:1]}, // it has no validator
		{"tagged", []string{"range", "if-range-gzip", "if-none-match", "if-none-match-weak", "if-none-match-other", "if-none-match-any", "if-modified-since", "if-modified-since-old", "if-match-other"}, first[3:4]},
		{"file", sortedKeys(conditions), first}, // it knows all of it
	} {
		for _, name := range c.names {
			get(c.route+"/"+name, "/"+c.route, conditions[name]...)
		}
		for _, name := range c.first {
			get(c.route+"/"+name+"/first", "/"+c.route+"?first="+name, conditions[name]...)
			get(c.route+"/"+name+"/after", "/"+c.route+"?first="+name)
		}
		add(c.route+"/range-head", "HEAD", "/"+c.route, "Range", "bytes=10-19")
	}

	// Everything else that a handler can do.
	for _, r := range []string{
		"nothing", "empty", "no-content", "accepted", "redirect", "found", "missing", "failing", "error", "mapped",
		"panic", "late-panic", "cookie", "no-cache-cookie", "no-store", "rendered", "slow", "hints", "trailer",
		"unknown", "named", "appended", "pattern", "items/1",
	} {
		get(r, "/"+r)
		get(r+"/again", "/"+r)
		add(r+"/head", "HEAD", "/"+r)
		if slices.Contains([]string{"nothing", "empty", "no-content", "redirect", "missing", "error", "rendered", "hints", "trailer", "unknown", "named"}, r) {
			get(r+"/gzip", "/"+r, gz...)
		}
	}

	// Requests that middleware looks at.
	get("origin", "/page?q=origin", "Origin", "https://a.example")
	get("origin/other", "/page?q=origin", "Origin", "https://b.example")
	get("origin/none", "/page?q=origin")
	get("origin/same", "/page?q=origin", "Origin", "https://a.example")
	get("origin/refused", "/page?q=origin", "Origin", "https://evil.example")
	add("origin/preflight", "OPTIONS", "/page", "Origin", "https://a.example", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "X-A")
	get("cookie-sent", "/page?q=cookie", "Cookie", "theme=dark")
	get("cookie-sent/again", "/page?q=cookie", "Cookie", "theme=dark")
	get("cookie-sent/none", "/page?q=cookie")
	get("authorized", "/page?q=auth", "Authorization", credentials)
	get("authorized/again", "/page?q=auth", "Authorization", credentials)
	get("authorized/wrong", "/page?q=auth", "Authorization", "Basic bm86bm8=")
	get("authorized/none", "/page?q=auth", "Authorization", "")
	get("forwarded", "/page?q=forwarded", "X-Forwarded-For", "192.0.2.1", "X-Real-IP", "192.0.2.1", "X-Forwarded-Proto", "https")
	get("request-id", "/page?q=id", "X-Request-Id", "mine")
	get("request-id/again", "/page?q=id", "X-Request-Id", "mine")
	get("slash", "/page/")
	get("slash/again", "/page/")
	get("two-slashes", "//page")
	get("rewritten", "/old/page")
	get("rewritten/again", "/old/page")
	get("mounted", "/mounted/page")
	get("mounted/again", "/mounted/page")
	get("mounted/head", "/mounted/page")
	get("mounted/pattern", "/mounted/pattern")
	get("mounted/pattern/again", "/mounted/pattern")
	get("mounted/missing", "/mounted/unknown")
	for _, p := range []string{"static/hello.txt", "static/", "static/unknown", "favicon.ico"} {
		get(p, "/"+p)
		get(p+"/again", "/"+p)
		add(p+"/head", "HEAD", "/"+p)
		get(p+"/gzip", "/"+p, gz...)
		if p == "static/hello.txt" {
			get(p+"/range", "/"+p, "Range", "bytes=10-19")
			get(p+"/if-modified-since", "/"+p, "If-Modified-Since", modified)
		}
	}
	get("ping", "/ping")

	// Other methods.
	post := func(name, method, path, body string, header ...string) *step {
		s := add(name, method, path, append(header, "Content-Type", "text/plain")...)
		s.body = body
		return s
	}
	post("post", "POST", "/echo", "hello")
	post("post/large", "POST", "/echo", text(10<<10))
	post("put", "PUT", "/echo", "hello")
	post("post/override", "POST", "/echo", "hello", "X-HTTP-Method-Override", "PUT")
	post("post/other-origin", "POST", "/echo", "hello", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	post("post/nowhere", "POST", "/page", "hello")
	add("delete", "DELETE", "/echo")
	add("options", "OPTIONS", "/page")
	get("page/after-post", "/page")

	// Two visitors with cookies of their own.
	for _, who := range []string{"alice", "bob"} {
		for _, again := range []string{"", "/again"} {
			get("session/"+who+again, "/session").jar = who
			get("form/"+who+again, "/form").jar = who
			s := post("form/"+who+"/post"+again, "POST", "/form", "token={token}", "X-CSRF-Token", "{token}")
			s.header[len(s.header)-1] = "application/x-www-form-urlencoded"
			s.jar = who
		}
	}
	get("session/nobody", "/session")
	get("form/nobody", "/form")
	return all
}

const credentials = "Basic amFjazpzZWNyZXQ=" // jack:secret
