package core

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// A purge names a public URL, and knows nothing of policies. It can name the key of what
// is stored only where that is made of the URL alone, as most keys are. Everything else
// is tagged with its URL: host without a default port, path and whole query, but no
// scheme, which is another one behind a proxy that ends TLS. Where a policy leaves the
// host or parameters out, what is stored answers for other URLs as well, and has a tag
// for all of them.

// urls knows in what ways the handles of a cache tell URLs apart.
type urls struct {
	mu      sync.Mutex
	list    atomic.Pointer[[]keyer] // the whole URL, and those that leave something out; never changes once it is here
	names   map[string]bool
	unnamed bool // there is a policy whose keys a purge cannot name
}

// schemes begin the keys that a purge can name: none is for IgnoreScheme.
var schemes = [...]string{"http:", "https:", ""}

// add takes note of a policy.
func (u *urls) add(k keyer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := []keyer{{&Config{MaxKeyBytes: k.MaxKeyBytes}, k.prefix}}
	if old := u.list.Load(); old != nil {
		list[0].MaxKeyBytes = max(k.MaxKeyBytes, (*old)[0].MaxKeyBytes)
		list = append(list, (*old)[1:]...)
	}
	defer func() { u.list.Store(&list) }()
	all := k.Query.Allow == nil && len(k.Query.Deny) == 0
	if !all || k.IgnoreHost || k.KeyGenerator != nil || k.Partition != nil || len(k.KeyHeaders)+len(k.KeyCookies) > 0 {
		u.unnamed = true
	}
	if all && !k.IgnoreHost {
		return
	}
	name := fmt.Sprintf("%t %q %q", k.IgnoreHost, k.Query.Allow, k.Query.Deny)
	if k.Query.Allow != nil {
		name += "only"
	}
	if !u.names[name] {
		if u.names == nil {
			u.names = map[string]bool{}
		}
		u.names[name] = true
		list = append(list, keyer{&Config{IgnoreHost: k.IgnoreHost, Query: k.Query, MaxKeyBytes: k.MaxKeyBytes}, k.prefix})
	}
}

// all are the ways to write a URL, first the whole one.
func (u *urls) all() []keyer { return *u.list.Load() }

// appendURL writes the URL of req as purges name it. It fails where that is too long
// for anything to be stored.
func (k keyer) appendURL(buf []byte, req *Request) ([]byte, bool) {
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > k.MaxKeyBytes {
		return buf, false
	}
	buf = append(buf, "//"...)
	if !k.IgnoreHost {
		buf = escapeLower(buf, strings.TrimSuffix(strings.TrimSuffix(req.Host, ":443"), ":80"))
	}
	if !strings.HasPrefix(req.Path, "/") {
		buf = append(buf, "|p:"...)
	}
	return keyer{Config: &Config{Query: k.Query}}.appendQuery(escape(buf, req.Path, &pathSafe), req.RawQuery), true
}

// named reports whether a purge of the URL of req can name the primary key.
func (c *Cache) named(primary string, req *Request) bool {
	url := urlOf(primary)
	if url == "" || req.Target != "" || req.Partition != "" {
		return false
	}
	text, ok := c.urls.all()[0].appendURL(make([]byte, 0, 128), req)
	return ok && url == string(text)
}

// urlOf is what follows the scheme of a primary key, if a purge can name that.
func urlOf(primary string) string {
	rest, _ := strings.CutPrefix(primary, "GET:")
	for _, scheme := range schemes {
		if url, ok := strings.CutPrefix(rest, scheme); ok && strings.HasPrefix(url, "//") {
			return url
		}
	}
	return ""
}

// urlTags appends the tags that stand for the URL of req, as it came and as an outer
// layer has rewritten it.
func (c *Cache) urlTags(tags []string, req *Request) []string {
	requests := []Request{*req}
	if before, ok := received(*req); ok && req.Target != "" {
		requests = append(requests, before)
	}
	for i := range requests {
		for _, k := range []keyer{c.urls.all()[0], c.keys} {
			if url, ok := k.appendURL([]byte(ofURL), &requests[i]); ok {
				tags = append(tags, string(url))
			}
		}
	}
	return tags
}

// purgedURLs are all texts that stand for the URL of req in whatever policy.
func (c *Cache) purgedURLs(req *Request) (texts []string) {
	for _, k := range c.urls.all() {
		if url, ok := k.appendURL(nil, req); ok {
			texts = append(texts, string(url))
		}
	}
	return texts
}

// namedKeys are the keys in the store that a purge of url can name.
func (s *shared) namedKeys(url string) (wires []string) {
	for _, scheme := range schemes {
		whole := s.urls.all()[0]
		k, _ := whole.wire([]byte(whole.prefix + "GET:" + scheme + url))
		wires = append(wires, k.wire)
	}
	return wires
}
