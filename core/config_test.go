package cacheaside

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

func TestConfigNamesEveryWrongField(t *testing.T) {
	_, err := New(Config{
		Namespace: "a b",
		Timeouts:  Timeouts{Lookup: -1, Write: -1},
		Policy: Policy{
			TTL:       -time.Second,
			StatusTTL: map[int]time.Duration{404: -1, 206: 1},
			Storing:   StoringPolicy{StatusCodes: []int{99, 304}, MaxBytes: -1, Headers: Except("a*b", ""), MaxVariants: -1},
			Requests:  RequestPolicy{Methods: []string{"GET", "PUT"}},
			Key:       KeyPolicy{Query: Selection{Allow: []string{"a"}, Deny: []string{"b"}}, Headers: []string{"no field"}, Cookies: []string{"a;b"}, MaxBytes: 1},
		},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"Config.Namespace", "Config.Timeouts.Lookup", "Config.Timeouts.Write", "Config.Policy.TTL", "Config.Policy.StatusTTL: -1ns for 404",
		"Config.Policy.StatusTTL: 206", "Config.Policy.Storing.StatusCodes: 99", "Config.Policy.Storing.StatusCodes: 304", `Config.Policy.Requests.Methods: "PUT"`, "Config.Policy.Storing.MaxBytes",
		"Config.Policy.Key.Query: both Allow and Deny", `Config.Policy.Storing.Headers: "a*b"`, "Config.Policy.Storing.Headers: an empty name",
		"Config.Policy.Key.Headers", "Config.Policy.Key.Cookies", "Config.Policy.Key.MaxBytes", "Config.Policy.Storing.MaxVariants",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s:\n%v", want, err)
		}
	}
}

