package dragonfly

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// errSilent fails a call at once while many before it got no answer.
var errSilent = errors.New("the server has stopped answering")

const (
	// maxQueued stays below the 1024 places of a connection's queue, to which
	// probes come on top.
	maxQueued  = 768
	probeEvery = 100 * time.Millisecond
)

// gate keeps the client's queue from filling up. A call that ends with its
// context leaves its command there, and once the queue is full, calls wait for
// a place whatever their context says: measured, for 2.6 s with a server that
// went silent, until the connection is given up. So calls in flight and commands
// left behind are bounded together, and who finds no place waits here, where
// its context counts.
type gate struct {
	inflight atomic.Int64
	lost     atomic.Int64 // calls that ended without an answer, ever
	over     atomic.Int64 // how many of lost have left the queue since
	probed   atomic.Int64 // when a call was last let through nevertheless, in ms
}

// ticket is what enter gives and leave takes: the calls lost before this one.
type ticket int64

// enter returns when there is room, or with an error when ctx is done or the
// server is silent. Only after a nil error must leave be called.
func (g *gate) enter(ctx context.Context) (ticket, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	lost := g.lost.Load()
	if g.inflight.Add(1)+lost-g.over.Load() <= maxQueued {
		return ticket(lost), nil
	}
	g.inflight.Add(-1)
	return g.wait(ctx)
}

func (g *gate) wait(ctx context.Context) (ticket, error) {
	var timer *time.Timer
	for {
		lost := g.lost.Load()
		left := lost - g.over.Load()
		if g.inflight.Add(1)+left <= maxQueued {
			return ticket(lost), nil
		}
		// Somebody has to find out that the server is back.
		if now, last := time.Now().UnixMilli(), g.probed.Load(); left > 0 && now-last >= probeEvery.Milliseconds() && g.probed.CompareAndSwap(last, now) {
			return ticket(lost), nil
		}
		g.inflight.Add(-1)
		if left > maxQueued/2 {
			return 0, errSilent
		}
		if timer == nil {
			timer = time.NewTimer(time.Millisecond)
			defer timer.Stop()
		} else {
			timer.Reset(time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timer.C:
		}
	}
}

// leave ends a call. Answers come in the order of the commands, so one answer,
// or the end of the connection, means that all lost before the call are over.
func (g *gate) leave(t ticket, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		g.lost.Add(1)
	} else {
		for over := g.over.Load(); over < int64(t) && !g.over.CompareAndSwap(over, int64(t)); {
			over = g.over.Load()
		}
	}
	g.inflight.Add(-1)
}
