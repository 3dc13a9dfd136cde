package adapter

import (
	"fmt"
	"net/textproto"
	"strings"
	"sync"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Account is where a cache leaves what it has done with a request, for middleware in front
// that asks. It belongs to one request, and to all handles that this passes. Its methods may
// be called concurrently.
type Account struct {
	mu    sync.Mutex
	begun bool
	given any
}

// AccountKey is where a framework keeps the account among the values of a request. It is a
// string for the reason of [RunKey].
const AccountKey = "github.com/cacheaside/cacheaside/core.Account"

// AccountOf returns the account that is under AccountKey; nil: there is none.
func AccountOf(value any) *Account {
	a, _ := value.(*Account)
	return a
}

// OpenAccount is AccountOf where there is one, else a new one, which keep is to put there.
func OpenAccount(value any, keep func(*Account)) *Account {
	if a := AccountOf(value); a != nil {
		return a
	}
	a := new(Account)
	keep(a)
	return a
}

// Give is called by an engine when it is done with the request, with what is opaque here.
func (a *Account) Give(account any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.given = account
}

// Given returns what was given last; nil: nothing was, or a cache still deals with the
// request.
func (a *Account) Given() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.given
}

// Begun reports whether a cache has dealt with the request, or does.
func (a *Account) Begun() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}

// begin reports whether a is for the request, which may be one that the handler of another
// one makes with its context, or one that passes a further handle.
func (a *Account) begin(r *Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun && r.Within != nil {
		return false
	}
	a.begun, a.given = true, nil
	return true
}

// Report asks the cache to leave in a what it does with the request; a may be nil. Outer
// and Within of the request are to be known by then.
func (r *Request) Report(a *Account) {
	if a != nil && a.begin(r) {
		r.Account = a
	}
}

// XCacheField is the name of the field for [Request.XCache] in canonical form: name, or
// X-Cache if that is empty. By is who asks; it panics where the name is that of no field, or
// of one that has a meaning of its own.
func XCacheField(by, name string) string {
	if name == "" {
		return "X-Cache"
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !httprules.IsToken(name):
		panic(fmt.Sprintf("%s: %.80q is no field name: use a token, or \"\" for X-Cache", by, name))
	case httprules.HopByHop(canonical), taken(canonical):
		panic(fmt.Sprintf("%s: %s has a meaning of its own: use another name, or \"\" for X-Cache", by, canonical))
	}
	return canonical
}

// taken reports whether a field, named in canonical form, means something else to clients
// or to caches.
func taken(name string) bool {
	switch name {
	case "Age", "Cache-Status", "Cache-Control", "Cdn-Cache-Control", "Surrogate-Control", "Pragma", "Expires", "Vary", "Date",
		"Etag", "Last-Modified", "Accept-Ranges", "Location", "Set-Cookie", "Cache-Tag", "Surrogate-Key", "Server", "Www-Authenticate":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Access-Control-")
}
