package keys

import (
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Policy says what of a request is part of its primary key.
type Policy struct {
	Query           Selector // the query parameters
	KeepQueryOrder  bool     // the order of parameters is part of the key
	Headers         []string // fields, by canonical names, sorted
	Cookies         []string // sorted
	Generator       func(*adapter.Request) string
	Partition       func(*adapter.Request) string
	IgnoreHost      bool
	IgnoreScheme    bool
	IgnoreForwarded bool
	MaxBytes        int // the longest primary key
	// Search, in a way to write URLs, says what more of the query is left out, in whatever
	// order it is; nil: nothing.
	Search *httprules.Variance
}

// Maker makes keys by one policy. It is immutable.
type Maker struct {
	policy *Policy
	prefix string
}

// NewMaker returns a maker of keys in a namespace.
func NewMaker(namespace string, policy Policy) Maker {
	return Maker{&policy, namespace + keyFormat}
}

// Key returns the key of req. It fails where the key would be too long.
func (m Maker) Key(req *Request) (Key, bool) {
	view, _, ok := m.View(nil, req)
	return view, ok // nobody else has the memory
}

// View is Key without a copy: the key is a view of buf, which View overwrites, grows
// and returns. Use [Maker.Own] for a key that outlives the buffer.
func (m Maker) View(buf []byte, req *Request) (Key, []byte, bool) {
	buf = append(buf[:0], m.prefix...)
	buf, ok := m.appendPrimary(buf, req)
	if !ok {
		return Key{}, buf, false
	}
	key, buf := m.wire(buf)
	return key, buf, true
}

// appendPrimary writes the primary key of req to buf. It fails where the key
// would exceed the limit.
func (m Maker) appendPrimary(buf []byte, req *Request) ([]byte, bool) {
	p := m.policy
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > p.MaxBytes {
		return buf, false
	}
	start := len(buf)
	if req.Content == "" {
		buf = append(buf, "GET:"...)
	} else {
		buf = append(append(buf, req.Method...), ':')
	}
	if !p.IgnoreScheme {
		buf = escape(buf, req.Scheme, &hostSafe)
		buf = append(buf, ':')
	}
	buf = append(buf, "//"...)
	if !p.IgnoreHost {
		buf = escapeLower(buf, req.Host)
	}
	if p.Generator != nil {
		buf = escape(append(buf, "|k:"...), p.Generator(&req.Request), &valueSafe)
	} else {
		if !strings.HasPrefix(req.Path, "/") { // "*", or an empty path: not to be mistaken for a part of the host
			buf = append(buf, "|p:"...)
		}
		buf = escape(buf, req.Path, &pathSafe)
		buf = appendQuery(buf, req.RawQuery, &p.Query, p.KeepQueryOrder)
	}
	if req.Target != "" {
		buf = escape(append(buf, "|t:"...), req.Target, &valueSafe)
	}
	if req.Partition != "" {
		buf = escape(append(buf, "|u:"...), req.Partition, &valueSafe)
	}
	if p.Partition != nil {
		buf = escape(append(buf, "|v:"...), p.Partition(&req.Request), &valueSafe)
	}
	for _, name := range p.Headers {
		buf = escape(append(buf, "|h:"...), name, &valueSafe)
		buf = appendLines(buf, req, name)
	}
	for _, name := range p.Cookies {
		buf = escape(append(buf, "|c:"...), name, &valueSafe)
		buf = appendCookie(buf, req.Lines("Cookie"), name)
	}
	if req.Forwarded && !p.IgnoreForwarded {
		buf = appendForwarded(buf, req)
	}
	if req.Content != "" {
		buf = append(append(buf, "|b:"...), req.Content...)
	}
	return buf, len(buf)-start <= p.MaxBytes
}

// appendLines writes the lines of a field as they are: what a framework trims is gone
// by now. Lines stay apart, because some readers take the first and others the last,
// and an absent field differs from an empty one.
func appendLines(buf []byte, req *Request, name string) []byte {
	sep := "="
	for _, v := range req.Lines(name) {
		buf = escape(append(buf, sep...), v, &valueSafe)
		sep = "|="
	}
	if req.folded != nil {
		for _, as := range req.folded.spelling(name) {
			buf = escape(append(buf, "|s="...), as, &valueSafe)
		}
	}
	return buf
}
