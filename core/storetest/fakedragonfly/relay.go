package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is the connection of a client. Its commands are read by one goroutine, which
// answers them or sends them on; the answers of each connection to the server behind are
// read by another. They go to the client in the order of its commands.
type conn struct {
	s     *server
	id    int64
	nc    net.Conn
	began time.Time
	r     *bufio.Reader

	// Of the reader of commands alone.
	links []*link // the first takes what has its order; each of the others is a shard's
	multi *batch  // what is queued after MULTI
	watch bool
	burst burst
	quits bool

	calls atomic.Int64
	last  atomic.Int64 // when the last command came, Unix nanoseconds

	mu      sync.Mutex
	free    *sync.Cond // something was answered
	w       *bufio.Writer
	queue   []*slot
	gone    bool
	resp    int
	user    string
	authed  bool
	name    string
	library [2]string
	db      string // of SELECT
	raw     bool   // RESP2, after SUBSCRIBE: there is no order of questions and answers
	monitor bool
	tracker tracker
}

// link is a connection to the server behind.
type link struct {
	c       *conn
	nc      net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	pending []*slot // guarded by c.mu
}

// slot is where an answer goes.
type slot struct {
	done   bool
	silent bool // the client is not told
	pushes int  // how many pushes are the answer
	data   []byte
	edit   func([]byte) []byte
	marks  *batch
}

// batch is what a command, or the commands of a transaction, read and write.
type batch struct {
	reads  []reading
	writes []*written
}

func newConn(s *server, nc net.Conn) *conn {
	c := &conn{
		s: s, id: s.lastID.Add(1), nc: nc, began: time.Now(), r: bufio.NewReaderSize(nc, 32<<10),
		w: bufio.NewWriterSize(nc, 32<<10), resp: 2, user: "default", db: "0", authed: s.users.open(),
	}
	c.free = sync.NewCond(&c.mu)
	return c
}

func (c *conn) serve() {
	defer c.leave()
	for !c.quits {
		args, err := readCommand(c.r)
		if err != nil {
			if errors.Is(err, errProtocol) {
				c.reply(failure("Protocol error"))
				c.flush()
			}
			return
		}
		if len(args) > 0 {
			c.calls.Add(1)
			c.last.Store(time.Now().UnixNano())
			c.handle(args)
		}
		if c.r.Buffered() == 0 {
			c.burst = burst{}
			c.flush()
		}
	}
	c.flush()
	c.settle()
}

// shutdown makes the connection end.
func (c *conn) shutdown() { _ = c.nc.Close() }

func (c *conn) leave() {
	_ = c.nc.Close()
	c.mu.Lock()
	c.gone = true
	c.free.Broadcast()
	monitors := c.monitor
	c.tracker.leave(c.s.writes)
	for _, l := range c.links {
		if l == nil {
			continue
		}
		_ = l.nc.Close()
		for _, sl := range l.pending { // nobody will answer
			if sl.marks != nil {
				c.s.writes.end(sl.marks.writes)
			}
		}
		l.pending = nil
	}
	c.mu.Unlock()
	if c.multi != nil {
		c.s.writes.end(c.multi.writes)
	}
	if monitors {
		c.s.monitors.Add(-1)
	}
	c.s.mu.Lock()
	delete(c.s.conns, c.id)
	c.s.mu.Unlock()
}

// reply answers a command in its turn.
func (c *conn) reply(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, &slot{done: true, data: data})
	c.drain()
}

// drain writes the answers whose turn it is.
func (c *conn) drain() {
	for len(c.queue) > 0 && c.queue[0].done {
		_, _ = c.w.Write(c.queue[0].data)
		c.queue[0] = nil
		c.queue = c.queue[1:]
	}
}

// flush lets out what is buffered, to the shards in any order.
func (c *conn) flush() {
	if n := len(c.links); n > 0 {
		first := 0
		if n > 2 {
			first = c.s.intN(n)
		}
		for i := range n {
			if l := c.links[(first+i)%n]; l != nil && l.w.Buffered() > 0 {
				_ = l.w.Flush()
			}
		}
	}
	c.mu.Lock()
	_ = c.w.Flush()
	c.mu.Unlock()
}

