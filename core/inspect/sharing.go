package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/observe"
)

// Where instances share, each puts a snapshot into one of a few slots in the store, so that
// whoever looks reads all of them without a search. One that finds another's in its slot
// takes the next; should two take one at the same time, the later of them is found there,
// and the other moves on when it puts its next.
const (
	sharedSlots = 32
	sharedEvery = 10 * time.Second
	sharedFor   = 30 * time.Second
	sharedBytes = 8 << 10 // of a snapshot, at most
	sharedWait  = time.Second
)

// WithSharing lets the page of any process show how all of them are doing that share the
// store and have it: up to 32. While it has requests, a process then writes 1 KiB or so to
// the store every 10 seconds, which is kept for 30.
func WithSharing() Option { return func(e *Endpoint) { e.sharing = true } }

// share makes r call publish in a goroutine of its own, now and then while there are events.
func (r *Recorder) share(publish func()) { r.publish.Store(&publish) }

// mayPublish begins to publish if it is time. r.series.mu is held.
func (r *Recorder) mayPublish(at int64) {
	f := r.publish.Load()
	if f == nil || at-r.published < int64(sharedEvery) && at >= r.published || !r.publishing.CompareAndSwap(false, true) {
		return
	}
	r.published = at
	go func() {
		defer r.publishing.Store(false)
		(*f)()
	}()
}

// peer is what this process tells of itself.
func (e *Endpoint) peer() Peer {
	var s Status
	e.recorder.status(&s)
	s.Instance.Host = redact.Clean(e.host, 100)
	return Peer{Instance: s.Instance, Now: s.Now, Recent: s.Recent, BreakerOpen: s.Breaker.Open, Waiting: s.Gauges.Waiting}
}

// publish puts a snapshot into a slot. What fails is left to the next time.
func (e *Endpoint) publish() {
	ctx, cancel := context.WithTimeout(context.Background(), sharedWait)
	defer cancel()
	me := e.peer()
	data, err := json.Marshal(me)
	if err != nil || len(data) > sharedBytes {
		return
	}
	for range sharedSlots {
		slot := int(e.slot.Load())
		other, err := e.readPeer(ctx, slot)
		if err != nil {
			return
		}
		if other == nil || other.Instance.ID == me.Instance.ID {
			_ = e.engine.write(ctx, slotKey(slot), data, sharedFor)
			return
		}
		e.slot.Store(int32((slot + 1) % sharedSlots))
	}
}

func slotKey(slot int) string { return "inspect:instance:" + strconv.Itoa(slot) }

// readPeer is the snapshot in a slot; nil if there is none. Others may write there, so
// nothing of it is believed to be short or to be text.
func (e *Endpoint) readPeer(ctx context.Context, slot int) (*Peer, error) {
	data, found, err := e.engine.read(ctx, slotKey(slot))
	var p Peer
	if err != nil || !found || len(data) > sharedBytes || json.Unmarshal(data, &p) != nil || p.Instance.ID == "" {
		return nil, err
	}
	p.Instance.ID, p.Instance.Host = redact.Clean(p.Instance.ID, 40), redact.Clean(p.Instance.Host, 100)
	counts := map[string]uint64{}
	for n := range observe.Result(results) {
		if c := p.Recent.Results[n.String()]; c > 0 && n > 0 {
			counts[n.String()] = c
		}
	}
	p.Recent = Totals{Requests: p.Recent.Requests, Results: counts, HitShare: p.Recent.HitShare, Saved: p.Recent.Saved, BodyBytes: p.Recent.BodyBytes}
	return &p, nil
}

func (e *Endpoint) instances(c call) (any, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	me := e.peer()
	all := Instances{Shared: e.sharing, Instances: []Peer{me}}
	for slot := 0; e.sharing && slot < sharedSlots; slot++ {
		p, err := e.readPeer(ctx, slot)
		if err != nil {
			return nil, err
		}
		if p != nil && p.Instance.ID != me.Instance.ID {
			all.Instances = append(all.Instances, *p)
		}
	}
	slices.SortFunc(all.Instances, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Instance.Host, b.Instance.Host), cmp.Compare(a.Instance.ID, b.Instance.ID))
	})
	return all, nil
}