func TestConfigOfWaitingAndRefreshing(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string // field and fix; empty: it is valid
	}{
		{func(c *Config) { c.Timeouts.Lock = -1 }, "Config.Timeouts.Lock: -1ns is negative: use 0"},
		{func(c *Config) { c.Timeouts.Lock = time.Millisecond }, "Config.Timeouts.Lock: 1ms: use 100ms or more"},
		{func(c *Config) { c.Timeouts.Lock = 100 * time.Millisecond }, ""},
		{func(c *Config) { c.Policy.Coalescing.Wait = -1 }, "Config.Policy.Coalescing.Wait: -1ns is negative: use 0"},
		{func(c *Config) { c.Policy.Stale.RefreshTimeout = -1 }, "Config.Policy.Stale.RefreshTimeout: -1ns is negative: use 0"},
		{func(c *Config) { c.Policy.Stale.SoftTimeout = -1 }, "Config.Policy.Stale.SoftTimeout: -1ns is negative: use 0"},
		{func(c *Config) { c.Policy.Stale.SoftTimeout = time.Minute }, "Config.Policy.Stale.SoftTimeout: 1m0s exceeds Stale.RefreshTimeout, 30s"},
		{func(c *Config) { c.Policy.Stale.SoftTimeout = 30 * time.Second }, ""},
		{func(c *Config) { c.Policy.Stale.IfError = -1 }, "Config.Policy.Stale.IfError: -1ns is negative: use 0"},
		{func(c *Config) { c.Policy.Stale.WhileRevalidate = -1 }, "Config.Policy.Stale.WhileRevalidate: -1ns is negative: use 0"},
		{func(c *Config) { c.Policy.Stale.RefreshAhead = 1 }, "Config.Policy.Stale.RefreshAhead: 1 is no fraction of a lifetime: use a number between 0 and 1"},
		{func(c *Config) { c.Policy.Stale.RefreshAhead = -0.1 }, "Config.Policy.Stale.RefreshAhead: -0.1"},
		{func(c *Config) { c.Policy.Stale.RefreshAhead = math.NaN() }, "Config.Policy.Stale.RefreshAhead: NaN"},
		{func(c *Config) { c.Policy.Stale.RefreshAhead = 0.99 }, ""},
		{func(c *Config) { c.Policy.TTLJitter = 0.91 }, "Config.Policy.TTLJitter: 0.91: use a fraction from 0 to 0.9"},
		{func(c *Config) { c.Policy.TTLJitter = -0.1 }, "Config.Policy.TTLJitter: -0.1"},
		{func(c *Config) { c.Policy.TTLJitter = math.NaN() }, "Config.Policy.TTLJitter: NaN"},
		{func(c *Config) { c.Policy.TTLJitter = 0.9 }, ""},
		{func(c *Config) { c.Policy.Coalescing.Scope = CoalesceNone + 1 }, "Config.Policy.Coalescing.Scope: 3: use CoalesceAll, CoalesceProcess or CoalesceNone"},
		{func(c *Config) { c.Background.Runs = -1 }, "Config.Background.Runs: -1: use 1 to 1048576, or 0 for 16"},
		{func(c *Config) { c.Background.Queue = 1<<20 + 1 }, "Config.Background.Queue: 1048577: use 1 to 1048576, or 0 for 1024"},
	} {
		var cfg Config
		c.change(&cfg)
		_, err := cfg.validated()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestConfigOfContent(t *testing.T) {
	as := func(methods []string, content ContentPolicy) func(*Config) {
		return func(c *Config) { c.Policy.Requests.Methods, c.Policy.Requests.Content = methods, content }
	}
	normalize := func(_ *Request, b []byte) ([]byte, bool) { return b, true }
	for _, c := range []struct {
		change func(*Config)
		want   string // field and fix; empty: it is valid
	}{
		{as([]string{"GET", "HEAD", "QUERY", "POST"}, ContentPolicy{MaxBytes: 1 << 20, OfGet: true, Normalize: normalize}), ""},
		{as([]string{"POST"}, ContentPolicy{Normalize: normalize}), ""},
		{as(nil, ContentPolicy{MaxBytes: 1000, OfGet: true, Normalize: normalize}), ""},
		{as(nil, ContentPolicy{MaxBytes: 64 << 10}), ""}, // the default, from another policy
		{as([]string{"PATCH"}, ContentPolicy{}), `Config.Policy.Requests.Methods: "PATCH": only GET, HEAD, QUERY and POST`},
		{as([]string{"query"}, ContentPolicy{}), `Config.Policy.Requests.Methods: "query": only`},
		{as([]string{"QUERY"}, ContentPolicy{MaxBytes: -1}), "Config.Policy.Requests.Content.MaxBytes: -1: use 1 to 16777216, or 0 for 64 KiB"},
		{as([]string{"QUERY"}, ContentPolicy{MaxBytes: 16<<20 + 1}), "Config.Policy.Requests.Content.MaxBytes: 16777217: use"},
		{as(nil, ContentPolicy{MaxBytes: 1000}), "Config.Policy.Requests.Content.MaxBytes: no request with content is answered: add QUERY or POST to Requests.Methods, or set"},
		{as(nil, ContentPolicy{Normalize: normalize}), "Config.Policy.Requests.Content.Normalize: no request with content is answered: add QUERY or POST"},
		{as([]string{"HEAD", "QUERY"}, ContentPolicy{OfGet: true}), "Config.Policy.Requests.Content.OfGet: GET is not among Requests.Methods: add it"},
	} {
		var cfg Config
		c.change(&cfg)
		_, err := cfg.validated()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestConfigOfBodies(t *testing.T) {
	codings := func(names ...string) func(*Config) {
		return func(c *Config) { c.Policy.Compression.Codings = names }
	}
	types := func(names ...string) func(*Config) {
		return func(c *Config) { c.Policy.Compression.MediaTypes = names }
	}
	level := func(name string, n int) func(*Config) {
		return func(c *Config) { c.Policy.Compression.Levels = map[string]int{name: n} }
	}
	for _, c := range []struct {
		change func(*Config)
		want   string // field and fix; empty: it is valid
	}{
		{codings("zstd", "br", "gzip"), ""},
		{codings("GZIP"), ""},
		{codings("deflate"), `Config.Policy.Compression.Codings: "deflate": use "zstd", "br" and "gzip"`},
		{codings("identity"), `Config.Policy.Compression.Codings: "identity": use`},
		{codings(""), `Config.Policy.Compression.Codings: "": use`},
		{codings("gzip", "x-gzip"), `Config.Policy.Compression.Codings: "x-gzip" is there twice: name it once`},
		{types("text/html", "Text/*", "*+json"), ""},
		{types(), ""},
		{types("text/html; charset=utf-8"), "Config.Policy.Compression.MediaTypes: \"text/html; charset=utf-8\": use a type without parameters"},
		{types("*/*"), `Config.Policy.Compression.MediaTypes: "*/*"`},
		{types("html"), `Config.Policy.Compression.MediaTypes: "html"`},
		{types("*+"), `Config.Policy.Compression.MediaTypes: "*+"`},
		{level("gzip", 9), ""},
		{level("gzip", 10), "Config.Policy.Compression.Levels: gzip: "},
		{level("br", 12), "Config.Policy.Compression.Levels: br: "},
		{level("zstd", -1), "Config.Policy.Compression.Levels: zstd: "},
		{level("lzma", 1), `Config.Policy.Compression.Levels: "lzma": use "zstd", "br" and "gzip"`},
		{func(c *Config) { c.Policy.Compression.MinBytes = -1 }, "Config.Policy.Compression.MinBytes: -1: use 1 to 1048576, or 0 for 1024"},
		{func(c *Config) { c.MaxDerivedBytes = -1 }, "Config.MaxDerivedBytes: -1 is negative: use 0 for 16 MiB"},
		{func(c *Config) { c.MaxCaptureBytes = -1 }, "Config.MaxCaptureBytes: -1 is negative: use "},
		{func(c *Config) { c.Policy.Storing.HoldBytes = -1 }, "Config.Policy.Storing.HoldBytes: -1 is negative: use "},
	} {
		var cfg Config
		c.change(&cfg)
		_, err := cfg.validated()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestCompressionOfHandles: what one handle's policy compresses is no other's business.
func TestCompressionOfHandles(t *testing.T) {
	c := Must(New(Config{Policy: Policy{Compression: CompressionPolicy{Codings: []string{"gzip"}, Levels: map[string]int{"gzip": 1}}}}))
	defer c.Close(context.Background())
	h := Must(c.With(func(p *Policy) {
		p.Compression.Codings[0], p.Compression.Levels["gzip"], p.Compression.MediaTypes[0] = "br", 9, "image/png"
	}))
	if c.compression.codings[0] != coding.Gzip || c.policy.Compression.Levels["gzip"] != 1 || !c.compression.compresses("text/plain") ||
		h.compression.codings[0] != coding.Brotli || !h.compression.compresses("IMAGE/PNG ; q=1") || h.compression.compresses("text/plain") {
		t.Errorf("%+v of %+v", h.compression, c.compression)
	}
}

func TestZeroConfigIsValid(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestWith(t *testing.T) {
	c := Must(New(Config{Policy: Policy{TTL: time.Minute, StatusTTL: map[int]time.Duration{http.StatusNotFound: time.Second}}}))
	defer c.Close(context.Background())
	h, err := c.With(func(p *Policy) { p.TTL = time.Second })
	if err != nil {
		t.Fatal(err)
	}
	if h.policy.TTL != time.Second || c.policy.TTL != time.Minute || !h.listed[404] || h.shared != c.shared {
		t.Errorf("handle %+v of %+v", h.cfg, c.cfg)
	}
	if _, err := c.With(func(p *Policy) { p.StatusTTL[http.StatusGone] = time.Second; p.Requests.Methods[0] = http.MethodHead }); err != nil {
		t.Error(err)
	}
	if len(c.policy.StatusTTL) != 1 || c.policy.Requests.Methods[0] != http.MethodGet {
		t.Error("a handle's policy has changed its parent's")
	}
	if _, err := c.With(func(p *Policy) { p.TTL = -1 }); err == nil || !strings.Contains(err.Error(), "cacheaside: With: Policy.TTL: ") {
		t.Errorf("a negative TTL: %v", err)
	}
}

// TestWrappedStore: a store that wraps the embedded one has all that it can.
func TestWrappedStore(t *testing.T) {
	m := Must(memory.New(1 << 20))
	for name, s := range map[string]store.Store{"bare": m, "wrapped": struct{ *memory.Store }{m}} {
		c := Must(New(Config{Store: s}))
		defer c.Close(t.Context())
		if !c.inProcess || c.coordinator == nil || c.local == nil || c.judging == nil || c.breaker != nil {
			t.Errorf("%s: in process %v, coordinator %v, local %v, judging %v, breaker %v", name, c.inProcess, c.coordinator, c.local, c.judging, c.breaker)
		}
	}
	if c := Must(New(Config{Store: struct{ store.Coordinator }{m}})); c.inProcess || c.coordinator == nil || c.local != nil || c.breaker == nil {
		t.Error("a store of which nothing but its interface is known counts as one in this process")
	}
}

func TestMustPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Must(New(Config{Policy: Policy{TTL: -1}}))
}

func TestSelection(t *testing.T) {
	for _, c := range []struct {
		s    Selection
		name string
		want bool
	}{
		{Selection{}, "a", true}, {None(), "a", false},
		{Only("a", "b*"), "a", true}, {Only("a", "b*"), "bcd", true}, {Only("a", "b*"), "c", false},
		{Except("utm_*"), "utm_source", false}, {Except("utm_*"), "utm", true}, {Except("*"), "x", false},
	} {
		if got := c.s.hasField(c.name); got != c.want {
			t.Errorf("%+v has %q: %v", c.s, c.name, got)
		}
	}
	if !Only("X-Request-Id").hasField("x-request-ID") {
		t.Error("field names are compared with their case")
	}
}

// TestDurationsWithoutUnit: TTL: 30 is a forgotten unit.
func TestDurationsWithoutUnit(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"Policy.TTL": func(c *Config) { c.Policy.TTL = 30 }, "Policy.StatusTTL": func(c *Config) { c.Policy.StatusTTL = map[int]time.Duration{404: 5} },
		"Timeouts.Lookup": func(c *Config) { c.Timeouts.Lookup = 50 }, "Timeouts.Write": func(c *Config) { c.Timeouts.Write = 250 },
		"Policy.Coalescing.Wait": func(c *Config) { c.Policy.Coalescing.Wait = 10 }, "Timeouts.Purge": func(c *Config) { c.Timeouts.Purge = 1 },
		"Policy.Stale.IfError": func(c *Config) { c.Policy.Stale.IfError = 60 }, "Policy.Stale.WhileRevalidate": func(c *Config) { c.Policy.Stale.WhileRevalidate = 999_999 },
		"Policy.Stale.SoftTimeout": func(c *Config) { c.Policy.Stale.SoftTimeout = 1 }, "Policy.Stale.RefreshTimeout": func(c *Config) { c.Policy.Stale.RefreshTimeout = 30 },
		"Timeouts.Lock": func(c *Config) { c.Timeouts.Lock = 3 }, "Breaker.Pause": func(c *Config) { c.Breaker.Pause = 1 },
	} {
		var c Config
		change(&c)
		if _, err := c.validated(); err == nil || !strings.Contains(err.Error(), "Config."+field+": ") || !strings.Contains(err.Error(), "unit") {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := (Config{Policy: Policy{TTL: time.Millisecond, StatusTTL: map[int]time.Duration{404: 0}}}).validated(); err != nil {
		t.Error(err)
	}
}

// TestForEver is as long as what is stored, and no sum of it overflows: neither of
// time-outs, which grow with what is stored, nor of grace.
func TestForEver(t *testing.T) {
	var long Config
	durations(reflect.ValueOf(&long).Elem(), func(name string, v reflect.Value) {
		if name != "TTL" {
			v.SetInt(math.MaxInt64)
		}
	})
	c, err := long.validated()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	durations(reflect.ValueOf(&c).Elem(), func(name string, v reflect.Value) {
		n++
		if d := time.Duration(v.Int()); name != "TTL" && d != maxLifetime {
			t.Errorf("%s is %v", name, d)
		}
	})
	if n != 11 {
		t.Errorf("%d durations", n)
	}
}

// durations calls f for all durations in a struct and the structs in it.
func durations(v reflect.Value, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.Type() == reflect.TypeFor[time.Duration]():
			f(v.Type().Field(i).Name, field)
		case field.Kind() == reflect.Struct:
			durations(field, f)
		}
	}
}

// TestLogAfterClockStepsBack: the log is not silent until the clock has its old time
// again.
func TestLogAfterClockStepsBack(t *testing.T) {
	var out strings.Builder
	now := time.Unix(1e9, 0)
	c := Must(New(Config{Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	defer c.Close(t.Context())
	for i, step := range []time.Duration{0, 9 * time.Second, time.Second, -time.Hour, 9 * time.Second, time.Second} {
		now = now.Add(step)
		out.Reset()
		c.reportError("testing", errors.New("down"))
		if told := out.Len() > 0; told != (step != 9*time.Second) {
			t.Errorf("step %d: told %t", i, told)
		}
	}
}
