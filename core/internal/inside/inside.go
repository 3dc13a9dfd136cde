// Package inside is what the inspector sees of a cache that services do not: a door
// between two packages that may not import one another.
package inside

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Of gives the inside of a *cacheaside.Cache. That package sets it.
var Of func(cache any) Cache

// Settle waits until nothing goes on in the background of a *cacheaside.Cache, for tests.
// That package sets it.
var Settle func(ctx context.Context, cache any) error

// Cache is what may be asked of one. All may be called concurrently, and end with their
// context.
type Cache interface {
	Namespace() string
	// InProcess reports whether the store is in this process.
	InProcess() bool
	// Breaker reports whether there is a circuit breaker.
	Breaker() bool
	// Handles are the policies that there are, the one of New first, 64 at most.
	Handles() []Handle
	// Settings are those of the process.
	Settings() []Setting
	// Lookup says what is stored for a request: one Found for each key that it has by the
	// policies. It calls no handler.
	Lookup(ctx context.Context, req *adapter.Request) ([]Found, error)
	// Explain sends a request through the service's router, as a dry run unless send is set.
	Explain(ctx context.Context, method string, target *url.URL, header http.Header, send bool) (Explanation, error)
	// CheckPurge says what is wrong with a *cacheaside.Purge, and purges nothing.
	CheckPurge(p any) error
	// Reaches gives the texts by which what a URL stands for is purged.
	Reaches(url string) ([]string, error)
	// Get and Set are those of the store, by way of the breaker, for what is no entry.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Server asks the store what it is; false where it cannot say.
	Server(ctx context.Context) (Server, bool, error)
}

// Server is where the entries are.
type Server struct {
	Name, Version, Address string
	Used, Max              int64 // bytes; 0: not known
	Latency                time.Duration
}

// Handle is a policy.
type Handle struct {
	Name     string
	Settings []Setting
}

// Setting is a field of a policy or of the Config; of a function the value is "set".
type Setting struct {
	Name, Value string
	Default     bool
}

// Found is what is stored under a key.
type Found struct {
	Handles []string // whose key it is, by name
	Key     string   // on the wire
	// Result, Cause and Reason are as in an event, for the request that was asked about.
	Result, Cause, Reason string
	Because               string
	Vary                  []string
	Entries               []Entry
}

// Entry is a stored response.
type Entry struct {
	Key            string
	Selected       bool
	Selecting      []Field
	Status         int
	Born           time.Time
	Age, TTL       time.Duration
	Lifetime, Gone time.Duration // Gone: 0: not known
	Size, Body     int64
	Parts          string // which bytes there are of an incomplete response, in words
	Coding         string // of the body, if the cache keeps it in one
	Plain          int64  // the length of the body without Coding
	Took           time.Duration
	Tags           []Tag
	Header         []Field
	Result         string
	Because        string
	Problem        string // it is no entry, or of another format
}

// Field is a header field line.
type Field struct{ Name, Value string }

// Tag is a tag of an entry.
type Tag struct {
	Name, Kind string // "handler", "group" or "url"
	Stamp      uint64
	State      string // "valid", "purged", "soft" or "lost"
}

// Explanation is what became, or would become, of a request.
type Explanation struct {
	Route, Policy, Key             string
	Result, Cause, Reason, Because string
	Steps                          []Step
	Sent                           bool
	Status                         int
	Handler                        time.Duration
	Header                         []Field
}

// Step is a decision on the way.
type Step struct{ Step, Result string }
