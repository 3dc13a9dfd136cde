package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/observe"
)

// engine is what the page needs of a cache. Texts come as they are: the endpoint redacts
// them. Keys are given as Key.Text, on the wire, with an empty ID. Methods are called
// concurrently, and end with their context.
type engine interface {
	// status fills in Namespace, Breaker, Near and Server of a status. What cannot be
	// found out stays empty, with Server.Error or Problem saying why.
	status(ctx context.Context, s *Status)
	// lookup says what is stored for a URL. It calls no handler, and counts nothing. An
	// error that wraps errAsk means that there is something wrong with the Ask; any other
	// one that the store has not answered.
	lookup(ctx context.Context, a Ask) (Lookup, error)
	// explain sends a request through the router, as a dry run unless a.Send. Errors are
	// those of lookup, and errCannot.
	explain(ctx context.Context, a Ask) (Explanation, error)
	// preview gives the targets of a purge in their normal form, and purges nothing. Its
	// error is what makes no sense, or wraps cacheaside.ErrCannotPurge.
	preview(p cacheaside.Purge) ([]Target, error)
	// config lists all policies, the one of New first.
	config() Config
	// read and write are Get and Set of the store, by way of the breaker, for what is no
	// entry. The engine puts the namespace before the key, so that it is not that of one.
	read(ctx context.Context, key string) (data []byte, found bool, err error)
	write(ctx context.Context, key string, data []byte, ttl time.Duration) error
	// purge is PurgeEndpoint.Serve for a POST, without asking for access.
	purge(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response
}

var (
	errAsk    = errors.New("this cannot be asked")
	errCannot = errors.New("this cache cannot tell")
)

// engineOf is the engine of a cache.
func engineOf(c *cacheaside.Cache) (engine, error) {
	p, err := c.PurgeEndpoint(cacheaside.PurgeAccess{Authorize: func(context.Context, *adapter.Request) bool { return true }})
	if err != nil {
		return nil, err
	}
	return cacheEngine{inside.Of(c), c, p}, nil
}

// cacheEngine is a cache.
type cacheEngine struct {
	inside   inside.Cache
	cache    *cacheaside.Cache
	endpoint *cacheaside.PurgeEndpoint
}

func (e cacheEngine) status(ctx context.Context, s *Status) {
	s.Namespace = e.inside.Namespace()
	s.Breaker.Off = !e.inside.Breaker()
	s.Breaker.Open = e.cache.BreakerOpen()
	s.Breaker.Opened = e.cache.Stats().BreakerOpened
	s.Near.Exists = s.Near.On || e.cache.Gauges().Near.On
	s.Server.InProcess = e.inside.InProcess()
	d, ok, err := e.inside.Server(ctx)
	switch {
	case err != nil:
		s.Server.Error = err.Error()
	case !ok:
		s.Problem = "the store does not say what it is"
	}
	s.Server.Name, s.Server.Version, s.Server.Address = d.Name, d.Version, d.Address
	s.Server.Used, s.Server.Max, s.Server.Latency = d.Used, d.Max, d.Latency.Seconds()
}

func (e cacheEngine) lookup(ctx context.Context, a Ask) (Lookup, error) {
	req, err := requestOf(a)
	if err != nil {
		return Lookup{}, err
	}
	found, err := e.inside.Lookup(ctx, req)
	if err != nil {
		return Lookup{}, err
	}
	l := Lookup{URL: a.URL}
	for i := range found {
		f := &found[i]
		out := Found{
			Policies: f.Handles, Key: Key{Text: f.Key}, Result: f.Result, Cause: f.Cause, Reason: f.Reason,
			Because: f.Because, Vary: f.Vary, Entries: []Entry{},
		}
		for j := range f.Entries {
			out.Entries = append(out.Entries, entryOf(&f.Entries[j]))
		}
		l.Found = append(l.Found, out)
	}
	return l, nil
}

func entryOf(e *inside.Entry) Entry {
	out := Entry{
		Key: Key{Text: e.Key}, Selected: e.Selected, Status: e.Status, StoredAt: e.Born.UnixMilli(),
		Age: e.Age.Seconds(), TTL: e.TTL.Seconds(), Lifetime: e.Lifetime.Seconds(), Gone: e.Gone.Seconds(),
		Size: e.Size, BodyBytes: e.Body, Parts: e.Parts, Coding: e.Coding, Plain: e.Plain, Saves: e.Took.Seconds(), Tags: []Tag{},
		Result: e.Result, Because: e.Because, Problem: e.Problem,
	}
	for _, f := range e.Selecting {
		out.Selecting = append(out.Selecting, Field(f))
	}
	for _, f := range e.Header {
		out.Header = append(out.Header, Field(f))
	}
	for _, t := range e.Tags {
		out.Tags = append(out.Tags, Tag{Name: t.Name, Kind: t.Kind, Stamp: strconv.FormatUint(t.Stamp, 10), State: t.State})
	}
	return out
}

// header is that of the request that is asked about.
func (a *Ask) header() http.Header {
	header := http.Header{}
	for _, f := range a.Header {
		header.Add(f.Name, f.Value)
	}
	return header
}

// requestOf is the request that is asked about.
func requestOf(a Ask) (*adapter.Request, error) {
	u, err := url.Parse(a.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAsk, err)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &adapter.Request{Method: a.Method, Scheme: u.Scheme, Host: u.Host, Path: path, RawQuery: u.RawQuery, Header: a.header()}, nil
}

func (e cacheEngine) explain(ctx context.Context, a Ask) (Explanation, error) {
	u, err := url.Parse(a.URL)
	if err != nil {
		return Explanation{}, fmt.Errorf("%w: %w", errAsk, err)
	}
	x, err := e.inside.Explain(ctx, a.Method, u, a.header(), a.Send)
	if err != nil {
		return Explanation{}, fmt.Errorf("%w: %w", errCannot, err)
	}
	out := Explanation{
		URL: a.URL, Route: x.Route, Policy: x.Policy, Result: x.Result, Cause: x.Cause, Reason: x.Reason, Because: x.Because,
		Sent: x.Sent, Status: x.Status, Handler: x.Handler.Seconds(), Steps: []Step{},
	}
	if x.Key != "" {
		out.Key = &Key{Text: x.Key}
	}
	if r := observe.ReasonOf(x.Reason); r != 0 {
		out.Remedy = remedies[r]
	}
	for _, s := range x.Steps {
		out.Steps = append(out.Steps, Step(s))
	}
	for _, f := range x.Header {
		out.Header = append(out.Header, Field(f))
	}
	return out, nil
}

func (e cacheEngine) preview(p cacheaside.Purge) (targets []Target, err error) {
	if err := e.inside.CheckPurge(&p); err != nil {
		return nil, err
	}
	for _, t := range p.Tags {
		targets = append(targets, Target{Kind: "tag", Text: t})
	}
	for _, u := range p.URLs {
		reaches, _ := e.inside.Reaches(u) // it was checked
		targets = append(targets, Target{Kind: "url", Text: u, Reaches: reaches})
	}
	for _, u := range p.Prefixes {
		targets = append(targets, Target{Kind: "prefix", Text: u})
	}
	if p.All {
		targets = append(targets, Target{Kind: "all"})
	}
	return targets, nil
}

func (e cacheEngine) read(ctx context.Context, key string) ([]byte, bool, error) {
	return e.inside.Get(ctx, key)
}

func (e cacheEngine) write(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return e.inside.Set(ctx, key, data, ttl)
}

func (e cacheEngine) config() Config {
	c := Config{Cache: settingsOf(e.inside.Settings())}
	for i, h := range e.inside.Handles() {
		c.Handles = append(c.Handles, Handle{Name: h.Name, Default: i == 0, Settings: settingsOf(h.Settings)})
	}
	return c
}

func settingsOf(from []inside.Setting) []Setting {
	out := make([]Setting, len(from))
	for i, s := range from {
		out[i] = Setting(s)
	}
	return out
}

func (e cacheEngine) purge(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response {
	post := *req
	post.Method = http.MethodPost
	return e.endpoint.Serve(ctx, &post, body)
}
