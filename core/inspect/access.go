package inspect

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// minToken keeps tokens from being guessed.
const minToken = 16

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
	full, read [sha256.Size]byte // of the tokens
	hasFull    bool
	hasRead    bool
	authorize  func(ctx context.Context, req *adapter.Request) bool
}

func newGuard(a Access) (*guard, error) {
	if a.Token == "" && a.ReadToken == "" && a.Authorize == nil {
		return nil, errors.New("inspect: Access: neither Token nor ReadToken nor Authorize is set: anybody could look at the cache and purge it")
	}
	for _, t := range []struct{ field, token string }{{"Token", a.Token}, {"ReadToken", a.ReadToken}} {
		switch {
		case t.token != strings.TrimSpace(t.token):
			return nil, fmt.Errorf("inspect: Access.%s: it begins or ends with a space, which no request can: remove it", t.field)
		case t.token != "" && len(t.token) < minToken:
			return nil, fmt.Errorf("inspect: Access.%s: %d bytes are too few: use %d or more", t.field, len(t.token), minToken)
		}
	}
	if a.Token != "" && a.Token == a.ReadToken {
		return nil, errors.New("inspect: Access.ReadToken: it is the Token, whose bearer may purge: use another one")
	}
	return &guard{
		full: sha256.Sum256([]byte(a.Token)), hasFull: a.Token != "",
		read: sha256.Sum256([]byte(a.ReadToken)), hasRead: a.ReadToken != "",
		authorize: a.Authorize,
	}, nil
}

// allows tells what the sender of req may do, and where that is nothing, why.
func (g *guard) allows(ctx context.Context, req *adapter.Request) (level, string) {
	given, sent := bearer(req)
	if sent {
		sum := sha256.Sum256([]byte(given)) // lengths are equal then
		full := subtle.ConstantTimeCompare(sum[:], g.full[:]) == 1 && g.hasFull
		read := subtle.ConstantTimeCompare(sum[:], g.read[:]) == 1 && g.hasRead
		switch {
		case full:
			return everything, ""
		case read:
			return reading, ""
		}
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
func (g *guard) tokens() bool { return g.hasFull || g.hasRead }

// bearer is the token that a request carries.
func bearer(req *adapter.Request) (token string, sent bool) {
	if lines := req.Header.Values("Authorization"); len(lines) == 1 {
		if scheme, rest, found := strings.Cut(lines[0], " "); found && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

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
