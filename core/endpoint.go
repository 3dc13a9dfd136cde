package cacheaside

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/observe"
)

// MaxPurgeBody is the longest body that a [PurgeEndpoint] reads, in bytes.
const MaxPurgeBody = 64 << 10

// minPurgeToken keeps tokens from being guessed.
const minPurgeToken = 16

// PurgeAccess says who may purge over HTTP. One of its fields must be set; with
// both, either is enough.
type PurgeAccess struct {
	// Token is what a request has to carry as "Authorization: Bearer <token>": 16
	// bytes or more. It is compared in constant time.
	Token string
	// Authorize decides by the request, for instance by what an authentication
	// middleware has put into ctx.
	Authorize func(ctx context.Context, req *adapter.Request) bool
}

// PurgeEndpoint purges over HTTP. Adapters make a handler of it (their function
// NewPurge). It takes
//
//	PURGE <URL>                     the URL itself, as PurgeURL
//	POST with a body of JSON:
//	{"tags": ["blog-1000"], "urls": ["https://example.com/"],
//	 "prefixes": ["https://example.com/blogs"], "all": true, "soft": true}
//
// of which one of the first four is enough, and soft goes with tags, prefixes
// and all. It answers 200 when everything is purged, 400 where a request makes
// no sense, 401 without access, 501 where a store that is no [store.Coordinator] cannot reach all that
// is to be purged, 503 where the store has not acknowledged: then send it again.
type PurgeEndpoint struct {
	cache  *Cache
	access PurgeAccess
	sum    [sha256.Size]byte // of the token
}

// PurgeEndpoint returns an endpoint. It fails where access lets nobody in, or
// everybody.
func (c *Cache) PurgeEndpoint(access PurgeAccess) (*PurgeEndpoint, error) {
	switch {
	case access.Token == "" && access.Authorize == nil:
		return nil, errors.New("cacheaside: PurgeAccess: neither Token nor Authorize is set: anybody could purge")
	case access.Token != strings.TrimSpace(access.Token):
		return nil, errors.New("cacheaside: PurgeAccess.Token: it begins or ends with a space, which no request can: remove it")
	case access.Token != "" && len(access.Token) < minPurgeToken:
		return nil, fmt.Errorf("cacheaside: PurgeAccess.Token: %d bytes are too few: use %d or more", len(access.Token), minPurgeToken)
	}
	return &PurgeEndpoint{cache: c, access: access, sum: sha256.Sum256([]byte(access.Token))}, nil
}

// Serve deals with one request. The body, which the adapter reads up to one byte
// more than [MaxPurgeBody], is nil where there is none.
func (p *PurgeEndpoint) Serve(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response {
	if !p.allowed(ctx, req) {
		r := purgeAnswer(http.StatusUnauthorized, "access denied: send the token as Authorization: Bearer TOKEN")
		r.Header = append(r.Header, adapter.Field{Name: "Www-Authenticate", Value: `Bearer realm="purge"`})
		return r
	}
	ctx = context.WithoutCancel(ctx) // half a purge helps nobody
	var err error
	switch req.Method {
	case "PURGE":
		err = p.cache.purgeRequest(breaker.Insist(ctx), &keys.Request{Request: *req}, observe.PurgeURL)
	case http.MethodPost:
		if len(body) > MaxPurgeBody {
			return purgeAnswer(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body exceeds %d bytes: send several requests", MaxPurgeBody))
		}
		var order Purge
		var plan purgePlan
		if order, err = decodePurge(body); err == nil {
			plan, err = p.cache.planPurge(&order)
		}
		switch {
		case errors.Is(err, ErrCannotPurge):
			return purgeAnswer(http.StatusNotImplemented, err.Error())
		case err != nil:
			return purgeAnswer(http.StatusBadRequest, err.Error())
		}
		err = p.cache.purge(ctx, &plan)
	default:
		r := purgeAnswer(http.StatusMethodNotAllowed, "use PURGE on a URL, or POST with JSON")
		r.Header = append(r.Header, adapter.Field{Name: "Allow", Value: "PURGE, POST"})
		return r
	}
	if err != nil {
		p.cache.log.Warn("cacheaside: a purge failed", "error", err)
		if errors.Is(err, ErrCannotPurge) {
			return purgeAnswer(http.StatusNotImplemented, err.Error())
		}
		return purgeAnswer(http.StatusServiceUnavailable, "the store has not acknowledged: send it again")
	}
	return purgeAnswer(http.StatusOK, "")
}

func (p *PurgeEndpoint) allowed(ctx context.Context, req *adapter.Request) bool {
	ok := false
	if p.access.Token != "" {
		var given string
		if lines := req.Header.Values("Authorization"); len(lines) == 1 {
			if scheme, rest, found := strings.Cut(lines[0], " "); found && strings.EqualFold(scheme, "Bearer") {
				given = strings.TrimSpace(rest)
			}
		}
		sum := sha256.Sum256([]byte(given)) // lengths are equal then
		ok = subtle.ConstantTimeCompare(sum[:], p.sum[:]) == 1
	}
	return ok || p.access.Authorize != nil && p.access.Authorize(ctx, req)
}

// decodePurge takes nothing for something else than was meant: json.Unmarshal
// would forget the first of two members of one name, and purge another tag in
// the place of one that is not UTF-8.
func decodePurge(body []byte) (o Purge, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return o, errors.New("the body is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return o, fmt.Errorf("the body is no such JSON: %w", err)
		}
		name, _ := t.(string) // as all names are
		into := map[string]any{"tags": &o.Tags, "urls": &o.URLs, "prefixes": &o.Prefixes, "all": &o.All, "soft": &o.Soft}[name]
		switch {
		case into == nil:
			return o, fmt.Errorf("there is no %.80q: use tags, urls, prefixes, all and soft", name)
		case seen[name]:
			return o, fmt.Errorf("%q is there twice: give one list", name)
		}
		seen[name] = true
		if err := d.Decode(into); err != nil {
			return o, fmt.Errorf("%q is no such JSON: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return o, fmt.Errorf("the body is no such JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return o, errors.New("there is something behind the JSON")
	}
	for _, text := range slices.Concat(o.Tags, o.URLs, o.Prefixes) {
		if strings.ContainsRune(text, utf8.RuneError) {
			return o, fmt.Errorf("%.80q has a character that is none: send UTF-8", text)
		}
	}
	return o, nil
}

func purgeAnswer(status int, message string) *adapter.Response {
	body := []byte("{\"purged\":true}\n")
	if message != "" {
		text, _ := json.Marshal(message)
		body = append(append([]byte(`{"error":`), text...), "}\n"...)
	}
	return &adapter.Response{Status: status, Body: body, Header: adapter.Fields{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "Cache-Control", Value: "no-store"},
	}}
}
