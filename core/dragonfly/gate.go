package dragonfly

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// errSilent fails a call at once while many before it got no answer.
var errSilent = errors.New("the server has stopped answering")

const (
	// maxQueued stays below the 1024 places of a connection's queue, to which
	// probes come on top.
	maxQueued  = 768
	probeEvery = 100 * time.Millisecond

	// gateParts is into how many parts the slots of a cluster fall, and maxPart how
	// many commands may be left behind in one of them.
	gateParts = 32
	maxPart   = maxQueued / gateParts
)

// gate keeps the client's queues from filling up. A call that ends with its
// context leaves its command there, and once the queue is full, calls wait for
// a place whatever their context says: measured, for 2.6 s with a server that
// went silent, until the connection is given up. So calls in flight and commands
// left behind are bounded together, and who finds no place waits here, where
// its context counts.
//
// In a cluster each node has a queue, and nobody tells which slots a node has. So
// the commands left behind are counted, and bounded, in parts of neighbouring
// slots, which mostly belong to one node: an answer says nothing of another node's
// queue, and calls of nodes that are well are let through.
type gate struct {
	cluster  bool
	inflight atomic.Int64
	left     atomic.Int64 // commands left behind, in all parts
	doubtful atomic.Int64 // parts that have no answer since their last failure, or none yet
	parts    [gateParts]part
}

type part struct {
	answers atomic.Bool  // the last call was answered
	lost    atomic.Int64 // calls that ended without an answer, ever
	over    atomic.Int64 // how many of lost have left the queue since
	probed  atomic.Int64 // when a call was last let through nevertheless, in ms
}

// ticket is what enter gives and leave takes.
type ticket struct {
	*part
	lost int64 // calls lost before this one
}

// of returns the part of a slot as rueidis' commands have it.
func (g *gate) of(slot uint16) *part {
	if !g.cluster {
		return &g.parts[0]
	}
	return &g.parts[slot%(1<<14)/(1<<14/gateParts)]
}

// room takes a place if there is one.
func (g *gate) room(left int64) bool {
	if g.inflight.Add(1)+g.left.Load() <= maxQueued && (!g.cluster || left < maxPart) {
		return true
	}
	g.inflight.Add(-1)
	return false
}

// enter returns when there is room, or with an error when ctx is done or the
// server is silent. Only after a nil error must leave be called.
func (g *gate) enter(ctx context.Context, p *part) (ticket, error) {
	if err := ctx.Err(); err != nil {
		return ticket{}, err
	}
	lost := p.lost.Load()
	if g.room(lost - p.over.Load()) {
		return ticket{p, lost}, nil
	}
	return g.wait(ctx, p)
}

func (g *gate) wait(ctx context.Context, p *part) (ticket, error) {
	var timer *time.Timer
	for {
		lost := p.lost.Load()
		left := lost - p.over.Load()
		if g.room(left) {
			return ticket{p, lost}, nil
		}
		// Somebody has to find out that the server is back.
		if now, last := time.Now().UnixMilli(), p.probed.Load(); left > 0 && now-last >= probeEvery.Milliseconds() && p.probed.CompareAndSwap(last, now) {
			g.inflight.Add(1)
			return ticket{p, lost}, nil
		}
		if left > maxQueued/2 || g.cluster && left >= maxPart {
			return ticket{}, errSilent
		}
		if timer == nil {
			timer = time.NewTimer(time.Millisecond)
			defer timer.Stop()
		} else {
			timer.Reset(time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return ticket{}, ctx.Err()
		case <-timer.C:
		}
	}
}

// doubt reports whether a call may have to wait for a connection.
func (g *gate) doubt() bool { return g.doubtful.Load() > 0 }

// note takes account of whether a call was answered.
func (g *gate) note(p *part, answered bool) {
	if p.answers.Load() != answered && p.answers.CompareAndSwap(!answered, answered) {
		if answered {
			g.doubtful.Add(-1)
		} else {
			g.doubtful.Add(1)
		}
	}
}

// leave ends a call. One that has ended with its context leaves its command behind.
// Answers come in the order of the commands, so one answer, or the end of the
// connection, means that all lost before the call are over.
func (g *gate) leave(t ticket, behind bool) {
	if behind {
		g.left.Add(1)
		t.part.lost.Add(1)
	} else {
		for over := t.over.Load(); over < t.lost; over = t.over.Load() {
			if t.over.CompareAndSwap(over, t.lost) {
				g.left.Add(over - t.lost)
				break
			}
		}
	}
	g.inflight.Add(-1)
}

// span says which parts the commands of a call are of.
type span struct {
	part *part   // of all of them
	each []*part // of each of them, where they are of several
}

func (g *gate) span(cmds rueidis.Commands) span {
	at := span{part: g.of(cmds[0].Slot())}
	if !g.cluster {
		return at
	}
	for i, cmd := range cmds {
		p := g.of(cmd.Slot())
		if p != at.part && at.each == nil {
			at.each = slices.Repeat([]*part{at.part}, len(cmds))
		}
		if at.each != nil {
			at.each[i] = p
		}
	}
	return at
}

// places is what enterAll gives and leaveAll takes.
type places struct {
	one  ticket
	more []ticket // for each of several parts
}

// enterAll takes a place in every part that a call has commands for.
func (g *gate) enterAll(ctx context.Context, at span) (p places, err error) {
	if at.each == nil {
		p.one, err = g.enter(ctx, at.part)
		return p, err
	}
	for i, one := range at.each {
		if slices.Contains(at.each[:i], one) {
			continue
		}
		t, err := g.enter(ctx, one)
		if err != nil {
			g.inflight.Add(-int64(len(p.more))) // which says nothing of their parts
			return places{}, err
		}
		p.more = append(p.more, t)
	}
	return p, nil
}

// leaveAll ends a call: what it says of a part is said by the commands of that.
func (g *gate) leaveAll(ctx context.Context, at span, p places, a answer) {
	if at.each == nil {
		g.leave(p.one, a.err != nil && ctx.Err() != nil)
		g.note(p.one.part, a.err == nil)
		return
	}
	for _, t := range p.more {
		failed := false
		for i, one := range at.each {
			failed = failed || one == t.part && a.all[i].NonRedisError() != nil
		}
		g.leave(t, failed && ctx.Err() != nil)
		g.note(t.part, !failed)
	}
}
