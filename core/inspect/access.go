package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/bearer"
)

// Access says who may use the inspector. One of its fields must be set; with several,
// each is enough. Tokens are sent as "Authorization: Bearer <token>", have 16 bytes or
// more, and are compared in constant time.
type Access struct {
	// Token gives full access: that of [cacheaside.PurgeAccess].
	Token string
	// ReadToken lets its bearer see everything, and purge nothing.
	ReadToken string
	// Authorize gives full access by the request, for instance by what an authentication
	// middleware has put into ctx. As that may be a cookie, which a browser sends whoever
	// asks it to, such requests must come from the inspector's own origin, by
	// Sec-Fetch-Site or Origin; other clients than browsers have to send one of them too.
	Authorize func(ctx context.Context, req *adapter.Request) bool
}

// level is what somebody may do.
type level uint8

const (
	nothing level = iota
	reading
	everything
)

func (l level) String() string { return [...]string{"none", "read", "full"}[l] }

// guard is a valid Access.
type guard struct {
	full, read bearer.Token
	authorize  func(ctx context.Context, req *adapter.Request) bool
}

func newGuard(a Access) (*guard, error) {
	if a.Token == "" && a.ReadToken == "" && a.Authorize == nil {
		return nil, errors.New("inspect: Access: neither Token nor ReadToken nor Authorize is set: anybody could look at the cache and purge it")
	}
	full, err := bearer.NewToken(a.Token)
	if err != nil {
		return nil, fmt.Errorf("inspect: Access.Token: %w", err)
	}
	read, err := bearer.NewToken(a.ReadToken)
	if err != nil {
		return nil, fmt.Errorf("inspect: Access.ReadToken: %w", err)
	}
	if a.Token != "" && a.Token == a.ReadToken {
		return nil, errors.New("inspect: Access.ReadToken: it is the Token, whose bearer may purge: use another one")
	}
	return &guard{full, read, a.Authorize}, nil
}

// allows tells what the sender of req may do, and where that is nothing, why.
func (g *guard) allows(ctx context.Context, req *adapter.Request) (level, string) {
	given, sent := bearer.Sent(req.Header)
	full, read := g.full.Is(given), g.read.Is(given)
	switch {
	case full:
		return everything, ""
	case read:
		return reading, ""
	}
	if g.authorize != nil && g.authorize(ctx, req) {
		if sameOrigin(req) {
			return everything, ""
		}
		return nothing, "the request does not come from the inspector's own page: send Sec-Fetch-Site: same-origin, or Origin with this host"
	}
	if sent {
		return nothing, "the token is not accepted: it is wrong, or the service has been started with another one"
	}
	return nothing, "access denied: send the token as Authorization: Bearer TOKEN"
}

// tokens reports whether any token can be accepted.
func (g *guard) tokens() bool { return g.full.Set() || g.read.Set() }

// sameOrigin reports whether a browser says that a page of this origin makes the request.
// Neither field can be set by a page. What says nothing is refused: an old browser may
// have been led here.
func sameOrigin(req *adapter.Request) bool {
	if site := req.Header.Values("Sec-Fetch-Site"); len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	origin := req.Header.Values("Origin")
	if len(origin) != 1 {
		return false
	}
	u, err := url.Parse(origin[0]) // the scheme may differ: a proxy in front may have ended TLS
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, req.Host)
}
