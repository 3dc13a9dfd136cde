package dragonfly_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/coretest/bodies"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// receiving counts the bytes that come.
type receiving struct {
	net.Conn
	n *atomic.Int64
}

func (r receiving) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.n.Add(int64(n))
	return n, err
}

// sized is what a response costs: bytes on the server, and bytes that come from there
// for a hit.
type sized struct{ server, wire int64 }

// most are the greatest parts of its bytes that a response has with compression, by the
// kind of its body and its size; both on the server and on the way, header, key and all.
var most = map[string][]float64{
	"json": {0.70, 0.43, 0.26, 0.21},
	"html": {0.73, 0.46, 0.22, 0.14},
	"css":  {0.69, 0.42, 0.24, 0.20},
}

// quarter is the size from which on JSON and HTML are a quarter of what they were, or
// less, in the codings that are recommended first.
const quarter = 30 << 10

// TestSizeOfBodies is the table of sizes in core/README.md: go test -v shows it.
func TestSizeOfBodies(t *testing.T) {
	p := storetest.StartServer(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{p.Addr}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "body\tbytes\toff: server\twire\tzstd: server\twire\tbr: server\twire\tgzip: server\twire\t")
	for _, kind := range bodies.Kinds {
		for i, n := range bodies.Sizes {
			body := kind.Make(n)
			before := sizeOf(t, p.Addr, client, kind.Type, body, "")
			_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t", kind.Name, len(body), before.server, before.wire)
			for _, coding := range []string{"zstd", "br", "gzip"} {
				after := sizeOf(t, p.Addr, client, kind.Type, body, coding)
				server, wire := float64(after.server)/float64(before.server), float64(after.wire)/float64(before.wire)
				_, _ = fmt.Fprintf(w, "%d (%.3f)\t%d (%.3f)\t", after.server, server, after.wire, wire)
				limit := most[kind.Name][i]
				if n >= quarter && coding != "gzip" {
					limit = min(limit, 0.25)
				}
				if server > limit || wire > limit {
					t.Errorf("%d bytes of %s in %s: %.3f of the bytes on the server, %.3f on the way, want %.2f at most", len(body), kind.Name, coding, server, wire, limit)
				}
			}
			_, _ = fmt.Fprintln(w)
		}
	}
	_ = w.Flush()
	t.Log("\n" + table.String())
}

// sizeOf stores a response with that body in that coding, or as it is, and asks for it
// from another process.
func sizeOf(t *testing.T, addr string, client rueidis.Client, contentType string, body []byte, coding string) sized {
	t.Helper()
	namespace := fmt.Sprintf("size-%d-%s-%t", len(body), strings.NewReplacer("/", "-", "; ", "-", "=", "-").Replace(contentType+coding), coding == "")
	compression := cacheaside.CompressionPolicy{}
	if coding != "" {
		compression.Codings = []string{coding}
	}
	var received atomic.Int64
	now := time.Now() // the journal is read once
	process := func() (*cacheaside.Cache, http.Handler) {
		s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
			InitAddress: []string{addr},
			DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
				conn, err := d.DialContext(ctx, "tcp", addr)
				return receiving{conn, &received}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		cache := coretest.NewCache(t, func(c *cacheaside.Config) {
			c.Store, c.Namespace, c.Logger = s, namespace, slog.New(slog.DiscardHandler)
			c.Now = func() time.Time { return now }
			c.Timeouts = cacheaside.Timeouts{Lookup: 10 * time.Second, Write: 10 * time.Second, Purge: 10 * time.Second}
			c.Policy.Compression = compression
		})
		return cache, nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Etag", `"5f3a9c"`)
			_, _ = w.Write(body)
		}))
	}
	ask := func(h http.Handler, want string) []byte {
		t.Helper()
		r, w := httptest.NewRequest(http.MethodGet, "http://example.com/v1/posts?page=1", nil), httptest.NewRecorder()
		if coding != "" {
			r.Header.Set("Accept-Encoding", coding)
		}
		h.ServeHTTP(w, r)
		if status := w.Header().Get("Cache-Status"); !strings.Contains(status, want) {
			t.Fatalf("Cache-Status %q, want %s", status, want)
		}
		return w.Body.Bytes()
	}
	cache, h := process()
	ask(h, "fwd=miss")
	if err := cache.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, h = process()
	if got := ask(h, "; hit"); bytes.Equal(got, body) != (coding == "") {
		t.Fatalf("%s: a hit of %d bytes, of %d", coding, len(got), len(body))
	}
	wire := int64(math.MaxInt64)
	for range 5 { // of which one may come with the answer to something else
		before := received.Load()
		ask(h, "; hit")
		wire = min(wire, received.Load()-before)
	}
	return sized{stored(t, client, namespace), wire}
}

// stored is how many bytes of responses the server has in a namespace: a large one is in
// two values.
func stored(t *testing.T, client rueidis.Client, namespace string) (n int64) {
	t.Helper()
	keys, err := client.Do(t.Context(), client.B().Keys().Pattern(namespace+":*{GET:*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		size, err := client.Do(t.Context(), client.B().Strlen().Key(key).Build()).AsInt64()
		if err != nil {
			continue // of another type: it has no response
		}
		n += size
	}
	if n == 0 {
		t.Fatal("nothing is stored")
	}
	return n
}
