package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

const (
	millisecond = time.Millisecond
	// skewAllowed is what the cache allows for between machines. With badSkew, what is
	// stale counts as fresh for longer than people mean by "a moment".
	skewAllowed = 2 * time.Second
	badSkew     = time.Minute
)

// clock compares the server's with ours.
func (p *patient) clock(ctx context.Context) {
	p.each(Clock, func(p *patient, n *node) (Status, string, string) {
		ctx, cancel := p.step(ctx)
		defer cancel()
		skew, off, ok := p.skew(ctx, n)
		if !ok {
			return OK, "not known: the server does not tell the time, which the cache does not need", ""
		}
		size := skew.Abs()
		detail := "it is right to " + rounded(max(off, time.Millisecond)).String()
		if size > off {
			detail = fmt.Sprintf("it is %v ahead of this machine's", rounded(size))
			if skew < 0 {
				detail = fmt.Sprintf("it is %v behind this machine's", rounded(size))
			}
			detail += fmt.Sprintf(", give or take %v", rounded(off))
		}
		remedy := "have both machines take the time from the same place (NTP): ages and lifetimes are wrong by this, if other machines have it, too"
		switch {
		case size-off > badSkew:
			return Fail, detail, remedy
		case size-off > skewAllowed:
			return Warn, detail, remedy
		}
		return OK, detail, ""
	})
}

func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// skew is by how much the server is ahead, and how far off that may be: the best of
// several.
func (p *patient) skew(ctx context.Context, n *node) (skew, off time.Duration, ok bool) {
	for range 5 {
		before := p.Now()
		at, known := n.time(ctx)
		after := p.Now()
		if !known {
			return skew, off, ok
		}
		half := after.Sub(before) / 2
		if !ok || half < off {
			skew, off, ok = at.Sub(before.Add(half)), half, true
		}
	}
	return skew, off, ok
}

// time asks a node for its time, which a user of the cache need not be allowed to: INFO
// tells it as well, on some.
func (n *node) time(ctx context.Context) (time.Time, bool) {
	answer, err := n.client.Do(ctx, n.client.B().Time().Build()).AsStrSlice()
	if err == nil && len(answer) == 2 {
		s, err := strconv.ParseInt(answer[0], 10, 64)
		us, err2 := strconv.ParseInt(answer[1], 10, 64)
		return time.Unix(s, us*1000), err == nil && err2 == nil
	}
	text, err := n.client.Do(ctx, n.client.B().Info().Section("server").Build()).ToString()
	_, text, found := strings.Cut(text, "server_time_usec:")
	line, _, _ := strings.Cut(text, "\r")
	us, parseErr := strconv.ParseInt(line, 10, 64)
	return time.UnixMicro(us), err == nil && found && parseErr == nil
}

// rounds is how often each call is measured.
const rounds = 31

// latency measures calls against the time-outs that a cache has by default.
func (p *patient) latency(ctx context.Context) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	status, worst := OK, ""
	var details []string
	for _, n := range p.nodes {
		for _, m := range p.calls(ctx, &n) {
			took := make([]time.Duration, 0, rounds)
			for range rounds {
				if m.before != nil {
					_ = m.before() // what fails here fails below
				}
				d, err := p.Measure(m.kind, m.call)
				if err != nil && !rueidis.IsRedisNil(err) && !isNoPerm(err) {
					p.find(Latency, Fail, n.on()+m.kind+": "+err.Error(), remedyOf(cause(err)))
					return
				}
				took = append(took, d)
			}
			slices.Sort(took)
			median, most := took[len(took)/2], took[len(took)-1]
			details = append(details, fmt.Sprintf("%s%s %v, at most %v", n.on(), m.kind, rounded(median), rounded(most)))
			if m.limit <= 0 {
				continue
			}
			var bad Status
			switch {
			case median >= m.limit:
				bad = Fail
			case most >= m.limit || median >= m.limit/2:
				bad = Warn
			default:
				continue
			}
			if status != Fail {
				status, worst = bad, m.of
			}
		}
	}
	detail := strings.Join(details, "; ") + fmt.Sprintf(" (median of %d; by default, Timeouts.Lookup is %v, Write %v, Purge %v)",
		rounds, p.timeouts.Lookup, p.timeouts.Write, p.timeouts.Purge)
	p.find(Latency, status, detail, "calls take too long: bring the server nearer or relieve it, or raise "+worst+" of the cache")
}

// measured is a kind of call, and what bounds it.
type measured struct {
	kind   string
	of     string
	limit  time.Duration
	before func() error // what has to be there, if anything
	call   func() error
}

func (p *patient) calls(ctx context.Context, n *node) []measured {
	key, lock, clock, stamps := n.tag, n.tag+":lock", n.tag+":clock", []string{n.tag + ":t:doctor"}
	var at store.Mark
	lockIt := func() error {
		begun, err := p.store.Begin(ctx, store.Fill{Lock: lock, Token: "doctor", TTL: kept * millisecond, Key: key, Stamps: stamps, Clock: clock, Adopt: true})
		at = begun.Mark
		return err
	}
	return []measured{
		{"ping", "Timeouts.Lookup", p.timeouts.Lookup, nil, func() error {
			return n.client.Do(ctx, n.client.B().Ping().Build()).Error()
		}},
		{"get", "Timeouts.Lookup", p.timeouts.Lookup, nil, func() error {
			_, _, err := p.store.Get(ctx, key)
			return err
		}},
		{"lock", "Timeouts.Write", p.timeouts.Write, nil, lockIt},
		{"write", "Timeouts.Write", p.timeouts.Write, lockIt, func() error {
			_, err := p.store.Write(ctx, store.Write{
				Lock: lock, Token: "doctor", Since: at, Clock: clock, Stamps: stamps,
				Values: []store.Value{{Key: key, Data: make([]byte, 1024), TTL: kept * millisecond}},
			})
			return err
		}},
		{"purge", "Timeouts.Purge", p.timeouts.Purge, nil, func() error {
			_, err := p.store.Bump(ctx, clock, stamps, false, 0, kept*millisecond)
			return err
		}},
	}
}
