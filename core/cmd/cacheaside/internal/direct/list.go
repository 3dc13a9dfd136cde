package direct

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/freshness"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// MaxLimit is how many items a page may be asked for.
	MaxLimit = 1000
	// maxLooked bounds how many keys are looked at for a page, and maxRead the bytes of
	// values.
	maxLooked = 200_000
	maxRead   = 8 << 20
	leastScan = 10
)

// Item is something under a key of the namespace. Whether a response was purged is not
// looked at.
type Item struct {
	Key   inspect.Key `json:"key"`
	Kind  Kind        `json:"kind"`
	What  string      `json:"what"`                     // the kind in words
	Size  int64       `json:"size_bytes"`               // of the value; -1: not known
	Gone  float64     `json:"gone_in_seconds"`          // when the server forgets it; -1: never, or not known
	Of    int         `json:"status,omitempty"`         // of a response
	Age   float64     `json:"age_seconds,omitempty"`    // of a response
	TTL   float64     `json:"ttl_seconds,omitempty"`    // of a response; negative: it is stale
	Note  string      `json:"problem,omitempty"`        // what is wrong with it
	Parts string      `json:"parts,omitempty"`          // which bytes there are of an incomplete response
	More  int         `json:"variants_count,omitempty"` // of a list of variants
}

// Page are items, in no order that means anything. Next is to be given as the cursor; with
// an empty one there are no more.
type Page struct {
	Items []Item `json:"items"`
	Next  string `json:"next"`
}

// List lists what begins with a prefix:
//
//	""                          all that is of the namespace
//	"https://example.com/blog"  entries and locks of URLs, with http and https alike
//	"/blog"                     the same, of whatever host
//	"tag:blog-"                 stamps of tags
//
// A page may have fewer items than the limit though there are more, because a call does no
// more than so much, and a few more, because the server does not stop just there. What is
// there from the first call to the last one is listed, perhaps twice; other things may be.
func (s *Store) List(ctx context.Context, prefix string, limit int, cursor string) (p Page, err error) {
	f, err := s.filter(prefix)
	if err == nil && (limit < 1 || limit > MaxLimit) {
		err = fmt.Errorf("%w: limit: use 1 to %d", ErrUsage, MaxLimit)
	}
	if err != nil {
		return p, err
	}
	nodes, err := s.masters(ctx)
	if err != nil {
		return p, err
	}
	at, from, err := place(nodes, cursor)
	if err != nil {
		return p, err
	}
	p.Items = []Item{}
	budget := maxRead
	seen := map[string]bool{}
	for looked, count := 0, min(max(limit, leastScan), scanCount); at < len(nodes); {
		e, err := s.scan(ctx, nodes[at].client, from, f.pattern, int64(count))
		if err != nil {
			return Page{}, err
		}
		looked += count
		var names []name
		for _, wire := range e.Elements {
			if n := s.nameOf(wire); f.takes(&n) && !seen[wire] {
				names, seen[wire] = append(names, n), true
			}
		}
		items, err := s.items(ctx, nodes[at].client, names, &budget)
		if err != nil {
			return Page{}, err
		}
		p.Items = append(p.Items, items...)
		if from = e.Cursor; from == 0 {
			at++
		}
		if len(p.Items) >= limit || looked >= maxLooked {
			break
		}
		// As many as it probably takes, by how many there were so far.
		count = min(max((limit-len(p.Items))*looked/max(len(p.Items), 1), leastScan), scanCount)
	}
	if at < len(nodes) {
		p.Next = strconv.FormatUint(from, 10)
		if nodes[at].addr != "" {
			p.Next += "@" + nodes[at].addr
		}
	}
	return p, nil
}

// filter says which keys are listed.
type filter struct {
	pattern string
	url     string // what the URL in a key begins with; empty: any key
	path    bool   // it is what the path begins with
}

func (s *Store) filter(prefix string) (f filter, err error) {
	if prefix == "" {
		return filter{pattern: glob(s.namespace+":") + "*"}, nil
	}
	if tag, ok := strings.CutPrefix(prefix, "tag:"); ok {
		return filter{pattern: glob(s.keys.Prefix+"t:"+string(keys.AppendEscaped(nil, tag))) + "*"}, nil
	}
	scheme, rest, ok := strings.Cut(prefix, "//")
	switch {
	case strings.HasPrefix(prefix, "/") && !strings.HasPrefix(prefix, "//"):
		f = filter{url: escaped("", prefix), path: true}
	case ok && (scheme == "" || scheme == "http:" || scheme == "https:"):
		host, path := rest, ""
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			host, path = rest[:i], rest[i:]
		}
		if strings.Contains(host, "@") {
			return f, fmt.Errorf("%w: leave user and password out of the prefix", ErrUsage)
		}
		f = filter{url: escaped("//"+strings.ToLower(host), path)}
	default:
		return f, fmt.Errorf("%w: a prefix is https://host/path, /path or tag:name", ErrUsage)
	}
	f.pattern = glob(s.prefix) + "*" + glob(f.url[:min(len(f.url), readable)]) + "*"
	return f, nil
}

// escaped is the beginning of a URL as keys have it.
func escaped(host, path string) string {
	if u, err := url.Parse(path); err == nil && u.Path != "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" {
		path = u.EscapedPath() // a space, or what is beyond ASCII, as clients send it
	}
	return string(keys.AppendEscaped(nil, host+path))
}

// takes reports whether a key that the pattern let through is meant.
func (f *filter) takes(n *name) bool {
	if f.url == "" {
		return true
	}
	url, more, ok := base(n.primary)
	if !ok {
		return false
	}
	if f.path {
		i := strings.IndexByte(url[2:], '/')
		if i < 0 {
			return false
		}
		url = url[2+i:]
	}
	return strings.HasPrefix(url, f.url) || n.cut && !more && strings.HasPrefix(f.url, url)
}

