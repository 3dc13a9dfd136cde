package direct

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/parts"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/observe"
)

const (
	maxFound    = 100 // keys, and variants of each
	maxURL      = 1 << 20
	scanCount   = 1000 // keys that the server looks at in one call
	readable    = 100  // bytes of a URL that every key shows which is made of it
	maxVariants = 100
)

// asked is a request that is asked about.
type asked struct {
	req     keys.Request
	control httprules.RequestControl
	texts   []string // what keys may have of its URL, from the host on
}

// Find says what is stored for a URL, in all partitions, with http and https alike, as far
// as that can be seen by the keys. The header selects variants.
//
// A key that a KeyPolicy.Generator has made, or that is of a path which something in front
// of the cache has rewritten, is found by the process alone. Other parts of keys, such as a
// partition, are shown as what they are, but nobody here can tell whether a request has
// them. An error that wraps [ErrIncomplete] comes with what was found until then.
func (s *Store) Find(ctx context.Context, rawURL string, header http.Header) ([]inspect.Found, error) {
	a, err := s.ask(rawURL, header)
	if err != nil {
		return nil, err
	}
	if err := s.ledger.ReadJournal(ctx); err != nil && !errors.Is(err, errNoJournal) {
		return nil, err
	}
	a.texts = s.textsOf(&a.req)

	// What is there for most URLs is found without a scan.
	var wires []string
	maker := keys.NewMaker(s.namespace, keys.Policy{})
	for _, text := range a.texts {
		for _, k := range maker.AppendURLKeys(nil, text) {
			wires = append(wires, k.Wire)
		}
	}
	found, err := s.foundAt(ctx, nil, wires, &a)
	if err != nil {
		return nil, err
	}
	more, scanErr := s.scanFor(ctx, &a, wires)
	slices.Sort(more)
	if len(more) > maxFound {
		more, scanErr = more[:maxFound], errors.Join(scanErr, fmt.Errorf("%w: there are more than %d", ErrIncomplete, maxFound))
	}
	found, err = s.foundAt(ctx, found, more, &a)
	if err != nil {
		scanErr = errors.Join(scanErr, fmt.Errorf("%w: %w", ErrIncomplete, err))
	}
	return found, scanErr
}

// ask makes of a URL and a header the request that is asked about.
func (s *Store) ask(rawURL string, header http.Header) (a asked, err error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return a, fmt.Errorf("%w: the URL cannot be parsed", ErrUsage) // the error quotes it
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return a, fmt.Errorf("%w: give an absolute URL, such as https://example.com/path", ErrUsage)
	case u.User != nil:
		return a, fmt.Errorf("%w: leave user and password out of the URL", ErrUsage)
	case len(rawURL) > maxURL:
		return a, fmt.Errorf("%w: the URL is too long for anything to be stored", ErrUsage)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if header == nil {
		header = http.Header{}
	}
	fields, _ := a.req.Enter(&adapter.Request{
		Method: http.MethodGet, Scheme: u.Scheme, Host: u.Host, Path: path, RawQuery: u.RawQuery, Header: header,
	})
	a.control = httprules.ParseRequestControl(fields)
	return a, nil
}

