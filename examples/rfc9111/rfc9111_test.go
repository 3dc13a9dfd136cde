// Package rfc9111 holds scripts, made from the text of the RFCs, of what a shared
// cache does with an origin's responses, and plays them against the proxies in
// all four frameworks over real connections.
//
//	go test ./examples/rfc9111 -v
package rfc9111

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/examples/internal/proxy"
)

// script is one rule, and requests one after the other that show it. A section
// of no RFC in particular is one of RFC 9111.
type script struct {
	section, name string
	steps         []step
}

func (s script) String() string { return s.section + ": " + s.name }

func TestScripts(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler)) // origins that break off are meant to
	policy := cacheaside.RFC9111()
	policy.Requests.LenientParts = false // which is no rule of the RFCs
	playAll(t, scripts(), policy)
	all := map[string]bool{}
	for _, s := range slices.Concat(scripts(), codings()) {
		all[s.String()] = true
	}
	for _, listed := range slices.Concat(slices.Collect(maps.Keys(known)), exceptionNames()) {
		if !all[listed] {
			t.Errorf("no script is named %s", listed)
		}
	}
}

// playAll plays scripts against all frameworks and logs the counts.
func playAll(t *testing.T, list []script, policy cacheaside.Policy) {
	names := proxy.Frameworks()
	worlds := make([]*world, len(names))
	for i, name := range names {
		worlds[i] = newWorld(t, name, policy)
	}
	seen := map[string]bool{}
	passed := map[string][]int{}
	total := map[string]int{}
	var sections []string
	for n, s := range list {
		if seen[s.String()] {
			t.Errorf("two scripts are named %s", s)
		}
		seen[s.String()] = true
		if total[s.section] == 0 {
			sections = append(sections, s.section)
			passed[s.section] = make([]int, len(worlds))
		}
		total[s.section]++
		t.Run(s.String(), func(t *testing.T) {
			var first []answer
			for i, w := range worlds {
				answers, problems := w.play(t, s, n)
				excepted := exceptions[w.name][s.String()]
				failing := known[s.String()].on(w.name)
				if i == 0 {
					first = answers
				} else if excepted == "" && failing == "" {
					problems = append(problems, differences(first, answers)...)
				}
				if len(problems) == 0 {
					passed[s.section][i]++
				}
				switch text := strings.Join(problems, "\n"); {
				case excepted != "" && text == "":
					t.Errorf("%s passes: it is no exception (%s)", w.name, excepted)
				case excepted != "":
					t.Logf("%s, an exception (%s):\n%s", w.name, excepted, text)
				case failing != "" && text == "":
					t.Errorf("%s passes: it is no known failure (%s)", w.name, failing)
				case failing != "":
					t.Logf("%s, known (%s):\n%s", w.name, failing, text)
				case text != "":
					t.Errorf("%s:\n%s", w.name, text)
				}
			}
		})
	}
	t.Log("\n" + table(sections, names, total, passed))
}

// failure is what the engine does wrong: everywhere, or with one framework.
type failure struct{ framework, reason string }

func (f failure) on(framework string) string {
	if f.framework == "" || f.framework == framework {
		return f.reason
	}
	return ""
}

func exceptionNames() (out []string) {
	for _, list := range exceptions {
		out = slices.AppendSeq(out, maps.Keys(list))
	}
	return out
}

func table(sections, names []string, total map[string]int, passed map[string][]int) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "section\tscripts\t%s\t\n", strings.Join(names, "\t"))
	sums, all := make([]int, len(names)), 0
	row := func(name string, total int, passed []int) {
		fmt.Fprintf(w, "%s\t%d\t", name, total)
		for _, n := range passed {
			fmt.Fprintf(w, "%d\t", n)
		}
		fmt.Fprintln(w)
	}
	for _, s := range sections {
		row(s, total[s], passed[s])
		all += total[s]
		for i, n := range passed[s] {
			sums[i] += n
		}
	}
	row("all", all, sums)
	_ = w.Flush()
	return b.String()
}

