package cachetest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Response is what has a response's header: that of a client, of app.Test in Fiber, or of
// a recorder.
type Response interface {
	*http.Response | *httptest.ResponseRecorder | http.Header
}

// Outcome is what the cache has done for a request, as the field Cache-Status of its
// response says it (RFC 9211).
type Outcome struct {
	// Hit: what was stored has answered, without the handler.
	Hit bool
	// Forward is why there is no hit: "miss", "vary-miss", "stale", "request", "partial",
	// "bypass" or "method". Empty for a hit, and where the cache has answered itself.
	Forward string
	// ForwardStatus is what the handler has answered where something stale was stored; 0:
	// there was nothing.
	ForwardStatus int
	// TTL is how long the response is fresh from now on, in whole seconds, less than 0 if
	// it is stale. 0 also where HasTTL is false: it is not known.
	TTL    time.Duration
	HasTTL bool
	// Stored: the response is being stored.
	Stored bool
	// Collapsed: the answer is what another request has got from the handler.
	Collapsed bool
	// Key is the key, if Requests.ShowKey of the policy shows it.
	Key string
	// Detail is the reason why the response is not stored, or whatever else there is to
	// say: see the README of core.
	Detail string
	// Field is the whole Cache-Status.
	Field string
}

// OutcomeOf reads what the cache nearest to the client has done, of those that are called
// cacheaside. It fails where the response does not say it: then no cache has seen it.
func OutcomeOf[R Response](response R) (Outcome, error) {
	var header http.Header
	switch r := any(response).(type) {
	case *http.Response:
		if r == nil {
			return Outcome{}, errors.New("there is no response: it is nil")
		}
		header = r.Header
	case *httptest.ResponseRecorder:
		if r == nil {
			return Outcome{}, errors.New("there is no response: the recorder is nil")
		}
		header = r.Result().Header
	case http.Header:
		header = r
	}
	lines := header.Values("Cache-Status")
	field := strings.Join(lines, ", ")
	members, ok := httprules.ParseCacheStatus(lines)
	if !ok {
		return Outcome{Field: field}, fmt.Errorf("the Cache-Status %q cannot be read", field)
	}
	for i := len(members) - 1; i >= 0; i-- {
		if m := members[i]; m.Name == "cacheaside" {
			return Outcome{
				Hit: m.Hit, Forward: m.Fwd, ForwardStatus: m.FwdStatus,
				TTL: time.Duration(m.TTL) * time.Second, HasTTL: m.HasTTL,
				Stored: m.Stored, Collapsed: m.Collapsed, Key: m.Key, Detail: m.Detail, Field: field,
			}, nil
		}
	}
	if field == "" {
		return Outcome{}, errors.New("the response has no Cache-Status: it has not passed the cache")
	}
	return Outcome{Field: field}, fmt.Errorf("the Cache-Status %q is not of this cache: the response has not passed it", field)
}

// String says it in words.
func (o Outcome) String() string {
	var b strings.Builder
	switch why, known := forwards[o.Forward]; {
	case o.Hit && o.HasTTL && o.TTL < 0:
		b.WriteString("a hit on what is stale")
	case o.Hit:
		b.WriteString("a hit")
	case o.Forward == "":
		b.WriteString("an answer of the cache itself")
	case known:
		b.WriteString(why)
	default:
		b.WriteString("fwd=" + o.Forward)
	}
	switch {
	case o.Stored:
		b.WriteString(", stored")
	case o.Collapsed:
		b.WriteString(", answered with what another request has got")
	case !o.Hit && o.asked():
		b.WriteString(", not stored")
	}
	if o.Detail != "" {
		b.WriteString(", detail " + o.Detail)
	}
	fmt.Fprintf(&b, " (Cache-Status: %s)", o.Field)
	return b.String()
}

// forwards says why a request was forwarded.
var forwards = map[string]string{
	"miss":      "a miss, for nothing usable was stored",
	"uri-miss":  "a miss, for nothing usable was stored",
	"vary-miss": "a miss, for only what answers other requests was stored",
	"stale":     "a miss, for what was stored is stale",
	"request":   "a miss, for the request rules out what was stored",
	"partial":   "a miss, for only parts were stored",
	"bypass":    "a bypass",
	"method":    "a bypass because of the method",
}

// asked reports whether the cache has had the handler asked, or joined a request that has.
func (o Outcome) asked() bool { return o.Forward != "" && !o.bypassed() }

// bypassed reports whether the cache has left the request alone.
func (o Outcome) bypassed() bool { return o.Forward == "bypass" || o.Forward == "method" }
