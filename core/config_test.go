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

	"github.com/cacheaside/cacheaside/core/store"
)

func TestConfigNamesEveryWrongField(t *testing.T) {
	_, err := New(Config{
		Namespace: "a b", LookupTimeout: -1, StoreTimeout: -1, TTL: -time.Second,
		StatusTTL: map[int]time.Duration{404: -1, 206: 1}, StatusCodes: []int{99, 304},
		Methods: []string{"GET", "POST"}, MaxBytes: -1,
		Query: Selection{Allow: []string{"a"}, Deny: []string{"b"}}, ResponseHeaders: Except("a*b", ""),
		KeyHeaders: []string{"no field"}, KeyCookies: []string{"a;b"}, MaxKeyBytes: 1, MaxVariants: -1,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"Config.Namespace", "Config.LookupTimeout", "Config.StoreTimeout", "Config.TTL", "Config.StatusTTL: -1ns for 404",
		"Config.StatusTTL: 206", "Config.StatusCodes: 99", "Config.StatusCodes: 304", `Config.Methods: "POST"`, "Config.MaxBytes",
		"Config.Query: both Allow and Deny", `Config.ResponseHeaders: "a*b"`, "Config.ResponseHeaders: an empty name",
		"Config.KeyHeaders", "Config.KeyCookies", "Config.MaxKeyBytes", "Config.MaxVariants",
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
		{func(c *Config) { c.LockTTL = -1 }, "Config.LockTTL: -1ns is negative: use 0"},
		{func(c *Config) { c.LockTTL = time.Millisecond }, "Config.LockTTL: 1ms: use 100ms or more"},
		{func(c *Config) { c.LockTTL = 100 * time.Millisecond }, ""},
		{func(c *Config) { c.WaitTimeout = -1 }, "Config.WaitTimeout: -1ns is negative: use 0"},
		{func(c *Config) { c.RefreshTimeout = -1 }, "Config.RefreshTimeout: -1ns is negative: use 0"},
		{func(c *Config) { c.SoftTimeout = -1 }, "Config.SoftTimeout: -1ns is negative: use 0"},
		{func(c *Config) { c.SoftTimeout = time.Minute }, "Config.SoftTimeout: 1m0s exceeds RefreshTimeout, 30s"},
		{func(c *Config) { c.SoftTimeout = 30 * time.Second }, ""},
		{func(c *Config) { c.StaleIfError = -1 }, "Config.StaleIfError: -1ns is negative: use 0"},
		{func(c *Config) { c.StaleWhileRevalidate = -1 }, "Config.StaleWhileRevalidate: -1ns is negative: use 0"},
		{func(c *Config) { c.RefreshAhead = 1 }, "Config.RefreshAhead: 1 is no fraction of a lifetime: use a number between 0 and 1"},
		{func(c *Config) { c.RefreshAhead = -0.1 }, "Config.RefreshAhead: -0.1"},
		{func(c *Config) { c.RefreshAhead = math.NaN() }, "Config.RefreshAhead: NaN"},
		{func(c *Config) { c.RefreshAhead = 0.99 }, ""},
		{func(c *Config) { c.TTLJitter = 0.91 }, "Config.TTLJitter: 0.91: use a fraction from 0 to 0.9"},
		{func(c *Config) { c.TTLJitter = -0.1 }, "Config.TTLJitter: -0.1"},
		{func(c *Config) { c.TTLJitter = math.NaN() }, "Config.TTLJitter: NaN"},
		{func(c *Config) { c.TTLJitter = 0.9 }, ""},
		{func(c *Config) { c.Coalesce = CoalesceNone + 1 }, "Config.Coalesce: 3: use CoalesceAll, CoalesceProcess or CoalesceNone"},
		{func(c *Config) { c.MaxRefreshes = -1 }, "Config.MaxRefreshes: -1: use 1 to 1048576, or 0 for 16"},
		{func(c *Config) { c.RefreshQueue = 1<<20 + 1 }, "Config.RefreshQueue: 1048577: use 1 to 1048576, or 0 for 1024"},
	} {
		var cfg Config
		c.change(&cfg)
		_, err := cfg.validated()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
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
	c := Must(New(Config{TTL: time.Minute, StatusTTL: map[int]time.Duration{http.StatusNotFound: time.Second}}))
	defer c.Close(context.Background())
	h, err := c.With(func(p *Config) { p.TTL = time.Second })
	if err != nil {
		t.Fatal(err)
	}
	if h.cfg.TTL != time.Second || c.cfg.TTL != time.Minute || !h.listed[404] || h.shared != c.shared {
		t.Errorf("handle %+v of %+v", h.cfg, c.cfg)
	}
	if _, err := c.With(func(p *Config) { p.StatusTTL[http.StatusGone] = time.Second; p.Methods[0] = http.MethodHead }); err != nil {
		t.Error(err)
	}
	if len(c.cfg.StatusTTL) != 1 || c.cfg.Methods[0] != http.MethodGet {
		t.Error("a handle's policy has changed its parent's")
	}
	if _, err := c.With(func(p *Config) { p.TTL = -1 }); err == nil || !strings.Contains(err.Error(), "TTL") {
		t.Errorf("a negative TTL: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"Namespace": func(p *Config) { p.Namespace = "other" },
		"Now":       func(p *Config) { p.Now = func() time.Time { return time.Time{} } },
		"Store":     func(p *Config) { p.Store = nil },
		"timeout":   func(p *Config) { p.LookupTimeout = time.Hour },
		"LockTTL":   func(p *Config) { p.LockTTL = time.Hour },
		"workers":   func(p *Config) { p.MaxRefreshes = 1 },
		"queue":     func(p *Config) { p.RefreshQueue = 1 },
	} {
		if _, err := c.With(change); err == nil || !strings.Contains(err.Error(), "set them in New") {
			t.Errorf("changing %s: %v", name, err)
		}
	}
}

// sliceStore is of a type that == does not take.
type sliceStore struct {
	store.Store
	_ []int
}

func TestWithAnyTypeOfStore(t *testing.T) {
	c := Must(New(Config{Store: sliceStore{}}))
	if _, err := c.With(func(p *Config) { p.TTL = time.Second }); err != nil {
		t.Error(err)
	}
}

func TestMustPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Must(New(Config{TTL: -1}))
}

func TestSelection(t *testing.T) {
	for _, c := range []struct {
		s    Selection
		name string
		want bool
	}{
		{Selection{}, "a", true}, {None(), "a", false},
		{Only("a", "b*"), "a", true}, {Only("a", "b*"), "bcd", true}, {Only("a", "b*"), "A", false},
		{Except("utm_*"), "utm_source", false}, {Except("utm_*"), "utm", true}, {Except("*"), "x", false},
	} {
		if got := c.s.has(c.name, false); got != c.want {
			t.Errorf("%+v has %q: %v", c.s, c.name, got)
		}
	}
	if !Only("X-Request-Id").has("x-request-ID", true) {
		t.Error("field names are compared with their case")
	}
}

// TestDurationsWithoutUnit: TTL: 30 is a forgotten unit.
func TestDurationsWithoutUnit(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"TTL": func(c *Config) { c.TTL = 30 }, "StatusTTL": func(c *Config) { c.StatusTTL = map[int]time.Duration{404: 5} },
		"LookupTimeout": func(c *Config) { c.LookupTimeout = 50 }, "StoreTimeout": func(c *Config) { c.StoreTimeout = 250 },
		"WaitTimeout": func(c *Config) { c.WaitTimeout = 10 }, "PurgeTimeout": func(c *Config) { c.PurgeTimeout = 1 },
		"StaleIfError": func(c *Config) { c.StaleIfError = 60 }, "StaleWhileRevalidate": func(c *Config) { c.StaleWhileRevalidate = 999_999 },
		"SoftTimeout": func(c *Config) { c.SoftTimeout = 1 }, "RefreshTimeout": func(c *Config) { c.RefreshTimeout = 30 },
		"LockTTL": func(c *Config) { c.LockTTL = 3 }, "BreakerPause": func(c *Config) { c.BreakerPause = 1 },
	} {
		var c Config
		change(&c)
		if _, err := c.validated(); err == nil || !strings.Contains(err.Error(), "Config."+field+": ") || !strings.Contains(err.Error(), "unit") {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := (Config{TTL: time.Millisecond, StatusTTL: map[int]time.Duration{404: 0}}).validated(); err != nil {
		t.Error(err)
	}
}

// TestForEver is as long as what is stored, and no sum of it overflows: neither of
// time-outs, which grow with what is stored, nor of grace.
func TestForEver(t *testing.T) {
	var long Config
	v := reflect.ValueOf(&long).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Type == reflect.TypeFor[time.Duration]() && v.Type().Field(i).Name != "TTL" {
			v.Field(i).SetInt(math.MaxInt64)
		}
	}
	c, err := long.validated()
	if err != nil {
		t.Fatal(err)
	}
	v = reflect.ValueOf(c)
	for i := range v.NumField() {
		if d, ok := v.Field(i).Interface().(time.Duration); ok && v.Type().Field(i).Name != "TTL" && d != maxLifetime {
			t.Errorf("%s is %v", v.Type().Field(i).Name, d)
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
		c.trouble("testing", errors.New("down"))
		if told := out.Len() > 0; told != (step != 9*time.Second) {
			t.Errorf("step %d: told %t", i, told)
		}
	}
}
