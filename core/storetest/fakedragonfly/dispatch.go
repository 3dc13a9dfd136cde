package main

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// handle answers a command, or sends it on.
func (c *conn) handle(args []string) {
	name := upper(args[0])
	c.s.called(name)
	if c.s.monitors.Load() > 0 && name != "AUTH" && name != "HELLO" {
		c.s.report(c, args)
	}
	if c.raw {
		c.sendRaw(args)
		return
	}
	if answer := c.atTheDoor(name, args); answer != nil {
		c.reply(answer)
		return
	}
	if c.multi == nil {
		if local, ok := locals[name]; ok {
			if local.after {
				c.settle()
			}
			if answer := c.refuseLocal(name, args); answer != nil {
				c.reply(answer)
				return
			}
			if answer := local.answer(c, args); answer != nil {
				c.reply(answer)
			}
			return
		}
	}
	c.forward(name, args)
}

// atTheDoor answers what needs no rights, and what is not known at all.
func (c *conn) atTheDoor(name string, args []string) []byte {
	switch name {
	case "AUTH":
		return c.auth(args)
	case "HELLO":
		return c.hello(args)
	case "QUIT":
		c.quits = true
		return simple("OK")
	}
	if !c.isAuthed() {
		return failure("-NOAUTH Authentication required.")
	}
	if _, known := c.s.commands[name]; !known && locals[name].answer == nil {
		return unknownCommand(name) // does not spoil a transaction
	}
	if foreignSyntax(name, args) {
		return failure(syntaxError)
	}
	return nil
}

func (c *conn) isAuthed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authed
}

// forward sends a command to the server behind.
func (c *conn) forward(name string, args []string) {
	s := c.s
	info := s.commands[name]
	keys := s.commands.keys(args)
	if len(keys) > 0 {
		s.awaken()
	}
	sl := &slot{}
	refused := c.burst.refuses(s, info.denyOOM || isEval(name))
	switch {
	case isEval(name):
		translated, answer := s.scripts.translate(name, args, refused, s)
		if answer != nil {
			if s.users.mayNot(c.who(), args) { // which comes before what is wrong with a script
				s.users.denied(c.who(), name, "")
				answer = noPermission(c.who())
			}
			c.reply(answer)
			return
		}
		sha := shaOf(name, args)
		args = translated
		sl.edit = func(b []byte) []byte { return s.scriptError(c, sha, b) }
	case refused:
		c.reply(failure(outOfMemory))
		return
	default:
		user := c.who()
		sl.edit = func(b []byte) []byte { return s.plainError(user, name, b) }
		if name == "SCAN" {
			args = withCursor(args, func(n uint64) uint64 { return n &^ cursorBit })
			sl.edit = func(b []byte) []byte { return s.plainError(user, name, largeCursor(b)) }
		}
	}
	c.mark(sl, name, info, keys)
	switch name {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		c.subscribe(sl, args)
		return
	case "MULTI":
		if c.multi == nil {
			c.multi = &batch{}
		}
	case "WATCH":
		c.watch = true
	}
	if l := c.lane(name, keys); l != nil {
		l.send(sl, args)
	}
	if name == "EXEC" || name == "DISCARD" {
		c.multi, c.watch = nil, false
	}
}

// mark notes what the command reads and writes, in a transaction until it ends.
func (c *conn) mark(sl *slot, name string, info command, keys []string) {
	marks := c.multi
	ends := name == "EXEC" || name == "DISCARD"
	if marks == nil {
		if len(keys) == 0 {
			return
		}
		marks = &batch{}
	}
	if len(keys) > 0 {
		if info.write || isEval(name) {
			marks.writes = append(marks.writes, c.s.writes.begin(keys)...)
		}
		if !info.write {
			endless := c.endless(keys)
			c.mu.Lock()
			marks.reads = append(marks.reads, c.tracker.reading(c.s.writes, keys, endless)...)
			c.mu.Unlock()
		}
	}
	if c.multi == nil || ends {
		sl.marks = marks
	}
}

// lane returns the link for a command: that of the shard that has all its keys, or the
// first one, which waits for all shards, as they wait for it. A connection that
// tracks, or is in a transaction, uses no other than the first.
func (c *conn) lane(name string, keys []string) *link {
	i := 0
	if c.multi == nil && !c.watch && len(keys) > 0 && !isEval(name) && !c.tracks() {
		i = c.s.shardOf(keys)
	}
	c.await(func() bool {
		for j, l := range c.links {
			if l != nil && len(l.pending) > 0 && (i == 0) != (j == 0) {
				return false
			}
		}
		return true
	})
	return c.link(i)
}

// subscribe has pushes for an answer, or in RESP2 any number of messages.
func (c *conn) subscribe(sl *slot, args []string) {
	c.settle()
	l := c.link(0)
	if l == nil {
		return
	}
	c.mu.Lock()
	c.raw = c.resp < 3
	c.mu.Unlock()
	if c.raw {
		c.sendRaw(args)
		return
	}
	sl.silent, sl.pushes = true, max(1, len(args)-1)
	l.send(sl, args)
}

func (c *conn) sendRaw(args []string) {
	if l := c.link(0); l != nil {
		_, _ = l.w.Write(appendCommand(l.w.AvailableBuffer(), args...))
	}
}

const outOfMemory = "Out of memory"

// plainError gives an error the words that Dragonfly has for it.
func (s *server) plainError(user, name string, b []byte) []byte {
	if b[0] != '-' {
		return b
	}
	text := string(b[1:])
	switch {
	case strings.HasPrefix(text, "NOPERM"), strings.HasPrefix(text, "EXECABORT") && strings.Contains(text, "NOPERM"):
		s.users.denied(user, name, text)
		return noPermission(user)
	case strings.HasPrefix(text, "OOM "):
		return failure(outOfMemory)
	}
	return b
}

func noPermission(user string) []byte { return failure("-NOPERM " + user + " has no ACL permissions") }

// report tells those who watch all commands.
func (s *server) report(c *conn, args []string) {
	now := time.Now()
	line := fmt.Sprintf("+%d.%06d [0 %s]", now.Unix(), now.Nanosecond()/1000, c.addr())
	for _, arg := range args {
		line += fmt.Sprintf(" %q", arg)
	}
	for _, other := range s.all() {
		other.mu.Lock()
		watches := other.monitor
		other.mu.Unlock()
		if watches {
			other.push([]byte(line + "\r\n"))
		}
	}
}

// addr is where the client is.
func (c *conn) addr() string {
	if c.nc.RemoteAddr().Network() == "unix" {
		return endpoint(c.nc.LocalAddr()) // a client's end has no name
	}
	return endpoint(c.nc.RemoteAddr())
}

func endpoint(addr net.Addr) string {
	if addr.Network() == "unix" {
		return addr.String() + ":0"
	}
	return addr.String()
}

func (c *conn) who() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user
}
