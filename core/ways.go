package cacheaside

import (
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
)

// A policy that leaves the host or parameters out of keys has its own way to tell URLs
// apart: see [purges.Way].

// wayOf is nil where the policy leaves nothing out.
func wayOf(c *KeyPolicy) *purges.Way {
	if !c.IgnoreHost && c.Query.Allow == nil && len(c.Query.Deny) == 0 {
		return nil
	}
	return purges.NewWay(c.IgnoreHost, c.Query.Allow, c.Query.Deny)
}

// makerOf writes URLs in the way.
func makerOf(w *purges.Way) keys.Maker {
	policy := keys.Policy{IgnoreHost: w.NoHost, Query: keys.NewSelector(nil, w.Deny)}
	if w.Only {
		policy.Query = keys.NewSelector(append([]string{}, w.Allow...), nil)
	}
	if variance, ok := httprules.ParseNoVarySearch([]string{w.Search}); ok {
		policy.Search = &variance
	}
	return keys.NewMaker("", policy)
}
