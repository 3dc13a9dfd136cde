package cacheaside

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// A purge names a public URL, and knows nothing of policies. It can name the key of what
// is stored only where that is made of the URL alone, as most keys are. Everything else
// is tagged with its URL: host without a default port, path and whole query, in one
// spelling, but no scheme, which is another one behind a proxy that ends TLS. Where a
// policy leaves the host or parameters out, what is stored answers for other URLs as
// well, and has a tag for all of them.

// maxURLBytes is the longest URL for which anything is stored, by whatever policy.
const maxURLBytes = 1 << 20

// urls knows in what ways the handles of a cache, and other caches of its namespace,
// tell URLs apart.
type urls struct {
	ways    atomic.Pointer[[]keyer] // to write a URL: whole, and those that leave something out
	mu      sync.Mutex
	ids     map[uint64]bool
	unnamed atomic.Bool // something was stored under a key that a purge cannot name
}

// schemes begin the keys that a purge can name: none is for IgnoreScheme.
var schemes = [...]string{"http:", "https:", ""}

// learn takes note of ways.
func (u *urls) learn(ways []way) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := *u.ways.Load()
	for i := range ways {
		if w := &ways[i]; !u.ids[w.id] {
			if u.ids == nil {
				u.ids = map[uint64]bool{}
			}
			u.ids[w.id] = true
			known = append(known[:len(known):len(known)], w.keyer())
		}
	}
	u.ways.Store(&known)
}

// project reports whether anybody leaves something out.
func (u *urls) project() bool { return len(u.all()) > 1 }

// all are the ways to write a URL, first the whole one.
func (u *urls) all() []keyer { return *u.ways.Load() }

func (u *urls) whole() keyer { return u.all()[0] }

// appendURL writes the URL of req as purges name it. It fails where that is too long
// for anything to be stored.
func (k keyer) appendURL(buf []byte, req *request) ([]byte, bool) {
	if len(req.Path)+len(req.RawQuery)+len(req.Host) > maxURLBytes {
		return buf, false
	}
	buf = append(buf, "//"...)
	if !k.IgnoreHost {
		buf = escapeLower(buf, plainHost(req.Host))
	}
	if !strings.HasPrefix(req.Path, "/") {
		buf = append(buf, "|p:"...)
	}
	buf = escape(buf, respelled(req.Path, &inPath), &pathSafe)
	return keyer{KeyPolicy: &KeyPolicy{Query: k.Query}}.appendQuery(buf, respelled(req.RawQuery, &inQuery)), true
}

// plainHost is a host without a default port and the dot of a fully qualified name.
func plainHost(host string) string {
	for _, port := range [...]string{":", ":80", ":443"} {
		if short, ok := strings.CutSuffix(host, port); ok {
			host = short
			break
		}
	}
	if name, port, ok := strings.Cut(host, ".:"); ok {
		return name + ":" + port
	}
	return strings.TrimSuffix(host, ".")
}

// spelling says which bytes of a part of a URL stand for themselves, and which of
// these mean something else where they are escaped.
type spelling struct{ plain, delimiter [256]bool }

var inPath, inQuery = spellingOf("!$&'()*+,;=:@/[]", "/"), spellingOf("!$&'()*+,;=:@/[]?", "&;=+")

func spellingOf(plain, delimiters string) (s spelling) {
	for c := range 256 {
		s.plain[c] = '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.IndexByte("-._~"+plain, byte(c)) >= 0
		s.delimiter[c] = strings.IndexByte(delimiters, byte(c)) >= 0
	}
	return s
}

// respelled is part in the one spelling that purges use: handlers see the same in %61
// and a, %c3 and %C3, and in a query in %20 and +.
func respelled(part string, as *spelling) string {
	i := 0
	for i < len(part) && as.plain[part[i]] {
		i++
	}
	if i == len(part) {
		return part
	}
	b := append(make([]byte, 0, len(part)+16), part[:i]...)
	for ; i < len(part); i++ {
		c, escaped := part[i], false
		if c == '%' && i+2 < len(part) && unhex(part[i+1]) < 16 && unhex(part[i+2]) < 16 {
			c, escaped = unhex(part[i+1])<<4|unhex(part[i+2]), true
			i += 2
		}
		switch {
		case as.plain[c] && !(escaped && as.delimiter[c]):
			b = append(b, c)
		case c == ' ' && as == &inQuery:
			b = append(b, '+')
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return viewOf(b) // nobody else has it
}

// named reports whether a purge of the URL of req can name the primary key.
func (c *Cache) named(primary string, req *request) bool {
	url := urlOf(primary)
	if url == "" || req.Target != "" || req.Partition != "" || len(publicHosts(req)) > 0 {
		return false
	}
	text, ok := c.urls.whole().appendURL(make([]byte, 0, 128), req)
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
func (c *Cache) urlTags(tags []string, req *request) []string {
	requests := []request{*req}
	if before, ok := received(*req); ok && req.Target != "" {
		requests = append(requests, before)
	}
	n := len(requests)
	for _, host := range publicHosts(req) {
		for _, public := range requests[:n:n] {
			public.Host = host
			requests = append(requests, public)
		}
	}
	for i := range requests {
		for _, k := range []keyer{c.urls.whole(), c.keys} {
			if url, ok := k.appendURL([]byte(ofURL), &requests[i]); ok {
				tags = append(tags, string(url))
			}
		}
	}
	return tags
}

// maxHosts bounds the hosts that a request names beside its own.
const maxHosts = 4

// publicHosts are those under which a proxy in front says that it was asked, where it
// asks for another one.
func publicHosts(req *request) (hosts []string) {
	if !req.forwarded {
		return nil
	}
	add := func(host string) {
		if host = strings.Trim(host, " \t\""); host != "" && len(hosts) < maxHosts && !httprules.EqualFold(host, req.Host) && !slices.Contains(hosts, host) {
			hosts = append(hosts, strings.Clone(host))
		}
	}
	for _, name := range hostFields {
		for _, line := range req.lines(name) {
			for host := range strings.SplitSeq(line, ",") {
				add(host)
			}
		}
	}
	for _, line := range req.lines("Forwarded") {
		for element := range strings.SplitSeq(line, ",") {
			for pair := range strings.SplitSeq(element, ";") {
				if name, host, ok := strings.Cut(pair, "="); ok && httprules.EqualFold(strings.Trim(name, " "), "host") {
					add(host)
				}
			}
		}
	}
	return hosts
}

// purgedURLs are all texts that stand for the URL of req in whatever policy; none where
// that is too long for anything to be stored.
func (c *Cache) purgedURLs(req *request) (texts []string) {
	for _, k := range c.urls.all() {
		if url, ok := k.appendURL(nil, req); ok && !slices.Contains(texts, string(url)) {
			texts = append(texts, string(url))
		}
	}
	return texts
}

// namedKeys are the keys in the store that a purge of urls can name.
func (s *shared) namedKeys(urls []string) (keys []key) {
	whole := s.urls.whole()
	for _, url := range urls {
		for _, scheme := range schemes {
			k, _ := whole.wire([]byte(whole.prefix + "GET:" + scheme + url))
			keys = append(keys, k)
		}
	}
	return keys
}