// world is a proxy in one framework with an origin and a clock of its own.
type world struct {
	name   string
	base   string
	client *http.Client
	cache  *cacheaside.Cache

	mu    sync.Mutex
	now   time.Time // of the cache and the origin
	start time.Time // when the script began
	at    int       // the step that is being played, from 1
	step  *step
	path  string // of the script
	asked int    // how often the origin was
	saw   http.Header
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	_ = w.cache.Flush(context.Background()) // what was answered before is stored before
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

var epoch = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, framework string, policy cacheaside.Policy) *world {
	w := &world{name: framework, now: epoch}
	origin := httptest.NewServer(w)
	t.Cleanup(origin.Close)
	target, err := url.Parse(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	store, err := memory.New(64<<20, memory.WithClock(w.Now))
	if err != nil {
		t.Fatal(err)
	}
	config := cacheaside.Config{Store: store, Now: w.Now, Policy: policy}
	// A machine that stands still for long is none of the rules' business.
	config.Timeouts.Lookup, config.Timeouts.Write, config.Timeouts.Purge = 10*time.Second, 10*time.Second, 10*time.Second
	cache, err := cacheaside.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.cache = cache
	s, err := proxy.New(framework, cache, target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	transport := &http.Transport{DisableCompression: true}
	w.base = "http://" + l.Addr().String()
	w.client = &http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("%s: %v", framework, err)
		}
		<-served
		if err := cache.Close(context.Background()); err != nil {
			t.Errorf("%s: %v", framework, err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("%s: %v", framework, err)
		}
	})
	return w
}

// ServeHTTP is the origin: it gives what the step says.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	s, n := w.step, w.at
	w.saw = r.Header.Clone()
	w.asked++
	w.mu.Unlock()
	w.advance(s.delay)
	h := rw.Header()
	h.Set("Date", w.Now().Format(http.TimeFormat))
	if s.early != "" {
		h.Set("Link", s.early)
		rw.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
	}
	h.Set("Content-Type", "text/x-script")
	for name, values := range w.fields(s.fields) {
		h[name] = values
		if values[0] == "(none)" {
			h[name] = nil
		}
	}
	if s.does == closes {
		panic(http.ErrAbortHandler)
	}
	h.Set("Made-By", strconv.Itoa(n))
	status := s.originStatus()
	if s.does == validates {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
			status = http.StatusNotModified
		}
	}
	if status == http.StatusNotModified {
		if h.Get("Content-Type") == "text/x-script" {
			h["Content-Type"] = nil
		}
		notModified(rw, h)
		return
	}
	body := s.originBody(n)
	if _, given := h["Content-Length"]; s.does == breaksOff && !given {
		h.Set("Content-Length", strconv.Itoa(len(body)+10))
	}
	rw.WriteHeader(status)
	if status != http.StatusNoContent && r.Method != http.MethodHead {
		_, _ = io.WriteString(rw, body)
	}
	if s.does == breaksOff {
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}
}

// notModified sends a 304 with all of its fields: net/http leaves some out.
func notModified(rw http.ResponseWriter, h http.Header) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	var b strings.Builder
	b.WriteString("HTTP/1.1 304 Not Modified\r\n")
	if h.Get("Connection") == "" { // with "close", net/http does not look for the names of fields
		b.WriteString("Connection: close\r\n")
	}
	_ = h.Write(&b)
	_, _ = io.WriteString(conn, b.String()+"\r\n")
}

var times = regexp.MustCompile(`\{(rfc850 |asctime )?(now|start)([+-]\d+)?\}`)

// fields parses lines "Name: value". {now+60} in them stands for a date;
// {start-60} for one that is counted from the beginning of the script, and {path}
// for the path of the script's resource.
func (w *world) fields(lines []string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		name = textproto.CanonicalMIMEHeaderKey(name)
		h[name] = append(h[name], w.value(value))
	}
	return h
}

func (w *world) value(s string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s = strings.ReplaceAll(strings.TrimPrefix(s, " "), "{path}", w.path)
	return times.ReplaceAllStringFunc(s, func(s string) string {
		m := times.FindStringSubmatch(s)
		at := w.now
		if m[2] == "start" {
			at = w.start
		}
		seconds, _ := strconv.Atoi(m[3])
		at = at.Add(time.Duration(seconds) * time.Second)
		switch m[1] {
		case "rfc850 ":
			return at.Format("Monday, 02-Jan-06 15:04:05 GMT")
		case "asctime ":
			return at.Format(time.ANSIC)
		}
		return at.Format(http.TimeFormat)
	})
}

