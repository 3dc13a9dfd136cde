package inspect

import (
	"context"
	"errors"
	"net/http"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
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
	return cacheEngine{c, p}, nil
}

// cacheEngine is a cache with what its public face tells.
type cacheEngine struct {
	cache    *cacheaside.Cache
	endpoint *cacheaside.PurgeEndpoint
}

func (e cacheEngine) status(_ context.Context, s *Status) {
	s.Breaker.Open = e.cache.BreakerOpen()
	s.Breaker.Opened = e.cache.Stats().BreakerOpened
}

func (cacheEngine) lookup(context.Context, Ask) (Lookup, error) { return Lookup{}, errCannot }

func (cacheEngine) explain(context.Context, Ask) (Explanation, error) {
	return Explanation{}, errCannot
}

func (cacheEngine) preview(p cacheaside.Purge) (targets []Target, err error) {
	for _, t := range p.Tags {
		targets = append(targets, Target{Kind: "tag", Text: t})
	}
	for _, u := range p.URLs {
		targets = append(targets, Target{Kind: "url", Text: u})
	}
	for _, u := range p.Prefixes {
		targets = append(targets, Target{Kind: "prefix", Text: u})
	}
	if p.All {
		targets = append(targets, Target{Kind: "all"})
	}
	if len(targets) == 0 {
		return nil, errors.New("nothing to purge: give tags, URLs, prefixes or all")
	}
	return targets, nil
}

func (cacheEngine) read(context.Context, string) ([]byte, bool, error) { return nil, false, errCannot }

func (cacheEngine) write(context.Context, string, []byte, time.Duration) error { return errCannot }

func (cacheEngine) config() Config { return Config{} }

func (e cacheEngine) purge(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response {
	post := *req
	post.Method = http.MethodPost
	return e.endpoint.Serve(ctx, &post, body)
}
