package cacheaside

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/observe"
)

// visit is one request on its way through the engine. What a step has found out is a
// type of its own. A visit is pooled: nothing that outlives Serve may point into it.
type visit struct {
	visitState
	buffers
}

// visitState is what a visit knows, step by step.
type visitState struct {
	c *Cache
	x adapter.Exchange

	arrived // serve.go
	found   // lookup.go
	turn    // coalesce.go
	partial // parts.go
	running // fetch.go
	reply   // reply.go
	seen    // observe.go
}

// arrived is the request as it came.
type arrived struct {
	req     keys.Request
	rerun   *rerun         // by which the engine has made the request; nil: it has not
	header  adapter.Header // of req
	asked   keys.Asked     // by header
	control httprules.RequestControl
	depth   uint8     // handles of the same cache in front
	now     time.Time // when the request came, or looked again
	key     keys.Key
	counter *atomic.Uint64 // to be counted in, see count
	route   *route         // nil: not known here
}

// found is what is stored for the request.
type found struct {
	entry      entry.Entry
	entryKey   string         // where it is in the store
	near       bool           // it was in this process
	elsewhere  bool           // it was stored for another URL: see novarysearch.go
	why        observe.Cause  // it cannot answer, after the last look
	stale      bool           // it may not be used as it is
	fwd        string         // why the handler is asked, for Cache-Status
	selecting  keys.Selecting // the resource's Vary names, if known
	record     varyRecord     // valid if hasRec
	hasRec     bool           // it is known whether the primary key holds one
	ahead      *lookahead     // what was read of the store before
	form       form           // in which the entry is sent
	candidates []entry.Entry  // variants for other requests that the handler may select
}

// turn is whether the request runs the handler for others, and may store what that gives.
type turn struct {
	epoch    uint64    // flights that had ended when the request came
	lead     *inFlight // the flight that this request leads; nil: nobody waits
	claim    *claim    // by which the response may be stored; nil: by none
	begun    bool      // one was asked for
	leaves   bool      // storing was left to a handle further in
	personal bool      // see answer
}

// running is the call of the handler, and what becomes of its response.
type running struct {
	run      *run      // nil: it was not called
	fill     *fill     // has run
	began    time.Time // when the handler was called
	failure  int       // the status with which it has failed
	inner    bool      // a handle further in has dealt with the request
	recoding recoding  // of the response that is stored
	value    []byte    // what was written to the store
	write    *write    // that goes when the response does; nil: none

	// Of a response that is sent as it comes (stream.go):
	forwarded httprules.CacheStatus // what its Cache-Status says
	hidden    bool                  // the handler was not shown the client's own conditions
	refused   *refused              // nil: it was not, or is held back
	coming    *coming               // nil: it is whole when the handler returns
	drain     func()                // reads the body of coming
}

// reply is what the client gets.
type reply struct {
	response adapter.Response // on its way to the adapter
	own      adapter.Fields   // what a 304 says to this client alone
}

// buffers is memory that the next visit uses again.
type buffers struct {
	purges.Check // of the entry found: what a purge says of it

	wire     []byte                                               // where key is, until it is owned
	variant  []byte                                               // of a variant's key
	scratch  []byte                                               // for other keys and values
	fields   []adapter.Field                                      // the reply's fields
	extra    [4]adapter.Field                                     // Age, Cache-Status; X-Cache, twice
	stored   []entry.Field                                        // the fields of an entry
	date     [len(http.TimeFormat)]byte                           // among them
	onError  func(status int, h adapter.Header) bool              // handlesError
	onStream func(status int, h adapter.Header) adapter.Streaming // stream
	told
	event observe.Event
}

var visits = sync.Pool{New: func() any { return new(visit) }}

func (v *visit) release() {
	if v.write != nil { // nothing was sent
		v.write.abandon()
	}
	if v.observed {
		v.tell()
		e := &v.event // what it points to is not to be kept
		e.Context, e.Key, e.Link, e.Err = nil, "", nil, nil
	}
	if v.warming != nil {
		v.warming.visited(v)
	}
	if v.req.Account != nil {
		v.giveAccount()
	}
	clear(v.extra[:])
	clear(v.fields)
	clear(v.stored)
	if cap(v.scratch)+cap(v.wire) > 16<<10 {
		v.scratch, v.wire = nil, nil
	}
	v.fields, v.stored = v.fields[:0], v.stored[:0]
	v.scratch, v.wire, v.variant = v.scratch[:0], v.wire[:0], v.variant[:0]
	v.Check.Reset()
	v.visitState = visitState{}
	visits.Put(v)
}

// count counts the request, once it is known that no handle further in does so.
func (v *visit) count() {
	if v.counter != nil && !v.inner {
		v.counter.Add(1)
		if v.cause != 0 {
			v.c.stats.causes[v.cause].Add(1)
		}
	}
	v.counter = nil
}