// textsOf are what keys may have of the URL: whole, or without what a policy leaves out
// that the journal knows of, and spelled as it came or as purges spell it.
func (s *Store) textsOf(req *keys.Request) (texts []string) {
	s.mu.Lock()
	policies := append(make([]keys.Policy, 0, 2+2*len(s.ways)), keys.Policy{}, keys.Policy{KeepQueryOrder: true})
	for _, w := range s.ways {
		query := keys.NewSelector(nil, w.Deny)
		if w.Only {
			query = keys.NewSelector(append([]string{}, w.Allow...), nil)
		}
		policies = append(policies, keys.Policy{IgnoreHost: w.NoHost, Query: query}, keys.Policy{IgnoreHost: w.NoHost, Query: query, KeepQueryOrder: true})
	}
	s.mu.Unlock()
	for _, p := range policies {
		p.IgnoreScheme, p.IgnoreForwarded, p.MaxBytes = true, true, maxURL
		m := keys.NewMaker(s.namespace, p)
		if k, ok := m.Key(req); ok {
			if text, _, ok := base(k.Primary); ok && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
		if text, ok := m.AppendURL(nil, req); ok && !slices.Contains(texts, string(text)) {
			texts = append(texts, string(text))
		}
	}
	return texts
}

// scanFor looks through all keys for those of a URL that have something besides.
func (s *Store) scanFor(ctx context.Context, a *asked, known []string) (wires []string, err error) {
	var patterns []string
	for _, text := range a.texts {
		path, _, _ := strings.Cut(text, "?")
		p := glob(s.prefix) + "*" + glob(path[:min(len(path), readable)]) + "*"
		if !slices.Contains(patterns, p) {
			patterns = append(patterns, p)
		}
	}
	nodes, err := s.masters(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	for _, n := range nodes {
		for _, pattern := range patterns {
			err := s.each(ctx, n.client, pattern, func(wire string) bool {
				name := s.nameOf(wire)
				if name.kind == Response && name.mayBeOf(a.texts) && !slices.Contains(known, wire) && !slices.Contains(wires, wire) {
					wires = append(wires, wire)
				}
				return len(wires) <= maxFound
			})
			if err != nil {
				return wires, fmt.Errorf("%w: %w", ErrIncomplete, err)
			}
		}
	}
	return wires, nil
}

// each calls yield with the keys of a node that are like pattern, perhaps several times
// with one, until that is false.
func (s *Store) each(ctx context.Context, client rueidis.Client, pattern string, yield func(wire string) bool) error {
	for cursor := uint64(0); ; {
		e, err := s.scan(ctx, client, cursor, pattern, scanCount)
		if err != nil {
			return err
		}
		for _, wire := range e.Elements {
			if !yield(wire) {
				return nil
			}
		}
		if cursor = e.Cursor; cursor == 0 {
			return nil
		}
	}
}

// mayBeOf reports whether the key is of one of the URLs, as far as it tells.
func (n *name) mayBeOf(texts []string) bool {
	url, more, ok := base(n.primary)
	if !ok {
		return false
	}
	if n.cut && !more {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.HasPrefix(t, url) })
	}
	return slices.Contains(texts, url)
}

// scan is a SCAN that says what to do where it is not allowed.
func (s *Store) scan(ctx context.Context, client rueidis.Client, cursor uint64, pattern string, count int64) (rueidis.ScanEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	e, err := client.Do(ctx, client.B().Scan().Cursor(cursor).Match(pattern).Count(count).Build()).AsScanEntry()
	if err == nil {
		return e, nil
	}
	if r, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(r.Error(), "NOPERM") {
		return e, fmt.Errorf("the user may not SCAN, which the cache itself does not need: use another user, or give it +scan: %w", err)
	}
	return e, fmt.Errorf("SCAN: %w", err)
}

// foundAt appends what is under keys of which the URL may be, and is.
func (s *Store) foundAt(ctx context.Context, to []inspect.Found, wires []string, a *asked) ([]inspect.Found, error) {
	for _, wire := range wires {
		raw, ok, err := s.store.Get(ctx, wire)
		if err != nil {
			return to, err
		}
		if !ok {
			continue
		}
		f, ok, err := s.found(ctx, s.nameOf(wire), raw, a)
		if err != nil {
			return to, err
		}
		if ok {
			to = append(to, f)
		}
	}
	return to, nil
}

// found describes what is under a key of a resource.
func (s *Store) found(ctx context.Context, n name, raw []byte, a *asked) (f inspect.Found, ok bool, err error) {
	var e entry.Entry
	decoded := entry.Decode(raw, &e) == nil
	if whole := (name{primary: e.Key}); n.cut && !(decoded && whole.mayBeOf(a.texts)) {
		return f, false, nil // what is damaged does not say whose it is
	}
	f = inspect.Found{Policies: []string{}, Key: s.show(n.wire, s.text(n)), Entries: []inspect.Entry{}}
	if decoded && e.Kind == entry.KindVary && n.is(&e) {
		return f, true, s.variants(ctx, &f, n, &e, a)
	}
	v, cause, err := s.describe(ctx, n, raw, a)
	v.Selected = v.Problem == "" && cause != observe.CauseVary
	f.Result, f.Because, f.Entries = v.Result, v.Because, append(f.Entries, v)
	if cause != 0 {
		f.Cause = cause.String()
	}
	return f, true, err
}

