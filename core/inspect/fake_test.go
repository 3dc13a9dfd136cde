package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/observe"
)

const (
	fullToken = "full-token-of-32-bytes-0123456789"
	readToken = "read-token-of-32-bytes-0123456789"
)

// fake is an engine with a cache as one may be, and with secrets wherever there is room.
type fake struct {
	mu      sync.Mutex
	purged  []string // bodies
	answers int      // of a purge; 0: 200
	err     error    // of the rest
	values  *values  // of a store that others have as well
}

// secret is what nobody may see.
const secret = "s3cr3t"

func (f *fake) status(_ context.Context, s *Status) {
	s.Namespace = "shop"
	s.Near.Exists = true
	s.Server = Server{
		Name: "Dragonfly", Version: "1.40.1", Address: "redis://shop:" + secret + "@cache-1.internal:6379", Used: 1_342_177_280, Max: 4 << 30,
		Latency: 0.00042,
	}
	if err := f.failure(); err != nil {
		s.Server.Error = err.Error()
	}
}

func wire(path string) Key { return Key{Text: "shop:2:{GET:https://example.com" + path + "}"} }

func (f *fake) lookup(_ context.Context, a Ask) (Lookup, error) {
	if err := f.failure(); err != nil {
		return Lookup{}, err
	}
	if strings.Contains(a.URL, "/nothing") {
		return Lookup{URL: a.URL, Found: []Found{{
			Policies: []string{""}, Key: wire("/nothing"), Result: "miss", Cause: "cold",
			Because: "nothing is stored under the key: it was never asked for, has expired, or was evicted",
		}}}, nil
	}
	now := time.Now()
	entry := func(encoding string, selected bool, ttl float64) Entry {
		e := Entry{
			Key: Key{Text: wire("/blogs/1000?page="+secret).Text + ":0123456789abcdef0123456789abcdef"}, Selected: selected,
			Selecting: []Field{{"Accept-Encoding", encoding}, {"X-Token", secret}}, Status: 200, StoredAt: now.Add(-18 * time.Second).UnixMilli(),
			Age: 18.2, TTL: ttl, Lifetime: 30, Gone: 72, Size: 5120, BodyBytes: 4321, Saves: 0.041, Result: "hit",
			Because: "it is fresh, none of its tags was purged, and the request selects it",
			Tags: []Tag{
				{Name: "blog-1000", Kind: "handler", Stamp: "1842", State: "valid"},
				{Name: "user-7", Kind: "handler", Stamp: "1790", State: "soft"},
				{Name: "https://user:" + secret + "@example.com/blogs/1000?token=" + secret, Kind: "url", Stamp: "0", State: "valid"},
			},
			Header: []Field{
				{"Content-Type", "application/json"}, {"Cache-Control", "max-age=30"}, {"Etag", `"5f1c"`},
				{"Set-Cookie", "session=" + secret}, {"Location", "https://u:" + secret + "@example.com/next?key=" + secret},
			},
		}
		if !selected {
			e.Because = "the request does not select it: its Accept-Encoding differs"
			e.Result = "miss"
		}
		return e
	}
	return Lookup{URL: a.URL, Found: []Found{
		{
			Policies: []string{"", "blogs"}, Key: wire("/blogs/1000?page=" + secret + "|u:" + secret + "|h:X-Tenant=" + secret), Result: "hit",
			Because: "a fresh response is stored that the request selects", Vary: []string{"Accept-Encoding"},
			Entries: []Entry{entry("gzip", true, 11.8), entry("", false, -4.1)},
		},
		{
			Policies: []string{"news"}, Key: wire("/blogs/1000|k:" + secret), Result: "miss", Cause: "corrupt",
			Because: "what is stored is no entry of ours",
			Entries: []Entry{{Key: wire("/blogs/1000"), Problem: "a string of 12 bytes that another program has written", Size: 12}},
		},
	}}, nil
}

func (f *fake) explain(_ context.Context, a Ask) (Explanation, error) {
	if err := f.failure(); err != nil {
		return Explanation{}, err
	}
	key := wire("/users/7?token=" + secret)
	x := Explanation{
		URL: a.URL, Route: "/users/:id", Policy: "users", Key: &key, Result: "miss", Cause: "cold", Reason: "private",
		Because: "nothing is stored, and what the handler gave last could not be", Remedy: remedies[observe.ReasonPrivate],
		Steps: []Step{
			{"router", "GET /users/:id"}, {"policy", "users: TTL 30s"}, {"key", key.Text}, {"lookup", "nothing is there"}, {"would", "ask the handler"},
		},
	}
	if a.Send {
		x.Sent, x.Status, x.Handler = true, 200, 0.043
		x.Header = []Field{{"Cache-Control", "private"}, {"Set-Cookie", secret}}
	}
	return x, nil
}