// settle waits until all that was asked is answered.
func (c *conn) settle() {
	c.await(func() bool {
		for _, l := range c.links {
			if l != nil && len(l.pending) > 0 {
				return false
			}
		}
		return true
	})
}

// await waits until is is true, or the connection gone.
func (c *conn) await(is func() bool) {
	c.mu.Lock()
	ok := is() || c.gone
	c.mu.Unlock()
	if ok {
		return
	}
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !is() && !c.gone {
		c.free.Wait()
	}
}

// link returns a connection to the server behind, number 0 or that of a shard. It is
// nil if there is none.
func (c *conn) link(i int) *link {
	for len(c.links) <= i {
		c.mu.Lock()
		c.links = append(c.links, nil)
		c.mu.Unlock()
	}
	if c.links[i] != nil {
		return c.links[i]
	}
	nc, err := c.s.back.dial()
	if err != nil {
		c.shutdown()
		return nil
	}
	l := &link{c: c, nc: nc, r: bufio.NewReaderSize(nc, 32<<10), w: bufio.NewWriterSize(nc, 32<<10)}
	c.mu.Lock()
	c.links[i] = l
	gone, user, resp, db := c.gone, c.user, c.resp, c.db
	c.mu.Unlock()
	if gone {
		_ = nc.Close()
		return nil
	}
	go l.read()
	l.become(user, resp)
	if db != "0" {
		l.quietly("SELECT", db)
	}
	return l
}

// become makes the link one of the user's.
func (l *link) become(user string, resp int) {
	l.quietly("HELLO", strconv.Itoa(resp), "AUTH", user, l.c.s.back.secret)
}

// quietly sends what the client does not know of.
func (l *link) quietly(args ...string) { l.send(&slot{silent: true}, args) }

func (l *link) send(sl *slot, args []string) {
	c := l.c
	c.mu.Lock()
	if !sl.silent {
		c.queue = append(c.queue, sl)
	}
	l.pending = append(l.pending, sl)
	c.mu.Unlock()
	_, _ = l.w.Write(appendCommand(l.w.AvailableBuffer(), args...))
}

// read takes the answers of the server behind.
func (l *link) read() {
	for {
		b, err := appendReply(nil, l.r)
		if err != nil {
			l.c.shutdown()
			return
		}
		l.c.answered(l, b, l.r.Buffered() == 0)
	}
}

func (c *conn) answered(l *link, b []byte, flush bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return
	case b[0] == '>':
		c.pushed(l, b)
	case len(l.pending) == 0: // RESP2, subscribed
		_, _ = c.w.Write(b)
	default:
		c.fill(l.take(), b)
		c.drain()
		if len(l.pending) == 0 {
			c.free.Broadcast()
		}
	}
	if flush {
		_ = c.w.Flush()
	}
}

func (l *link) take() *slot {
	sl := l.pending[0]
	l.pending[0] = nil
	l.pending = l.pending[1:]
	return sl
}

func (c *conn) fill(sl *slot, b []byte) {
	if sl.marks != nil {
		c.tracker.read(sl.marks)
		c.s.writes.end(sl.marks.writes)
	}
	if sl.edit != nil {
		b = sl.edit(b)
	}
	if sl.pushes > 0 { // refused
		_, _ = c.w.Write(b)
	}
	sl.done, sl.data = true, b
}

// pushed passes on what nobody has asked for, and the answers to SUBSCRIBE.
func (c *conn) pushed(l *link, b []byte) {
	if bytes.Contains(b[:min(len(b), 24)], []byte("\r\ninvalidate\r\n")) {
		c.invalidated(b)
		return
	}
	_, _ = c.w.Write(b)
	if len(l.pending) > 0 && l.pending[0].pushes > 0 && strings.Contains(string(b[:min(len(b), 32)]), "subscribe\r\n") {
		if l.pending[0].pushes--; l.pending[0].pushes == 0 {
			l.take()
			c.free.Broadcast()
		}
	}
}

// push writes what nobody has asked for.
func (c *conn) push(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.w.Write(b)
	_ = c.w.Flush()
}