// is reports whether an entry is that of the key.
func (n *name) is(e *entry.Entry) bool {
	return e.Key == n.primary || n.cut && strings.HasPrefix(e.Key, n.primary)
}

// variants describes those that a list leads to.
func (s *Store) variants(ctx context.Context, f *inspect.Found, n name, list *entry.Entry, a *asked) error {
	selecting := keys.Selecting{Generation: list.Stamp}
	for field := range list.Vary {
		selecting.Names = append(selecting.Names, field.Name)
		f.Vary = append(f.Vary, redact.Clean(field.Name, 100))
	}
	selected := keys.Key{Wire: n.wire}.Variant(selecting.AppendValues(nil, &a.req))
	f.Result, f.Cause, f.Because = observe.ResultMiss.String(), observe.CauseVary.String(), inside.Because(observe.CauseVary)
	for ref := range list.Header {
		if !keys.IsDigest(ref.Name) {
			continue
		}
		at := name{wire: keys.WithDigest(n.wire, ref.Name), kind: Variant, primary: n.primary, cut: n.cut}
		raw, ok, err := s.store.Get(ctx, at.wire)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if len(f.Entries) >= maxVariants && at.wire != selected {
			f.More++
			continue
		}
		v, cause, err := s.describe(ctx, at, raw, a)
		if err != nil {
			return err
		}
		if v.Selected = at.wire == selected && v.Problem == ""; at.wire == selected {
			f.Result, f.Because, f.Cause = v.Result, v.Because, ""
			if cause != 0 {
				f.Cause = cause.String()
			}
		}
		f.Entries = append(f.Entries, v)
	}
	return nil
}

// Body is a stored response as a client would get it, but for what the cache adds.
type Body struct {
	Status int             `json:"status"`
	Header []inspect.Field `json:"header"`          // as it may be shown
	Body   []byte          `json:"body"`            // as the handler gave it, whatever its Content-Encoding
	Parts  string          `json:"parts,omitempty"` // which bytes they are, of an incomplete response
}

// Body returns the response under a key that Find or List has shown. It reports false
// where there is none any more.
func (s *Store) Body(ctx context.Context, key inspect.Key) (Body, bool, error) {
	s.mu.Lock()
	wire, known := s.wires[key.ID]
	s.mu.Unlock()
	if !known {
		return Body{}, false, fmt.Errorf("%w: this key was not shown", ErrUsage)
	}
	raw, ok, err := s.store.Get(ctx, wire)
	var e entry.Entry
	n := s.nameOf(wire)
	if err != nil || !ok || entry.Decode(raw, &e) != nil || e.Kind != entry.KindResponse || !n.is(&e) {
		return Body{}, false, err
	}
	body := e.Body
	if e.Coding != 0 && e.Flags&entry.OwnCoding == 0 {
		if e.Size > maxBody {
			return Body{}, false, fmt.Errorf("the body claims to be of %d bytes, which is more than any that is shown", e.Size)
		}
		if body, err = coding.Decode(coding.Coding(e.Coding), e.Body, e.Size); err != nil {
			return Body{}, false, fmt.Errorf("the body is not what it claims to be: %w", err)
		}
	}
	return Body{Status: int(e.Status), Header: fieldsOf(&e), Body: body, Parts: parts.InWords(&e)}, true, nil
}

// maxBody bounds what a stored body is decoded to.
const maxBody = 1 << 30

// fieldsOf are those of a response, as they may be shown.
func fieldsOf(e *entry.Entry) []inspect.Field {
	fields := []inspect.Field{}
	for f := range e.Header {
		if adapter.Op(f.Op) != adapter.OpDel {
			fields = append(fields, inspect.Field{Name: redact.Clean(f.Name, 100), Value: redact.Field(f.Name, f.Value)})
		}
	}
	return fields
}

// tagOf is a tag as it may be shown, without the state.
func tagOf(stored string) inspect.Tag {
	var t inspect.Tag
	t.Name, t.Kind = purges.Named(stored)
	if t.Kind == "url" {
		t.Name = redact.URL(t.Name)
	}
	t.Name = redact.Text(t.Name, 256) // a tag may be a URL as well
	return t
}