// answer is what the client got.
type answer struct {
	status  int
	header  http.Header
	body    string
	interim []string // "103 Link"
	broken  bool
	asked   int
}

// play runs the script and says what was wrong.
func (w *world) play(t *testing.T, s script, n int) (answers []answer, problems []string) {
	_ = w.cache.Flush(context.Background())
	w.mu.Lock()
	w.now = epoch.Add(time.Duration(n+1) * time.Hour) // the same everywhere
	w.start, w.path = w.now, fmt.Sprint("/", n)
	w.mu.Unlock()
	for i := range s.steps {
		st := &s.steps[i]
		w.advance(st.wait)
		w.mu.Lock()
		w.step, w.at, w.asked, w.saw = st, i+1, 0, nil
		w.mu.Unlock()
		a := w.send(t, st, fmt.Sprint("/", n, st.path))
		answers = append(answers, a)
		for _, p := range w.check(s.steps, i, a) {
			problems = append(problems, fmt.Sprintf("  step %d: %s", i+1, p))
		}
		if len(problems) > 0 {
			problems = append(problems, fmt.Sprintf("  got %d %v %q, the origin %v", a.status, a.header, a.body, w.saw))
			break
		}
	}
	return answers, problems
}

func (w *world) send(t *testing.T, s *step, path string) answer {
	var a answer
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			a.interim = append(a.interim, fmt.Sprint(code, " ", header.Get("Link")))
			return nil
		},
	})
	var body io.Reader
	if s.sends != "" {
		body = strings.NewReader(s.sends)
	}
	req, err := http.NewRequestWithContext(ctx, s.method, w.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = w.fields(s.request)
	if req.Host = req.Header.Get("Host"); req.Host == "" {
		req.Host = "cache.test"
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "scripts")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		a.broken = true
	} else {
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		a.status, a.header, a.body, a.broken = resp.StatusCode, resp.Header, string(b), err != nil
	}
	if s.expects == renewed {
		w.settle(t, req.Clone(t.Context()))
		return a
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a.asked = w.asked
	return a
}

// settle waits until what the cache asks for behind the client's back is stored.
func (w *world) settle(t *testing.T, req *http.Request) {
	req.Header.Set("Cache-Control", "only-if-cached")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if !strings.Contains(strings.Join(resp.Header.Values("Cache-Status"), ","), "stale-while-revalidate") {
			return
		}
	}
	t.Errorf("%s: nothing was renewed", w.name)
}

