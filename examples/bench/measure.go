package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

var nan = math.NaN()

// figures are what is measured at once. What is not known, or has no meaning, is NaN.
type figures struct {
	rate      float64 // requests a second
	cpu       float64 // of the service's process, ns a request
	serverCPU float64 // of the server's, ns a request
	p50, p99  float64 // ns that a client waits
	longest   float64 // ns
	calls     float64 // of the handler for each request; of a cold key: all of them
	errors    float64 // of the requests, a part of 1
	took      float64 // ns until all clients have their answer
}

// measuring has what a measure needs.
type measuring struct {
	opt    options
	store  *servers.Server // Kill and Pause are for one of our own alone
	own    bool
	client rueidis.Client
	serial atomic.Int64 // of keys
}

func (m *measuring) order(c choice) order {
	return order{Choice: c, Store: m.store.Addr, Wait: m.opt.wait, Slow: m.opt.slow}
}

// usage is what was used so far.
type usage struct {
	status
	server time.Duration // of the processor by the server
}

func (m *measuring) usage(ctx context.Context, s *service) (u usage, err error) {
	if u.status, err = s.status(); err != nil {
		return u, err
	}
	info, err := m.client.Do(ctx, m.client.B().Info().Section("cpu").Build()).ToString()
	if err != nil {
		return u, fmt.Errorf("INFO cpu: %w", err)
	}
	u.server, err = serverCPU(info)
	return u, err
}

// serverCPU reads INFO cpu.
func serverCPU(info string) (time.Duration, error) {
	total, found := 0.0, 0
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO cpu: %s is %q", name, value)
		}
		total, found = total+f, found+1
	}
	if found != 2 {
		return 0, errors.New("INFO cpu has no used_cpu_sys or no used_cpu_user")
	}
	return time.Duration(total * float64(time.Second)), nil
}

// measure measures one choice in one situation.
func (m *measuring) measure(ctx context.Context, s *service, at situation) (figures, error) {
	f, err := m.by(at.how)(ctx, s, at)
	if err != nil {
		return f, fmt.Errorf("%s, %s: %w", at.name, s.choice, err)
	}
	return f, ctx.Err()
}

func (m *measuring) by(h how) func(context.Context, *service, situation) (figures, error) {
	switch h {
	case cold:
		return m.cold
	case lost:
		return m.lost
	}
	return m.steady
}

// strays are how many calls of the handler a choice may make, of a thousand requests, that
// has stored the response: a look-up that takes too long on a busy machine ends in one.
const strays = 10

// steady measures hits, or misses.
func (m *measuring) steady(ctx context.Context, s *service, at situation) (figures, error) {
	l, err := newLoad(s.addr, at, m.opt.clients)
	if err != nil {
		return figures{}, err
	}
	defer l.close()
	caches := s.choice.Kind != none && at.how == hit
	if at.how == miss {
		run := strconv.FormatInt(m.serial.Add(1), 36) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-"
		var n atomic.Int64
		l.path = func() string { return at.path + run + strconv.FormatInt(n.Add(1), 36) }
	} else if err := m.warm(ctx, s, l.clients[0], at); err != nil {
		return figures{}, err
	}
	if _, err := l.run(ctx, m.opt.time/4); err != nil { // connections, caches of the processor
		return figures{}, err
	}
	before, err := m.usage(ctx, s)
	if err != nil {
		return figures{}, err
	}
	got, err := l.run(ctx, m.opt.time)
	if err != nil {
		return figures{}, err
	}
	after, err := m.usage(ctx, s)
	if err != nil {
		return figures{}, err
	}
	f := m.figures(s.choice, got, before, after)
	switch {
	case ctx.Err() != nil:
	case caches && f.calls > strays/1000.0:
		return f, fmt.Errorf("%.1f %% of the requests came to the handler: give the machine less to do, or fewer -clients", 100*f.calls)
	case !caches && f.calls < 1:
		return f, fmt.Errorf("%v of %d requests came to the handler, not all", f.calls*float64(len(got.each)), len(got.each))
	}
	return f, nil
}