func (f *fake) preview(p cacheaside.Purge) (targets []Target, err error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	for kind, list := range map[string][]string{"tag": p.Tags, "url": p.URLs, "prefix": p.Prefixes} {
		for _, text := range list {
			targets = append(targets, Target{Kind: kind, Text: text})
		}
	}
	if p.All {
		targets = append(targets, Target{Kind: "all"})
	}
	if len(targets) == 0 {
		return nil, errors.New("nothing to purge: give Tags, URLs, Prefixes or All")
	}
	for i := range targets {
		if t := &targets[i]; t.Kind == "url" {
			t.Text = strings.ToLower(t.Text)
			t.Reaches = []string{"all variants, partitions and policies", "http and https"}
		}
	}
	return targets, nil
}

func (f *fake) config() Config {
	settings := []Setting{
		{"TTL", "30s", false}, {"StatusTTL", "404: 5s", false}, {"TTLJitter", "0", true}, {"Skip", "not set", true},
		{"Key.Query", "all but utm_*, fbclid", false}, {"Key.Headers", "none", true}, {"Key.Generator", "not set", true}, {"Key.Partition", "set", false},
		{"Key.MaxBytes", "8 KiB", true}, {"Storing.MaxBytes", "8 MiB", true}, {"Storing.GenerateETag", "true", false}, {"Storing.MaxTags", "64", true},
		{"Stale.WhileRevalidate", "1m0s", false}, {"Stale.IfError", "1h0m0s", false}, {"Coalescing.Scope", "all", true}, {"Coalescing.Wait", "10s", true},
		{"Requests.Methods", "GET, HEAD", true}, {"Requests.Cookies", "none", false}, {"Requests.ShowKey", "not set", true},
	}
	cache := []Setting{
		{"Namespace", "shop", false}, {"Store", "Dragonfly at redis://shop:" + secret + "@cache-1.internal:6379", false}, {"Timeouts.Lookup", "50ms", true}, {"Timeouts.Write", "250ms", true},
		{"Timeouts.Purge", "1s", true}, {"Breaker.Failures", "5", true}, {"Background.Runs", "16", true}, {"Background.WriteBuffer", "32 MiB", true},
	}
	return Config{Cache: cache, Handles: []Handle{{"", true, settings}, {"blogs", false, settings[:8]}, {"users", false, settings[4:]}}}
}

// values is a store that several have.
type values struct {
	sync.Mutex
	of map[string][]byte
}

func (f *fake) read(_ context.Context, key string) ([]byte, bool, error) {
	f.values.Lock()
	defer f.values.Unlock()
	v, ok := f.values.of[key]
	return v, ok, f.failure()
}

func (f *fake) write(_ context.Context, key string, data []byte, ttl time.Duration) error {
	f.values.Lock()
	defer f.values.Unlock()
	f.values.of[key] = data
	time.AfterFunc(ttl, func() {
		f.values.Lock()
		defer f.values.Unlock()
		if now := f.values.of[key]; len(now) > 0 && &now[0] == &data[0] {
			delete(f.values.of, key)
		}
	})
	return nil
}

func (f *fake) purge(_ context.Context, _ *adapter.Request, body []byte) *adapter.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == http.StatusServiceUnavailable {
		return failure(f.answers, "the store has not acknowledged: send it again")
	}
	f.purged = append(f.purged, string(body))
	return answer(http.StatusOK, map[string]bool{"purged": true})
}

func (f *fake) purges() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.purged...)
}

func (f *fake) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fake) answerPurges(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = status
}

var errStore = errors.New("dial tcp redis://shop:" + secret + "@10.0.0.1:6379: GET shop:2:{GET:https://example.com/?a=" + secret + "}: refused")

func newFake(opts ...Option) (*fake, *Endpoint, *Recorder) {
	f, r := new(fake), NewRecorder(nil)
	e, err := newEndpoint(f, r, Access{Token: fullToken, ReadToken: readToken}, opts...)
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return f, e, r
}