// check compares an answer with what its step expects.
func (w *world) check(steps []step, i int, a answer) (problems []string) {
	s := &steps[i]
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if s.expects == brokenOff {
		if !a.broken {
			bad("the answer is complete")
		}
		return problems
	}
	if a.broken {
		bad("the answer broke off")
		return problems
	}
	made := &steps[i] // the step that the answer's content comes from
	madeBy := i + 1
	cacheStatus := strings.Join(a.header.Values("Cache-Status"), ", ")
	switch asked := a.asked > 0; s.expects {
	case fromOrigin:
		if !asked {
			bad("the origin was not asked")
		}
		if strings.Contains(cacheStatus, "cacheaside; hit") {
			bad("Cache-Status %q", cacheStatus)
		}
	case fromCache, onlyIfCached:
		if asked {
			bad("the origin was asked")
		}
		if s.expects == fromCache && !strings.Contains(cacheStatus, "cacheaside; hit") {
			bad("Cache-Status %q is no hit", cacheStatus)
		}
	case validated:
		w.mu.Lock()
		conditional := w.saw.Get("If-None-Match")+w.saw.Get("If-Modified-Since") != ""
		w.mu.Unlock()
		if !asked || !conditional {
			bad("the origin was not asked conditionally")
		}
		if !strings.Contains(cacheStatus, "fwd-status=304") {
			bad("Cache-Status %q is no validation", cacheStatus)
		}
	case staleOnError:
		if !asked {
			bad("the origin was not asked")
		}
	case renewed:
		if !strings.Contains(cacheStatus, "cacheaside; hit") || !strings.Contains(cacheStatus, "stale-while-revalidate") {
			bad("Cache-Status %q is no stale hit", cacheStatus)
		}
	}
	if s.expects == fromCache || s.expects == validated || s.expects == staleOnError || s.expects == renewed {
		madeBy = max(1, s.from)
		made = &steps[madeBy-1]
		if _, ok := a.header["Age"]; !ok {
			bad("no Age")
		}
	}
	status := made.originStatus()
	if s.wantStatus != 0 {
		status = s.wantStatus
	} else if s.expects == onlyIfCached {
		status = http.StatusGatewayTimeout
	}
	if a.status != status {
		bad("status %d, want %d", a.status, status)
	}
	if s.coding != "" {
		plain, problem := s.decoded(a)
		if a.body = plain; problem != "" {
			bad("%s", problem)
		}
	}
	switch {
	case s.wantBody != nil:
		if alike(a).body != *s.wantBody {
			bad("body %q, want %q", a.body, *s.wantBody)
		}
	case s.method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified, s.expects == onlyIfCached:
		if a.body != "" {
			bad("body %q, want none", a.body)
		}
	case s.anyBody:
	case a.body != made.originBody(madeBy):
		bad("body %q, want %q", a.body, made.originBody(madeBy))
	}
	if s.interim != "" && !slices.Contains(a.interim, s.interim) {
		bad("interim responses %q, want %q", a.interim, s.interim)
	}
	problems = append(problems, w.compare("answer", a.header, s.has)...)
	w.mu.Lock()
	saw := w.saw
	w.mu.Unlock()
	return append(problems, w.compare("origin", saw, s.saw)...)
}

// compare checks a header against lines: "Name: value", "Name: ~part",
// "Name" for any value, and "!Name" for none.
func (w *world) compare(who string, h http.Header, lines []string) (problems []string) {
	for _, line := range lines {
		name, want, valued := strings.Cut(line, ":")
		want = w.value(want)
		got, present := h[textproto.CanonicalMIMEHeaderKey(strings.TrimPrefix(name, "!"))]
		all := strings.Join(got, " | ")
		ok := present
		switch part, isPart := strings.CutPrefix(want, "~"); {
		case strings.HasPrefix(name, "!"):
			ok = !present
		case isPart:
			ok = strings.Contains(all, part)
		case valued:
			ok = present && all == want
		}
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: %s %q, want %q", who, strings.TrimPrefix(name, "!"), got, line))
		}
	}
	return problems
}

var boundary = regexp.MustCompile(`[0-9a-f]{60}`)

// differences compares what two frameworks answered.
func differences(first, other []answer) (problems []string) {
	for i := range min(len(first), len(other)) {
		a, b := alike(first[i]), alike(other[i])
		if !reflect.DeepEqual(a, b) {
			problems = append(problems, fmt.Sprintf("  step %d: the answers differ\n    %+v\n    %+v", i+1, a, b))
		}
	}
	return problems
}

// alike leaves out what is made anew for each answer.
func alike(a answer) answer {
	a.header = maps.Clone(a.header)
	delete(a.header, "Date")                                                      // the server's clock, where the origin sent none
	delete(a.header, "Content-Length")                                            // the server's own, where the origin states none
	if v := a.header.Get("Cache-Status"); strings.Contains(v, "stale-if-error") { // the adaptor makes a 502 of what breaks off elsewhere
		a.header.Set("Cache-Status", strings.Replace(v, "; fwd-status=502", "", 1))
	}
	if v := a.header.Get("Cache-Status"); len(a.body) > 256<<10 && strings.HasSuffix(v, "; stored") { // most have sent the beginning by then
		said, _, _ := strings.Cut(v, "; ttl=")
		a.header.Set("Cache-Status", said)
	}
	if v := a.header.Get("Content-Type"); strings.HasPrefix(v, "multipart/byteranges") {
		a.header.Set("Content-Type", boundary.ReplaceAllString(v, "*"))
		a.body = boundary.ReplaceAllString(a.body, "*")
	}
	return a
}
