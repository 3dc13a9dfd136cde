package examples

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/cacheaside/cacheaside/core/coretest/browser"
)

// network is what a tab tells of its responses.
type network struct {
	mu        sync.Mutex
	responses map[string]*response // by path
}

// response is one that a browser has got.
type response struct {
	id      string
	status  int
	header  http.Header
	encoded int // bytes of the body as they came
	decoded int
	body    string
}

// hear notes the responses of the tab.
func (n *network) hear(method string, params json.RawMessage) {
	if method != "Network.responseReceived" {
		return
	}
	var m struct {
		RequestID string
		Response  struct {
			URL     string
			Status  int
			Headers map[string]string
		}
	}
	if json.Unmarshal(params, &m) != nil || !strings.HasPrefix(m.Response.URL, "http") {
		return
	}
	r := &response{id: m.RequestID, status: m.Response.Status, header: http.Header{}}
	for name, value := range m.Response.Headers {
		r.header.Set(name, value)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.responses[pathOf(m.Response.URL)] = r
}

func pathOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	_, path, _ := strings.Cut(rest, "/")
	return "/" + path
}

// load has a browser, which has nothing cached, load the page with its style sheet and
// what its script asks for.
func load(t *testing.T, b *browser.Browser, p *process, screenshot string) map[string]*response {
	t.Helper()
	n := &network{responses: map[string]*response{}}
	tab := b.Open(t, n.hear, "Page", "Runtime", "Network")
	tab.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
	tab.Do("Page.navigate", map[string]any{"url": p.base + "/"}, nil)
	if !tab.Until(`document.getElementById('count').value === '400' && performance.getEntriesByName(location.origin + '/blogs').length > 0 && document.readyState === 'complete'`, "") {
		t.Fatalf("%s: the page is not complete", p.name)
	}
	var styled string
	tab.Eval(`getComputedStyle(document.querySelector('.grid')).display`, &styled)
	if styled != "grid" {
		t.Errorf("%s: the style sheet does not apply: %q", p.name, styled)
	}
	tab.Shoot(screenshot)
	var sizes []struct {
		URL              string
		Encoded, Decoded int
	}
	tab.Eval(`performance.getEntries().filter(e => e.encodedBodySize).map(e => ({URL: e.name, Encoded: e.encodedBodySize, Decoded: e.decodedBodySize}))`, &sizes)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range sizes {
		if r := n.responses[pathOf(s.URL)]; r != nil {
			r.encoded, r.decoded = s.Encoded, s.Decoded
		}
	}
	for _, r := range n.responses {
		var body struct {
			Body          string
			Base64Encoded bool
		}
		tab.Do("Network.getResponseBody", map[string]any{"requestId": r.id}, &body)
		if r.body = body.Body; body.Base64Encoded {
			decoded, _ := base64.StdEncoding.DecodeString(body.Body)
			r.body = string(decoded)
		}
	}
	return n.responses
}

// TestBrowser loads the page of each service twice in a real browser: plain as it comes
// from the handler, and then compressed from the cache. go test -v shows the network log.
func TestBrowser(t *testing.T) {
	b := browser.Start(t)
	var log strings.Builder
	table := tabwriter.NewWriter(&log, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "service\tload\tpath\tstatus\tContent-Encoding\tencoded\tdecoded\tCache-Status")
	defer func() {
		_ = table.Flush()
		t.Log("\n" + log.String())
	}()
	for _, c := range []struct{ codings, want string }{
		{"zstd,br,gzip", "zstd"},
		{"br,gzip", "br"},
	} {
		for _, name := range frameworks {
			p := start(t, name, "-compress", c.codings, "-db-latency", "1ms", "-ttl", "1h")
			for i, want := range []struct{ coding, cache string }{
				{"", miss},
				{c.want, hit},
			} {
				got := load(t, b, p, fmt.Sprintf("%s-%s-%d", name, c.want, i+1))
				for _, part := range []struct {
					path string
					most float64 // of the bytes of the plain body
				}{
					{"/", 0.3},
					{"/style.css", 0.45}, // shorter
					{"/blogs", 0.3},
				} {
					path, most := part.path, part.most
					r := got[path]
					if r == nil {
						t.Errorf("%s: load %d: nothing of %s", name, i+1, path)
						continue
					}
					coding, status := r.header.Get("Content-Encoding"), r.header.Get("Cache-Status")
					_, _ = fmt.Fprintf(table, "%s %s\t%d\t%s\t%d\t%s\t%d\t%d\t%s\n", name, c.codings, i+1, path, r.status, coding, r.encoded, r.decoded, status)
					if coding != want.coding || r.status != http.StatusOK || !strings.HasPrefix(status, want.cache) {
						t.Errorf("%s: load %d of %s: %d in %q, %q, want 200 in %q, %q", name, i+1, path, r.status, coding, status, want.coding, want.cache)
					}
					if a := p.get(path); r.body != a.Body || r.decoded != len(a.Body) {
						t.Errorf("%s: load %d of %s: %d bytes that decode to %d, and not to the body of %d", name, i+1, path, r.encoded, r.decoded, len(a.Body))
					}
					if coding == "" {
						most = 1
					}
					if r.encoded == 0 || float64(r.encoded) > most*float64(r.decoded) {
						t.Errorf("%s: load %d of %s: %d bytes came, of %d, want %.2f of them at most", name, i+1, path, r.encoded, r.decoded, most)
					}
				}
				// Of the browser, and of this test, which asks another host.
				eventually(t, "all is stored", func() bool { return p.stats().Cache["stores"] == 6 })
			}
			p.stop()
		}
	}
}
