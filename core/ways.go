package cacheaside

import "github.com/cacheaside/cacheaside/core/internal/purges"

// A policy that leaves the host or parameters out of keys has its own way to tell URLs
// apart: see [purges.Way].

// wayOf is nil where the policy leaves nothing out.
func wayOf(c *KeyPolicy) *purges.Way {
	if !c.IgnoreHost && c.Query.Allow == nil && len(c.Query.Deny) == 0 {
		return nil
	}
	return purges.NewWay(c.IgnoreHost, c.Query.Allow, c.Query.Deny)
}

// keyerOf writes URLs in the way.
func keyerOf(w *purges.Way) keyer {
	s := Selection{Deny: w.Deny}
	if w.Only {
		s = Selection{Allow: append([]string{}, w.Allow...)}
	}
	return keyer{KeyPolicy: &KeyPolicy{IgnoreHost: w.NoHost, Query: s}}
}
