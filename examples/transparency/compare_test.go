package transparency

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer is all that went over the wire, by name: "status", "body" (as it came),
// "decoded", "framing", "1xx", "error", "log" (what a logger of the stack has
// written), "header NAME" and "trailer NAME" with their lines.
type answer map[string]string

// Fields that the cache adds, and the time.
var notCompared = []string{"Date", "Age", "Cache-Status"}

// random is what differs from run to run by its nature. What matches the first group
// is replaced by whether this service has given it out before.
var random = map[string]*regexp.Regexp{
	"header X-Request-Id": regexp.MustCompile(`^(.{12,})$`),
	"header Set-Cookie":   regexp.MustCompile(`(?m)^(?:session|session_id|_csrf|csrf_|csrf_token|_gorilla_csrf|a|b)=([-\w+/=%|.]{16,})`), // a session's id, a CSRF token, encrypted
	"body":                regexp.MustCompile(`token=([-\w+/=%]{16,})`),
	"header Content-Type": regexp.MustCompile(`boundary=(\w+)`),
}

// passing is the time of the day in answers; it is left out.
var passing = map[string]*regexp.Regexp{
	"header Set-Cookie":        regexp.MustCompile(`(?i)expires=[^;]*|(?m)^store=[^;]*`), // the time is in gorilla's cookie store
	"header X-Ratelimit-Reset": regexp.MustCompile(`.*`),
	"header Retry-After":       regexp.MustCompile(`.*`),
	"header Expires":           regexp.MustCompile(`20[3-9].*`),
}

// jar is what a visitor has got so far.
type jar struct {
	cookies map[string]string
	token   string
}

var token = regexp.MustCompile(`token=([-\w+/=]{16,})`)

// ask plays one step. The second result is what the cache says of it.
func (s *site) ask(t *testing.T, st stack, p step) (answer, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var interim []string
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			for _, name := range notCompared {
				header.Del(name)
			}
			for name := range header { // they are looked at in the final response
				if random["header "+name] != nil || strings.HasPrefix(name, "X-Ratelimit-") {
					header.Del(name)
				}
			}
			interim = append(interim, fmt.Sprint(code, header))
			return nil
		},
	})
	j := s.jars[p.jar]
	if j == nil {
		j = &jar{cookies: map[string]string{}}
		if p.jar != "" {
			s.jars[p.jar] = j
		}
	}
	body := p.body
	if strings.HasPrefix(p.path, "/form") {
		body = strings.ReplaceAll(body, "{token}", url.QueryEscape(j.token))
	}
	req, err := http.NewRequestWithContext(ctx, p.method, s.url+p.path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	// A request on a connection that was used before is sent again when the server gives
	// it up, or lost if it is unsafe, and fasthttp sends a body after a HEAD.
	client := s.client
	safe := p.method == http.MethodGet || p.method == http.MethodHead
	if !st.h2c && (!safe || p.method == http.MethodHead && s.fasthttp || strings.Contains(p.name, "panic")) {
		client = s.once
	}
	for pair := range slices.Chunk(st.header, 2) {
		if _, own := field(p.header, pair[0]); !own {
			req.Header.Set(pair[0], pair[1])
		}
	}
	for pair := range slices.Chunk(p.header, 2) {
		if pair[1] != "" {
			req.Header.Set(pair[0], strings.ReplaceAll(pair[1], "{token}", j.token))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.cookies)) {
		req.AddCookie(&http.Cookie{Name: name, Value: j.cookies[name]})
	}

	a := answer{}
	res, err := client.RoundTrip(req)
	if err != nil {
		a["error"] = "no response"
	} else {
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			a["error"] = "cut short"
		}
		s.fill(a, res, raw)
		for _, c := range res.Cookies() {
			j.cookies[c.Name] = c.Value
		}
		if m := token.FindSubmatch(raw); m != nil {
			j.token = string(m[1])
		}
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		t.Fatalf("%s: the service does not come to an end", p.name)
	}
	a["1xx"] = strings.Join(interim, "\n")
	a["log"] = s.log.take()
	if res == nil {
		return a, ""
	}
	return a, strings.Join(res.Header["Cache-Status"], ", ")
}

