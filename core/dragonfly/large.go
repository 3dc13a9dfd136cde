package dragonfly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// places is how many large values may be on their way at a time in each
	// direction, and as many again of up to moderate bytes, which do not wait behind
	// longer ones. Each takes a connection.
	readPlaces  = 4
	writePlaces = 2
	moderate    = 1 << 20

	// bodyKept is how much longer than its stub the bytes are kept: the stub, which
	// is written after them, says when the value expires.
	bodyKept = 10 * time.Second
	// slowKept is how long a value that did not arrive in time is not read again.
	slowKept = time.Minute
	maxSlow  = 1024
	// closePatience is how long Close waits for values on their way.
	closePatience = time.Second
)

// large moves large values, over connections of their own, so that small ones do
// not wait behind them: those that rueidis has for streams, which it makes when
// they are needed.
type large struct {
	client        rueidis.Client
	cluster       bool
	reads, writes [2]chan struct{} // places, of moderate ones and of longer ones

	mu     sync.Mutex
	calls  map[stub]*call     // reads under way
	slow   map[stub]time.Time // what did not arrive, until when
	moving sync.WaitGroup     // goroutines
	closed bool
}

// call is a large value on its way, for all who ask for it.
type call struct {
	done    chan struct{}
	began   atomic.Bool // it has a place
	arrived atomic.Bool // at least its first bytes
	value   []byte      // and what follows is valid once done is closed
	found   bool
	err     error
}

func (l *large) init(client rueidis.Client) {
	l.client, l.cluster = client, client.Mode() == rueidis.ClientModeCluster
	l.calls, l.slow = map[stub]*call{}, map[stub]time.Time{}
	for i := range 2 {
		l.reads[i], l.writes[i] = make(chan struct{}, readPlaces), make(chan struct{}, writePlaces)
	}
}

// isLarge reports whether value is stored in two parts.
func isLarge(value []byte) bool { return len(value) >= store.LargeValue || isStub(value) }

var (
	errBusy    = fmt.Errorf("%w: too many others are on their way", store.ErrSlow)
	errTooLong = fmt.Errorf("%w: the value is longer than %d bytes", ErrRefused, maxLarge)
	errClosed  = errors.New("the store is closed")
	errNotIts  = errors.New("not the bytes of this value")
)

// deadline is that of a call for size bytes.
func (s *Store) deadline(ctx context.Context, size int) time.Time {
	if at, ok := ctx.Deadline(); ok {
		return at
	}
	return time.Now().Add(s.timeout + store.TransferTime(size))
}

// getLarge returns the value that the stub raw under key stands for. One whose bytes
// are gone, or not those of the stub, is absent.
func (s *Store) getLarge(ctx context.Context, key string, raw []byte) (value []byte, found bool, err error) {
	st, ok := parseStub(raw)
	from, named := s.large.bodyKey(key, st.slot)
	if !ok || !named {
		return nil, false, nil
	}
	l := &s.large
	store.ExpectBytes(ctx, st.size)
	c, err := l.join(st, from, s.deadline(ctx, st.size))
	if err != nil {
		return nil, false, err
	}
	select {
	case <-c.done:
		return c.value, c.found, c.err
	case <-ctx.Done():
	}
	switch err = ctx.Err(); {
	case !errors.Is(err, context.DeadlineExceeded):
		return nil, false, err
	case !c.began.Load():
		return nil, false, errBusy
	case c.arrived.Load():
		l.tooSlow(st)
		return nil, false, store.ErrSlow
	}
	return nil, false, err
}

// join returns the call for a value, which is begun where there is none.
func (l *large) join(st stub, from string, deadline time.Time) (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if until, slow := l.slow[st]; slow && time.Now().Before(until) {
		return nil, store.ErrSlow
	}
	c := l.calls[st]
	if c == nil {
		c = &call{done: make(chan struct{})}
		l.calls[st] = c
		l.moving.Go(func() {
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			defer cancel()
			c.value, c.found, c.err = l.read(ctx, c, st, from)
			if c.arrived.Load() && errors.Is(c.err, store.ErrSlow) {
				l.tooSlow(st)
			}
			l.mu.Lock()
			delete(l.calls, st)
			l.mu.Unlock()
			close(c.done)
		})
	}
	return c, nil
}

// tooSlow keeps a value from being read for a while.
func (l *large) tooSlow(st stub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.slow) >= maxSlow {
		for other, until := range l.slow {
			if !now.Before(until) {
				delete(l.slow, other)
			}
		}
	}
	if len(l.slow) < maxSlow {
		l.slow[st] = now.Add(slowKept)
	}
}

// take waits for one of places until ctx ends.
func take(ctx context.Context, places *[2]chan struct{}, size int) (place chan struct{}, err error) {
	place = places[0]
	if size > moderate {
		place = places[1]
	}
	select {
	case place <- struct{}{}:
		return place, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, errBusy
		}
		return nil, ctx.Err()
	}
}

func (l *large) read(ctx context.Context, c *call, st stub, from string) (value []byte, found bool, err error) {
	place, err := take(ctx, &l.reads, st.size)
	if err != nil {
		return nil, false, err
	}
	defer func() { <-place }()
	c.began.Store(true)
	in := &incoming{call: c, stub: st}
	err = l.stream(ctx, in, func() rueidis.Completed { return l.client.B().Arbitrary("GET").Keys(from).Blocking() })
	switch {
	case in.whole:
		return in.value, true, nil
	case err == nil, errors.Is(err, errNotIts), rueidis.IsRedisNil(err), isWrongType(err):
		return nil, false, nil
	case isTimeout(err) && c.arrived.Load():
		err = store.ErrSlow
	case isTimeout(err):
		err = context.DeadlineExceeded
	}
	return nil, false, err
}

