package cacheaside

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/observe"
)

// An explanation sends a request through the service's own router, so that what is in
// front of the cache has its say. The handle that it comes to answers in place of the
// handler; or it is a request like any other, whose event is kept.

// explaining is one explanation.
type explaining struct {
	cache *shared
	send  bool
	mu    sync.Mutex
	found inside.Explanation
	come  bool // to a handle of the cache
}

// explainingBy is the engine's part of a request that is to be explained; nil: it is
// another one.
func explainingBy(r *adapter.Rerun) *explaining {
	if r == nil {
		return nil
	}
	x, _ := r.Engine().(*explaining)
	return x
}

// errNoProbe says that no request has shown how one is sent.
var errNoProbe = errors.New("no request has come through the cache yet, which would show how one is sent into the service: send one first")

// Explain implements [inside.Cache].
func (i insideOf) Explain(ctx context.Context, method string, target *url.URL, header http.Header, send bool) (inside.Explanation, error) {
	probe := i.c.probe.Load()
	if probe == nil {
		return inside.Explanation{}, errNoProbe
	}
	// Not in the context of who asks: that may be a request that the cache has passed on.
	own, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	x := &explaining{cache: i.c.shared, send: send}
	rerun := adapter.NewRerun(x)
	status, answered, err := x.run(own, *probe, method, target, header, &rerun)
	if err != nil {
		return inside.Explanation{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	out := x.found
	out.Sent = send
	switch {
	case !x.come:
		out.Result, out.Because = observe.ResultBypass.String(), fmt.Sprintf("the request did not come to the cache: what is in front of it, or the router, has answered %d", status)
		out.Status = status
	case send:
		out.Status = status
		for _, name := range slices.Sorted(maps.Keys(answered)) {
			for _, value := range answered[name] {
				out.Header = append(out.Header, inside.Field{Name: name, Value: value})
			}
		}
	}
	return out, nil
}

// run sends the request. A handler that panics has done so.
func (x *explaining) run(ctx context.Context, probe adapter.Entry, method string, target *url.URL, header http.Header, rerun *adapter.Rerun) (status int, answered http.Header, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %.200q", fmt.Sprint(p))
		}
	}()
	status, answered = probe(ctx, method, target, header, rerun)
	return status, answered, nil
}

// inspected sees to what an inspector wants. Done: the request was its own, and is answered.
func (v *visit) inspected() (done bool, err error) {
	if v.c.probing.Load() {
		v.c.offerProbe(v.x)
	}
	if v.req.Rerun == nil {
		return false, nil
	}
	if w, ok := v.req.Rerun.Engine().(*warming); ok {
		w.meet(v)
		return false, nil
	}
	x := explainingBy(v.req.Rerun)
	if x == nil || x.cache != v.c.shared {
		return false, nil
	}
	if v.explained = x; !x.send {
		return true, v.explain(x)
	}
	v.req.Rerun = nil // it is a request like any other
	return false, nil
}

// explain is what a handle does in place of the handler.
func (v *visit) explain(x *explaining) error {
	f, err := newLooking(v.c).look(v.x.Context(), v.x.Request())
	if err != nil {
		f.Result, f.Cause, f.Because = observe.ResultMiss.String(), v.c.failing().String(), "the store has not answered"
	}
	if v.req.Router != nil {
		v.key.Wire = f.Key
		v.findRoute()
	}
	x.mu.Lock()
	x.come = true
	x.found = inside.Explanation{
		Route: strings.Clone(v.routeLabel()), Policy: v.c.policy.Name, Key: f.Key,
		Result: f.Result, Cause: f.Cause, Reason: f.Reason, Because: f.Because,
		Steps: steps(&f),
	}
	x.mu.Unlock()
	return v.x.Reply(&adapter.Response{Status: http.StatusNoContent})
}

// steps are those of the request, in its order.
func steps(f *inside.Found) []inside.Step {
	if f.Reason != "" {
		return []inside.Step{{Step: "policy", Result: f.Because}}
	}
	all := []inside.Step{{Step: "key", Result: f.Key}}
	if len(f.Vary) > 0 {
		all = append(all, inside.Step{Step: "vary", Result: "selected by " + strings.Join(f.Vary, ", ")})
	}
	selected := false
	for i := range f.Entries {
		e := &f.Entries[i]
		if !e.Selected {
			continue
		}
		selected = true
		what := e.Problem
		if what == "" {
			what = fmt.Sprintf("a response with status %d, %v old", e.Status, e.Age.Round(time.Second))
			if e.Parts != "" {
				what += ", in parts: " + e.Parts
			}
		}
		all = append(all, inside.Step{Step: "lookup", Result: what})
		for _, t := range e.Tags {
			if t.State != "valid" {
				all = append(all, inside.Step{Step: "purges", Result: "tag " + t.Name + ": " + t.State})
			}
		}
	}
	if !selected {
		all = append(all, inside.Step{Step: "lookup", Result: "no response"})
	}
	return append(all, inside.Step{Step: "decide", Result: f.Because})
}

// keep takes the event of a request that was sent to be explained.
func (x *explaining) keep(e *observe.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.come = true
	reason := e.NotStored.String() + e.Bypass.String()
	x.found = inside.Explanation{
		Route: strings.Clone(e.Route), Policy: strings.Clone(e.Policy), Key: strings.Clone(e.Key),
		Result: e.Result.String(), Cause: e.Cause.String(), Reason: reason, Handler: e.Handler,
		Because: "the request was sent, and answered like this",
	}
	switch {
	case e.NotStored != 0:
		x.found.Because = "the handler was asked, and its response was not stored: " + reason
	case e.StoredBytes > 0:
		x.found.Because = "the handler was asked, and its response is being stored"
	}
}

// offerProbe keeps what sends requests into the service, once somebody wants to.
func (c *Cache) offerProbe(x adapter.Exchange) {
	if p, ok := x.(adapter.Prober); ok {
		if probe := p.Probe(); probe != nil {
			c.probe.Store(&probe)
			c.probing.Store(false)
		}
	}
}