// node is a server that has keys of its own.
type node struct {
	addr   string // empty where there is one
	client rueidis.Client
}

// masters are the nodes of a cluster that have keys of their own, in a lasting order. The
// client knows replicas as well on servers that tell it of shards.
func (s *Store) masters(ctx context.Context) (nodes []node, err error) {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return []node{{"", s.client}}, nil
	}
	for addr, client := range s.client.Nodes() {
		text, err := client.Do(ctx, client.B().Info().Section("replication").Build()).ToString()
		if err != nil {
			return nil, fmt.Errorf("INFO of the node %s: %w", addr, err)
		}
		if !strings.Contains(text, "role:slave") && !strings.Contains(text, "role:replica") {
			nodes = append(nodes, node{addr, client})
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.addr, b.addr) })
	return nodes, nil
}

// place is where a cursor goes on.
func place(nodes []node, cursor string) (at int, from uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	number, addr, _ := strings.Cut(cursor, "@")
	from, err = strconv.ParseUint(number, 10, 64)
	at = slices.IndexFunc(nodes, func(n node) bool { return n.addr == addr })
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("%w: cursor: give the one that the last page ended with, or none", ErrUsage)
	case at < 0:
		return 0, 0, fmt.Errorf("%w: cursor: its node is no master of this server or cluster any more: begin again without one", ErrUsage)
	}
	return at, from, nil
}

// items says what is under keys. What has gone meanwhile is left out.
func (s *Store) items(ctx context.Context, client rueidis.Client, names []name, budget *int) (items []Item, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cmds := make(rueidis.Commands, 0, 2*len(names))
	for _, n := range names {
		cmds = append(cmds, client.B().Strlen().Key(n.wire).Build(), client.B().Pttl().Key(n.wire).Build())
	}
	answers := client.DoMulti(ctx, cmds...)
	values, err := s.values(ctx, client, names, answers, budget)
	if err != nil {
		return nil, err
	}
	now := s.now()
	for i, n := range names {
		it := Item{Kind: n.kind, Size: -1, Gone: -1}
		size, sizeErr := answers[2*i].AsInt64()
		if sizeErr == nil {
			it.Size = size
		}
		left, leftErr := answers[2*i+1].AsInt64()
		switch {
		case leftErr == nil && left == -2:
			continue // gone
		case leftErr == nil && left >= 0:
			it.Gone = float64(left) / 1000
		}
		switch {
		case isWrongType(sizeErr) && n.kind == Ring: // which is a list
		case isWrongType(sizeErr):
			it.Kind, it.Note = Foreign, "it holds no string"
		case n.kind == Ring:
			it.Kind, it.Note = Foreign, "it holds no list"
		case n.kind == Response || n.kind == Variant:
			s.judge(&it, n, values[n.wire], now)
		}
		it.What = what[it.Kind]
		n.kind = it.Kind
		it.Key = s.show(n.wire, s.text(n))
		items = append(items, it)
	}
	return items, nil
}

// values reads those of entries, as far as the budget goes.
func (s *Store) values(ctx context.Context, client rueidis.Client, names []name, answers []rueidis.RedisResult, budget *int) (map[string][]byte, error) {
	var wires []string
	var cmds rueidis.Commands
	for i, n := range names {
		size, err := answers[2*i].AsInt64()
		if _, answered := rueidis.IsRedisErr(err); err != nil && !answered {
			return nil, err
		}
		// What is longer is no value of ours: see [store.LargeValue].
		if err != nil || n.kind != Response && n.kind != Variant || size >= store.LargeValue || int(size) > *budget {
			continue
		}
		*budget -= int(size)
		wires, cmds = append(wires, n.wire), append(cmds, client.B().Get().Key(n.wire).Build())
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	values := make(map[string][]byte, len(wires))
	for i, answer := range client.DoMulti(ctx, cmds...) {
		b, err := answer.AsBytes()
		if _, answered := rueidis.IsRedisErr(err); err != nil && !answered {
			return nil, err
		}
		if err == nil {
			values[wires[i]] = b
		}
	}
	return values, nil
}

// judge says what a value under the key of an entry is.
func (s *Store) judge(it *Item, n name, raw []byte, now time.Time) {
	switch {
	case it.Size >= store.LargeValue:
		it.Kind, it.Note = Corrupt, "it is longer than any value that is kept under one key"
		return
	case raw == nil:
		it.Note = "not read: there is too much on this page, or the user may not"
		return
	}
	if size, large := dragonfly.LargeSize(raw); large {
		if it.Size = int64(size); size < 0 {
			it.Kind, it.Note = Corrupt, "it leads to a large value, but is damaged"
		}
		return // its age would take all of it
	}
	var e entry.Entry
	err := entry.Decode(raw, &e)
	switch {
	case errors.Is(err, entry.ErrVersion):
		it.Kind = OtherForm
		it.Note = "the format of its value is another one"
	case err != nil:
		it.Kind, it.Note = Corrupt, err.Error()
	case !n.is(&e):
		it.Kind, it.Note = Corrupt, inside.AnotherResource
	case e.Kind == entry.KindVary:
		it.Kind = Variants
		for range e.Header {
			it.More++
		}
	case !e.Harmless():
		it.Kind, it.Note = Corrupt, "it has fields that no response may have"
	default:
		d := freshness.Decide(&e, 0, now, httprules.RequestControl{})
		if !e.Whole() {
			it.Parts = parts.InWords(&e)
		}
		it.Of, it.Age, it.TTL = int(e.Status), freshness.Age(&e, now).Seconds(), d.TTL.Seconds()
	}
}

func isWrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}