func (m *measuring) figures(c choice, got came, before, after usage) figures {
	n := float64(max(1, len(got.each)))
	f := figures{
		rate: float64(len(got.each)-got.errors) / got.took.Seconds(),
		p50:  got.at(0.5), p99: got.at(0.99), longest: got.at(1),
		calls: float64(after.Calls-before.Calls) / n, errors: float64(got.errors) / n,
		cpu: nan, serverCPU: nan, took: nan,
	}
	if before.CPU >= 0 {
		f.cpu = float64(after.CPU-before.CPU) / n
	}
	if c.Kind.onServer() {
		f.serverCPU = float64(after.server-before.server) / n
	}
	return f
}

// warm sends requests until one is answered without the handler, and enough for a near tier
// to copy the response. What has no cache needs none.
func (m *measuring) warm(ctx context.Context, s *service, c *client, at situation) error {
	if s.choice.Kind == none {
		return nil
	}
	hits, last := 0, error(nil)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && ctx.Err() == nil; {
		before, err := s.status()
		if err != nil {
			return err
		}
		if last = c.get(at.path); last != nil && !errors.Is(last, errNotZipped) { // of a miss
			return last
		}
		after, err := s.status()
		if err != nil {
			return err
		}
		if hits++; after.Calls > before.Calls || last != nil {
			hits = 0
			time.Sleep(time.Millisecond) // it is written beside the answer
		}
		if hits == 5 {
			return nil
		}
	}
	return errors.Join(ctx.Err(), errors.New("nothing is stored"), last)
}

// cold has many clients ask at once for what nobody has asked for.
func (m *measuring) cold(ctx context.Context, s *service, at situation) (figures, error) {
	l, err := newLoad(s.addr, at, m.opt.crowd)
	if err != nil {
		return figures{}, err
	}
	defer l.close()
	for _, c := range l.clients {
		if err := c.connect(); err != nil {
			return figures{}, err
		}
	}
	key := at.path + strconv.FormatInt(m.serial.Add(1), 36) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	l.path = func() string { return key }
	before, err := m.usage(ctx, s)
	if err != nil {
		return figures{}, err
	}
	got, err := l.once()
	if err != nil {
		return figures{}, err
	}
	after, err := m.usage(ctx, s)
	if err != nil {
		return figures{}, err
	}
	f := m.figures(s.choice, got, before, after)
	f.calls, f.took = float64(after.Calls-before.Calls), float64(got.took)
	if f.calls < 1 {
		return f, errors.New("the handler was not called")
	}
	return f, nil
}

// lost has clients get hits while the server goes, as the last thing that the service sees.
func (m *measuring) lost(ctx context.Context, s *service, at situation) (figures, error) {
	l, err := newLoad(s.addr, at, m.opt.clients)
	if err != nil {
		return figures{}, err
	}
	defer l.close()
	if err := m.warm(ctx, s, l.clients[0], at); err != nil {
		return figures{}, err
	}
	if _, err := l.run(ctx, m.opt.time/4); err != nil {
		return figures{}, err
	}
	before, err := s.status()
	if err != nil {
		return figures{}, err
	}
	back, err := m.lose(ctx, at.pause)
	if err != nil {
		return figures{}, err
	}
	l.tolerant = true
	got, _ := l.run(ctx, m.opt.lost)
	after, err := s.status()
	if err := errors.Join(err, back()); err != nil {
		return figures{}, err
	}
	return m.figures(choice{}, got, usage{status: before}, usage{status: after}), nil
}

// lose has the server hang or end; back brings it back, and waits for that.
func (m *measuring) lose(ctx context.Context, pause bool) (back func() error, err error) {
	answers := func() error {
		for end := time.Now().Add(20 * time.Second); ; {
			err := m.client.Do(ctx, m.client.B().Ping().Build()).Error()
			if err == nil || ctx.Err() != nil {
				return nil //nolint:nilerr // an interruption ends all soon enough
			}
			if time.Now().After(end) {
				return fmt.Errorf("the server does not come back: %w", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if pause {
		if err := m.store.Pause(); err != nil {
			return nil, err
		}
		return func() error { return errors.Join(m.store.Resume(), answers()) }, nil
	}
	m.store.Kill()
	return func() error {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an interrupted program needs no server any more
		}
		return errors.Join(m.store.Start(ctx), answers())
	}, nil
}

// connect has a client connect, without any business of a cache.
func (c *client) connect() error {
	c.req.SetRequestURI("http://" + c.http.Addr + "/ready")
	if err := c.http.Do(&c.req, &c.resp); err != nil {
		return err
	}
	if code := c.resp.StatusCode(); code != 204 {
		return fmt.Errorf("/ready: status %d", code)
	}
	return nil
}