func (s *site) fill(a answer, res *http.Response, raw []byte) {
	a["status"] = res.Status
	a["framing"] = strings.Join(res.TransferEncoding, ",")
	a["body"], a["decoded"] = string(raw), string(raw)
	if res.Header.Get("Content-Encoding") == "gzip" && len(raw) > 0 {
		a["decoded"] = gunzip(raw)
	}
	for name, lines := range res.Header {
		if name == "Allow" { // chi's is in the order of a map
			lines = slices.Sorted(slices.Values(lines))
		}
		if !slices.Contains(notCompared, name) {
			a["header "+name] = strings.Join(lines, "\n")
		}
	}
	for name, lines := range res.Trailer {
		a["trailer "+name] = strings.Join(lines, "\n")
	}
	var made []string
	for name, pattern := range random {
		a.replace(name, pattern, func(value string) string {
			made = append(made, value)
			if s.seen[value] {
				return "(seen)"
			}
			return "(fresh)"
		})
	}
	if m := random["header Content-Type"].FindStringSubmatch(res.Header.Get("Content-Type")); m != nil {
		a["body"] = strings.ReplaceAll(a["body"], m[1], "(boundary)")
	}
	for _, value := range made {
		s.seen[value] = true
	}
	for name, pattern := range passing {
		if old, ok := a[name]; ok {
			a[name] = pattern.ReplaceAllString(old, "(time)")
		}
	}
	if a["header Content-Encoding"] == "" {
		a["decoded"] = a["body"]
	}
}

// replace replaces the first group of pattern in a field.
func (a answer) replace(name string, pattern *regexp.Regexp, by func(string) string) {
	old, ok := a[name]
	if !ok {
		return
	}
	var b strings.Builder
	end := 0
	for _, m := range pattern.FindAllStringSubmatchIndex(old, -1) {
		b.WriteString(old[end:m[2]])
		b.WriteString(by(old[m[2]:m[3]]))
		end = m[3]
	}
	b.WriteString(old[end:])
	a[name] = b.String()
}

func gunzip(raw []byte) string {
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return "not gzip: " + err.Error()
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Sprintf("broken gzip after %d bytes: %v", len(b), err)
	}
	return string(b)
}

// compare plays the script on a stack with and without the cache. What it got
// without is in bare, for the next place: nothing changes there.
func compare(t *testing.T, where string, st stack, build builder, bare []answer) {
	with := start(t, st, build, true)
	var without *site
	given := map[string]answer{} // to GET requests, without the cache
	found := 0
	for i, p := range script {
		if bare[i] == nil {
			if without == nil {
				without = start(t, st, build, false)
			}
			bare[i], _ = without.ask(t, st, p)
		}
		want := bare[i]
		got, status := with.ask(t, st, p)
		if p.method == http.MethodGet {
			given[p.path+fmt.Sprint(p.header)] = want
		}
		both := pair{want, got, given[p.path+fmt.Sprint(p.header)], p.method, fromStore(status)}
		if text := findings(where, st, p, both); text != "" {
			if found++; found <= *most {
				t.Errorf("%s: %s\n%s", p.name, status, text)
			}
		}
	}
	if found > *most {
		t.Errorf("%d requests more (-findings)", found-*most)
	}
}

// fromStore reports whether an answer is of the cache, by its Cache-Status. What Fiber has
// sent as a stream is stored when the server has read its end, which may be after the
// client: who asks in between waits for it.
func fromStore(status string) bool {
	return strings.Contains(status, "; hit") || strings.Contains(status, "; collapsed")
}

var most = flag.Int("findings", 5, "how many requests of a stack are reported")

// findings are the differences that nobody expects.
func findings(where string, st stack, p step, both pair) string {
	var b strings.Builder
	want, got := both.without, both.with
	if !maps.Equal(want, got) {
		for _, name := range union(want, got) {
			if want[name] == got[name] || expected(where, p.name, name, both) {
				continue
			}
			// What is logged follows from the answer, and the bytes of a HEAD are a
			// matter of who counts.
			if name == "log" && (p.method == http.MethodHead || want["status"] != got["status"] || want["body"] != got["body"]) {
				continue
			}
			fmt.Fprintf(&b, "%s\nwithout: %s\nwith:    %s\n", name, excerpt(want[name], got[name]), excerpt(got[name], want[name]))
		}
	}
	switch {
	case p.hit && !both.hit && st.unstored == "" && !expected(where, p.name, "hit", both):
		b.WriteString("it is not answered from the store\n")
	case both.hit && st.unstored != "" && !expected(where, p.name, "unstored", both):
		fmt.Fprintf(&b, "it is answered from the store, though nothing is to be stored since %s\n", st.unstored)
	}
	return b.String()
}

func union(a, b answer) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// excerpt is where s begins to differ from other.
func excerpt(s, other string) string {
	n := 0
	for n < len(s) && n < len(other) && s[n] == other[n] {
		n++
	}
	n = max(0, n-20)
	part := s[n:min(len(s), n+120)]
	if len(part) == len(s) {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%d bytes, from %d: %q", len(s), n, part)
}
