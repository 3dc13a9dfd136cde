package cacheaside

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Of a run in another process only the token of its lock is known: the request
// that the handler gets has it in a line of CDN-Loop (RFC 8586), which a reverse
// proxy passes on to the service behind it.
const (
	loopField = "Cdn-Loop"
	loopStart = "cacheaside; lock="
)

// holds reports whether a run of the chain holds a lock by that token.
func (v *visit) holds(token string) bool {
	for f := range chain(&v.req) {
		if f.lead != nil && f.lead.Leader.held() == token {
			return true
		}
	}
	for t := range v.loopTokens {
		if t == token {
			return true
		}
	}
	return false
}

// awaitable reports whether the request is part of what others may wait for.
func (v *visit) awaitable() bool {
	for f := range chain(&v.req) {
		if f.lead != nil {
			return true
		}
	}
	for range v.loopTokens {
		return true
	}
	return false
}

// loopTokens goes through the tokens in the request's CDN-Loop.
func (v *visit) loopTokens(yield func(string) bool) {
	for _, line := range v.header.Values(loopField) {
		for member := range strings.SplitSeq(line, ",") {
			id, parameters, _ := strings.Cut(member, ";")
			if httprules.TrimOWS(id) != "cacheaside" {
				continue
			}
			for p := range strings.SplitSeq(parameters, ";") {
				token, ok := strings.CutPrefix(httprules.TrimOWS(p), "lock=")
				if ok && isLockToken(token) && !yield(token) {
					return
				}
			}
		}
	}
}

// looped adds to the request fields for the handler the locks that its run and
// those further out hold, for which other processes may wait.
func (v *visit) looped(set http.Header) http.Header {
	var lines []string
	for o := &v.run.Run; o != nil; o = o.Parent() {
		f := engineRun(o)
		if f == nil || f.lead == nil || !f.handle.locks() {
			continue
		}
		token := f.lead.Leader.held()
		if token == "" {
			continue
		}
		if lines == nil {
			for _, line := range v.header.Values(loopField) {
				lines = append(lines, strings.Clone(line))
			}
		}
		if line := loopStart + token; !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return set
	}
	out := http.Header{loopField: lines}
	for name, values := range set {
		out[name] = values
	}
	return out
}
