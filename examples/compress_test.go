package examples

import (
	"compress/gzip"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// ofBrowsers is what Chromium sends.
const ofBrowsers = "gzip, deflate, br, zstd"

// coded are the clients' fields, and the coding that they get with -compress zstd,br,gzip.
var coded = []struct{ accept, coding string }{
	{ofBrowsers, "zstd"},
	{"gzip, deflate, br", "br"}, // older ones
	{"gzip", "gzip"},            // curl --compressed, Go
	{"", ""},
	{"zstd;q=0.5, gzip;q=0.8", "gzip"},
	{"identity", ""},
}

// decoded undoes the Content-Encoding of a response.
func decoded(t *testing.T, a answer) (coding, body string) {
	t.Helper()
	var r io.Reader = strings.NewReader(a.Body)
	var err error
	switch coding = a.Header.Get("Content-Encoding"); coding {
	case "":
		return "", a.Body
	case "zstd":
		r, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	case "br":
		r = brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	default:
		t.Fatalf("Content-Encoding %q", coding)
	}
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return coding, string(b)
}

func accepts(accept string) http.Header {
	if accept == "" {
		return nil
	}
	return field("Accept-Encoding", accept)
}

// TestCompress: with -compress each client gets a coding that it reads, of one answer of
// the handler, and all frameworks' clients the same.
func TestCompress(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		first := map[string]answer{} // by the target and what is accepted
		for _, name := range frameworks {
			p := start(t, name, append([]string{"-compress", "zstd,br,gzip", "-db-latency", "1ms"}, args...)...)
			for _, c := range []struct {
				target string
				most   float64 // of the plain body
			}{
				{"/", 0.3},
				{"/style.css", 0.45}, // shorter
				{"/blogs", 0.3},
			} {
				plain := p.do(http.MethodGet, c.target, accepts(ofBrowsers), "")
				if got := plain.Header.Get("Content-Encoding"); got != "" || plain.Status != http.StatusOK || !strings.Contains(status(plain), miss) {
					t.Errorf("%s: first GET %s: %d, Content-Encoding %q, %q, want a plain miss", name, c.target, plain.Status, got, status(plain))
				}
				for _, client := range coded {
					a := p.do(http.MethodGet, c.target, accepts(client.accept), "")
					coding, body := decoded(t, a)
					switch {
					case !strings.Contains(status(a), hit):
						t.Errorf("%s: GET %s, Accept-Encoding %q: %q, want a hit", name, c.target, client.accept, status(a))
					case coding != client.coding || a.Header.Get("Vary") != "Accept-Encoding":
						t.Errorf("%s: GET %s, Accept-Encoding %q: Content-Encoding %q, Vary %q, want %q", name, c.target, client.accept, coding, a.Header.Get("Vary"), client.coding)
					case body != plain.Body:
						t.Errorf("%s: GET %s, Accept-Encoding %q: another body", name, c.target, client.accept)
					case coding != "" && float64(len(a.Body)) > c.most*float64(len(body)):
						t.Errorf("%s: GET %s in %s: %d bytes of %d", name, c.target, coding, len(a.Body), len(body))
					}
					a = sameParts(a, step{})
					which := c.target + " " + client.accept
					if other, ok := first[which]; !ok {
						first[which] = a
					} else if !reflect.DeepEqual(a.Header, other.Header) || a.Body != other.Body {
						t.Errorf("%s: two answers\n%s: %v\n%s: %v", which, name, a.Header, frameworks[0], other.Header)
					}
				}
			}
			p.get("/users/7")
			if a := p.do(http.MethodGet, "/users/7", accepts(ofBrowsers), ""); a.Header.Get("Content-Encoding") != "" || a.Body != user7 {
				t.Errorf("%s: what is short is %q in %q", name, a.Body, a.Header.Get("Content-Encoding"))
			}
			if s := p.stats(); s.OriginReads != 3 {
				t.Errorf("%s: %d database queries, want 3", name, s.OriginReads)
			}
			p.stop()
		}
	})
}

// TestProxyCompress: the origin is asked for a plain answer, once. What it has coded
// itself stays in its coding.
func TestProxyCompress(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		o, url := startOrigin(t)
		page := string(bodies.HTML(30 << 10))
		for _, p := range startProxies(t, append([]string{"-origin", url, "-compress", "br,gzip"}, args...)...) {
			run(t, []*process{p}, []step{
				{method: "GET", target: "/page", header: accepts(ofBrowsers), status: 200, cache: "; stored", want: page},
				{method: "GET", target: "/page", status: 200, cache: hit, want: page},
			})
			for accept, want := range map[string]string{ofBrowsers: "br", "gzip": "gzip", "zstd": ""} {
				a := p.do(http.MethodGet, "/page", accepts(accept), "")
				if coding, body := decoded(t, a); coding != want || body != page || !strings.Contains(status(a), hit) {
					t.Errorf("%s: Accept-Encoding %q: %d bytes in %q, %q, want %d in %q", p.name, accept, len(body), coding, status(a), len(page), want)
				}
			}
			if n := o.seen(p.host + " /page"); n != 1 {
				t.Errorf("%s: the origin was asked %d times, want once", p.name, n)
			}
			p.stop()
		}
	})
}
