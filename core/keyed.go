package cacheaside

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// A request whose method gives its content a meaning (QUERY, a POST that the policy
// declares safe, a GET by choice) is answered from the cache with that content as a part
// of its key (RFC 10008 section 2.7). The content is read in front of the handler, which
// reads the same afterwards.

// methodQuery is RFC 10008's.
const methodQuery = "QUERY"

// methods is a set of those that are answered from the cache.
type methods uint8

const (
	answersGet methods = 1 << iota
	answersHead
	answersQuery
	answersPost
)

// methodBit is the bit of a method, 0 where it cannot be answered from a cache.
func methodBit(method string) methods {
	switch method {
	case http.MethodGet:
		return answersGet
	case http.MethodHead:
		return answersHead
	case methodQuery:
		return answersQuery
	case http.MethodPost:
		return answersPost
	}
	return 0
}

func methodsOf(names []string) (all methods) {
	for _, name := range names {
		all |= methodBit(name)
	}
	return all
}

// fills reports whether what the handler gives the request may be stored: it has a body.
func (v *visit) fills() bool { return v.req.Method != http.MethodHead }

// ranged reports whether Range means something for the request: for a GET (RFC 9110
// section 14.2) and a QUERY (RFC 10008 section 2.8).
func (v *visit) ranged() bool {
	return v.req.Method == http.MethodGet || v.req.Method == methodQuery
}

// takeContent makes the content of the request a part of its key, or says, like bypass,
// why the cache has nothing to do with it.
func (v *visit) takeContent() (fwd, detail string) {
	if v.req.Method == http.MethodPost && v.asked&keys.AskedConditional != 0 {
		return fwdBypass, detailPrecondition // it would be 412 (RFC 9110 section 13.1.2)
	}
	reader, ok := v.x.(adapter.ContentReader)
	if !ok {
		return fwdBypass, detailContentUnread
	}
	policy := &v.c.policy.Requests.Content
	content, err := reader.Content(policy.MaxBytes)
	switch {
	case errors.Is(err, adapter.ErrContentTooLong):
		return fwdBypass, detailContentTooLong
	case err != nil:
		return fwdBypass, detailContentUnread
	}
	if policy.Normalize != nil {
		if content.Bytes, ok = v.c.normalize(&v.req.Request, content.Bytes); !ok {
			return fwdBypass, detailContentRefused
		}
		content.Declared = 0 // contents of one form have different lengths
	}
	v.scratch = v.req.SetContent(content, v.scratch)
	return "", ""
}

// normalize is ContentPolicy.Normalize, whose panic refuses the content.
func (c *Cache) normalize(r *Request, content []byte) (normal []byte, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			normal, ok = nil, false
			c.normalizer.panicked(&c.reporter, p)
		}
	}()
	return c.policy.Requests.Content.Normalize(r, content)
}

// normalizer is what is remembered of a policy's Normalize.
type normalizer struct{ told sync.Once }

func (n *normalizer) panicked(r *reporter, p any) {
	n.told.Do(func() {
		r.log.Error("cacheaside: Policy.Requests.Content.Normalize panicked; such requests go to the handler, and this is not logged again",
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	})
}
