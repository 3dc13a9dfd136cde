package cacheaside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/bearer"
	"github.com/cacheaside/cacheaside/core/internal/breaker"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/strictjson"
	"github.com/cacheaside/cacheaside/core/observe"
)

// MaxPurgeBody is the longest body that a [PurgeEndpoint] reads, in bytes.
const MaxPurgeBody = 64 << 10

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
	cache     *Cache
	token     bearer.Token
	authorize func(ctx context.Context, req *adapter.Request) bool
}

// PurgeEndpoint returns an endpoint. It fails where access lets nobody in, or
// everybody.
func (c *Cache) PurgeEndpoint(access PurgeAccess) (*PurgeEndpoint, error) {
	if access.Token == "" && access.Authorize == nil {
		return nil, errors.New("cacheaside: PurgeAccess: neither Token nor Authorize is set: anybody could purge")
	}
	token, err := bearer.NewToken(access.Token)
	if err != nil {
		return nil, fmt.Errorf("cacheaside: PurgeAccess.Token: %w", err)
	}
	return &PurgeEndpoint{c, token, access.Authorize}, nil
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
		err = p.cache.purgeRequest(breaker.Insist(ctx), &keys.Request{Request: *req}, observe.PurgeURL, "")
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
	given, _ := bearer.Sent(req.Header)
	return p.token.Is(given) || p.authorize != nil && p.authorize(ctx, req)
}

func decodePurge(body []byte) (o Purge, err error) {
	err = strictjson.Object(body, map[string]any{"tags": &o.Tags, "urls": &o.URLs, "prefixes": &o.Prefixes, "all": &o.All, "soft": &o.Soft})
	for _, text := range slices.Concat(o.Tags, o.URLs, o.Prefixes) {
		if err == nil && strings.ContainsRune(text, utf8.RuneError) { // half of a surrogate pair, or what was none before
			err = fmt.Errorf("%.80q has a character that is none: send UTF-8", text)
		}
	}
	return o, err
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
