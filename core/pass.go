package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/observe"
)

// letPass runs the handler with its response going straight to the client; note
// gives the fields to add.
func (v *visit) letPass(run *run, note func(int, adapter.Header, string) adapter.Fields) error {
	c := v.c // the response may go when v is another request's
	v.result, v.ran, v.began = observe.ResultBypass, ranBegun, v.begins()
	defer func() { v.inner = run.dealtWith() }()
	resp, err := v.x.Next(adapter.Forward{Run: &run.Run, Annotate: func(status int, h adapter.Header, reason string) adapter.Fields {
		return c.withoutTags(note(status, h, reason), h)
	}})
	v.noteHandler(resp, v.since(v.began))
	v.noteRoute()
	return err
}

// annotate gives the Cache-Status field for a response that is not replied by
// the engine, unless a handle further in has said what there is to say.
func annotate(run *run, s httprules.CacheStatus) func(int, adapter.Header, string) adapter.Fields {
	return func(_ int, _ adapter.Header, reason string) adapter.Fields { return noted(run, s, reason) }
}

func noted(run *run, s httprules.CacheStatus, reason string) adapter.Fields {
	if run.dealtWith() {
		return nil
	}
	if reason != "" {
		s.Detail = reason
	}
	what := xcacheMiss
	if s.Fwd == fwdBypass || s.Fwd == fwdMethod {
		what = xcacheBypass
	}
	return statusFields(s, run.xcache, what)
}

// withoutTags takes the fields with tags out of what the client sees.
func (c *Cache) withoutTags(extra adapter.Fields, h adapter.Header) adapter.Fields {
	if c.policy.Storing.ForwardTags {
		return extra
	}
	for _, name := range httprules.TagFields {
		if len(h.Values(name)) > 0 {
			extra = append(extra, adapter.Field{Name: name, Op: adapter.OpDel})
		}
	}
	return extra
}