// incoming takes the bytes of a value as they come.
type incoming struct {
	call *call
	stub
	value []byte
	whole bool
}

// ReadFrom takes nothing but what has the length and the identity of the stub, and
// needs no memory for what has not.
func (in *incoming) ReadFrom(r io.Reader) (int64, error) {
	in.call.arrived.Store(true)
	if all, ok := r.(*io.LimitedReader); ok && all.N != int64(idLen+in.size) {
		return 0, errNotIts
	}
	var id [idLen]byte
	n, err := io.ReadFull(r, id[:])
	if err != nil {
		return int64(n), err
	}
	if id != in.id {
		return idLen, errNotIts
	}
	in.value = make([]byte, in.size)
	n, err = io.ReadFull(r, in.value)
	in.whole = err == nil
	return int64(idLen + n), err
}

// Write is called with replies that are no strings of bytes.
func (in *incoming) Write([]byte) (int, error) { return 0, errNotIts }

// stream sends a command over a connection of its own and hands the reply to w.
// Nobody listens on such a connection while it is idle: those that the server has
// closed meanwhile are found out here, and another one is taken.
func (l *large) stream(ctx context.Context, w io.Writer, command func() rueidis.Completed) (err error) {
	for range 2 * (readPlaces + writePlaces) {
		reply := l.client.DoStream(ctx, command())
		if _, err = reply.WriteTo(w); err == nil || ctx.Err() != nil || !isGone(err) {
			break
		}
		if in, ok := w.(*incoming); ok && in.call.arrived.Load() {
			break
		}
	}
	if l.cluster && isMoved(err) { // which rueidis does not follow
		var text string
		if text, err = l.client.Do(ctx, command()).ToString(); err == nil {
			_, err = io.Copy(w, &io.LimitedReader{R: strings.NewReader(text), N: int64(len(text))})
		}
	}
	return err
}

// isGone reports whether err is that of a connection that had ended before.
func isGone(err error) bool {
	if _, answered := rueidis.IsRedisErr(err); answered || isTimeout(err) || errors.Is(err, errNotIts) || errors.Is(err, rueidis.ErrClosing) {
		return false
	}
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func isMoved(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := e.IsMoved()
	_, ask := e.IsAsk()
	return moved || ask
}

// putLarge puts the bytes of a large value where nobody sees them before its stub is
// there, unless token is no longer under the lock, which is not asked where that is
// empty. Other is the key of the bytes that the stub replaces.
func (s *Store) putLarge(ctx context.Context, lock, token string, v store.Value) (stub, other string, held bool, err error) {
	if len(v.Data) > maxLarge {
		return "", "", false, errTooLong
	}
	ctx, cancel := context.WithDeadline(ctx, s.deadline(ctx, len(v.Data)))
	defer cancel()
	cmds := rueidis.Commands{s.client.B().Get().Key(v.Key).Build()}
	if lock != "" { // what is purged already need not travel
		cmds = append(cmds, s.client.B().Get().Key(lock).Build())
	}
	results, err := s.pipeline(ctx, cmds)
	if err != nil {
		return "", "", false, err
	}
	var slot byte
	old, err := textOf(results[0])
	if before, ok := parseStub([]byte(old)); ok {
		slot = 1 - before.slot
	}
	if err == nil && lock != "" {
		var holder string
		if holder, err = textOf(results[1]); err == nil && holder != token {
			return "", "", false, nil
		}
	}
	if err != nil {
		return "", "", false, err
	}
	st := newStub(slot, len(v.Data))
	own, _ := s.large.bodyKey(v.Key, slot)
	other, _ = s.large.bodyKey(v.Key, 1-slot)
	ms, err := milliseconds(v.TTL)
	if err == nil {
		err = s.putBytes(ctx, st, own, v.Data, ms+bodyKept.Milliseconds())
	}
	return rueidis.BinaryString(st.encode()), other, err == nil, err
}

// setLarge is Set for a large value.
func (s *Store) setLarge(ctx context.Context, v store.Value, ms int64) error {
	stub, _, _, err := s.putLarge(ctx, "", "", v)
	if err != nil {
		return err
	}
	s.near.writing(v.Key)
	defer s.near.written(v.Key)
	result, err := s.do(ctx, s.client.B().Set().Key(v.Key).Value(stub).PxMilliseconds(ms).Build())
	if err == nil {
		err = result.Error()
	}
	return err
}

// putBytes stores the bytes of a value under the key to. What takes too long goes on
// for its deadline at most, unseen.
func (s *Store) putBytes(ctx context.Context, st stub, to string, value []byte, ms int64) error {
	l := &s.large
	place, err := take(ctx, &l.writes, st.size)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-place
		return errClosed
	}
	done := make(chan error, 1)
	deadline := s.deadline(ctx, st.size)
	l.moving.Go(func() {
		defer func() { <-place }()
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		b := append(append(make([]byte, 0, idLen+st.size), st.id[:]...), value...)
		var reply bytes.Buffer
		done <- l.stream(ctx, &reply, func() rueidis.Completed {
			return l.client.B().Arbitrary("SET").Keys(to).Args(rueidis.BinaryString(b), "PX", strconv.FormatInt(ms, 10)).Blocking()
		})
	})
	l.mu.Unlock()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if isTimeout(err) { // a server that gives no answer fails other calls as well
		return fmt.Errorf("%w: %w", store.ErrSlow, err)
	}
	return err
}

// close waits for what is on its way, for a while: no context ends it.
func (l *large) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	over := make(chan struct{})
	go func() {
		l.moving.Wait()
		close(over)
	}()
	timer := time.NewTimer(closePatience)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}
