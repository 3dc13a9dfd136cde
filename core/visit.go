package cacheaside

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/store"
)

// visit is the state of one request on its way through the engine. It is
// pooled: nothing that outlives Serve may point into it.
type visit struct {
	visitState
	visitRoom
}

type visitState struct {
	c        *Cache
	x        adapter.Exchange
	req      request
	rerun    *rerun         // by which the engine has made the request; nil: it has not
	header   adapter.Header // of req
	asked    asked          // by header
	depth    uint8          // handles of the same cache in front
	inner    bool           // a handle further in has dealt with the request
	counter  *atomic.Uint64 // to be counted in, see count
	control  httprules.RequestControl
	now      time.Time // when the request came
	key      key
	fwd      string         // why the handler is asked, for Cache-Status
	stale    bool           // an entry was found that may not be used as it is
	entry    entry.Entry    // what was found
	at       string         // its key in the store
	by       choice         // the resource's Vary names, if known
	record   varyRecord     // valid if hasRec
	hasRec   bool           // it is known whether the primary key holds one
	epoch    uint64         // flights that had ended when the request came
	soft     uint64         // when a purge has made the entry stale, in microseconds since 1970; 0: none has
	known    *tagged        // the tags that were last seen under the entry's key
	claim    *claim         // by which the response may be stored; nil: by none
	begun    bool           // one was asked for
	leaves   bool           // storing was left to a handle further in
	personal bool           // see answer
	ahead    *lookahead     // what was read of the store before
	near     bool           // the entry was in this process
	run      *run           // of the handler; nil: it was not called
	fill     *fill          // has run
	lead     *inFlight      // whom others wait for; nil: nobody waits
	value    []byte         // what was written to the store
	write    *write         // that goes when the response does; nil: none
	own      adapter.Fields // what a 304 says to this client alone
	// candidates are variants for other requests that the handler may select.
	candidates []entry.Entry
	extra      [2]adapter.Field // Age and Cache-Status
	reply      adapter.Response // on its way to the adapter
	began      time.Time        // when the handler was called
	failure    int              // the status with which the handler has failed
	handle     *Cache           // for settle
}

// visitRoom is memory that the next visit uses again.
type visitRoom struct {
	wire    []byte                                  // where key is, until it is owned
	variant []byte                                  // of a variant's key
	scratch []byte                                  // for other keys and values
	fields  []adapter.Field                         // the reply's fields
	stamps  []store.Stamp                           // of known
	stored  []entry.Field                           // the fields of an entry
	date    [len(http.TimeFormat)]byte              // among them
	onError func(status int, h adapter.Header) bool // handlesError
}

var visits = sync.Pool{New: func() any { return new(visit) }}

func (v *visit) release() {
	if v.write != nil { // nothing was sent
		v.write.abandon()
	}
	clear(v.fields)
	clear(v.stored)
	if cap(v.scratch)+cap(v.wire) > 16<<10 {
		v.scratch, v.wire = nil, nil
	}
	v.fields, v.stored, v.stamps = v.fields[:0], v.stored[:0], v.stamps[:0]
	v.scratch, v.wire, v.variant = v.scratch[:0], v.wire[:0], v.variant[:0]
	v.visitState = visitState{}
	visits.Put(v)
}

// count counts the request as what it is, once it is known whether it is not that of
// the handle further in.
func (v *visit) count() {
	if v.counter != nil && !v.inner {
		v.counter.Add(1)
	}
	v.counter = nil
}
