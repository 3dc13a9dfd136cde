package main

import "sync"

// writes knows which writes are under way, so that it can be told why the server behind
// says that a key has changed: it says the same of a write, of expiry and of eviction,
// and Dragonfly does not.
type writes struct {
	mu   sync.Mutex
	keys map[string]*written
	held int // pushes that wait for something to happen
}

// written counts the writes of a key.
type written struct {
	key         string
	began, done uint64
	readers     int
}

// reading is a read under way by somebody who wants to be told of writes: what was
// written before it began.
type reading struct {
	key     string
	seen    uint64
	endless bool
}

// tracker is what one connection is told of. Guarded by the mutex of the connection.
type tracker struct {
	on, optIn, optOut, deaf bool // deaf: NOLOOP, after which no push ever comes
	keys                    map[string]*tracked
	held                    [][]byte
}

type tracked struct {
	*written
	seen    uint64 // writes that had ended before the last read was sent
	endless bool   // it had no TTL then
}

func newWrites() *writes { return &writes{keys: map[string]*written{}} }

func (w *writes) entry(key string) *written {
	e := w.keys[key]
	if e == nil {
		e = &written{key: key}
		w.keys[key] = e
	}
	return e
}

func (w *writes) tidy(e *written) {
	if e.readers == 0 && e.began == e.done {
		delete(w.keys, e.key)
	}
}

func (w *writes) begin(keys []string) []*written {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun := make([]*written, len(keys))
	for i, key := range keys {
		begun[i] = w.entry(key)
		begun[i].began++
	}
	return begun
}

func (w *writes) end(begun []*written) {
	if len(begun) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range begun {
		e.done++
		w.tidy(e)
	}
}

// listens reports whether the client wants to be told, and will be.
func (t *tracker) listens() bool { return t.on && !t.deaf }

// reading notes that keys are about to be read. Those in endless have no TTL.
func (t *tracker) reading(w *writes, keys []string, endless map[string]bool) []reading {
	if !t.listens() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	readings := make([]reading, len(keys))
	for i, key := range keys {
		if t.keys[key] == nil {
			e := w.entry(key)
			e.readers++
			t.keys[key] = &tracked{written: e}
		}
		readings[i] = reading{key, t.keys[key].done, endless[key]}
	}
	return readings
}

// read takes note of the answers.
func (t *tracker) read(b *batch) {
	for _, r := range b.reads {
		if k := t.keys[r.key]; k != nil {
			k.seen, k.endless = r.seen, r.endless
		}
	}
}

func (t *tracker) leave(w *writes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range t.keys {
		k.readers--
		w.tidy(k.written)
	}
	t.keys = nil
	w.held -= len(t.held)
	t.held = nil
}

// lossy reports whether Dragonfly says nothing when a key with a TTL is gone by
// itself: short ASCII keys, and all others that are not ASCII.
func lossy(key string) bool {
	for i := range len(key) {
		if key[i] >= 0x80 {
			return true
		}
	}
	return len(key) >= 2 && len(key) <= 16
}

// endless are those of the keys that have no TTL, as far as anybody may need to know.
func (c *conn) endless(keys []string) (endless map[string]bool) {
	c.mu.Lock()
	listens := c.tracker.listens()
	c.mu.Unlock()
	for _, key := range keys {
		if listens && lossy(key) && c.s.back.do("PTTL", key).text == "-1" {
			if endless == nil {
				endless = map[string]bool{}
			}
			endless[key] = true
		}
	}
	return endless
}

func (c *conn) tracks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tracker.on
}

// invalidated is told by the server behind that keys have changed. What is a write is
// passed on. A notice of expiry or eviction is lost, or waits until something happens.
func (c *conn) invalidated(push []byte) {
	v, err := parseReply(push)
	if err != nil || len(v.items) != 2 || v.items[1].null {
		_, _ = c.w.Write(push)
		return
	}
	w := c.s.writes
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range v.items[1].items {
		one := invalidation(key.text)
		k := c.tracker.keys[key.text]
		switch {
		case k == nil || k.began > k.seen:
			_, _ = c.w.Write(one)
		case !lossy(key.text) || k.endless:
			c.tracker.held = append(c.tracker.held, one)
			w.held++
		}
	}
}

func invalidation(key string) []byte {
	return append([]byte(">2\r\n"), append(bulk("invalidate"), array(bulk(key))...)...)
}

// awaken lets go what waits: an idle server sends nothing.
func (s *server) awaken() {
	s.writes.mu.Lock()
	held := s.writes.held
	s.writes.mu.Unlock()
	if held == 0 {
		return
	}
	for _, c := range s.all() {
		c.mu.Lock()
		for _, push := range c.tracker.held {
			_, _ = c.w.Write(push)
		}
		if n := len(c.tracker.held); n > 0 {
			_ = c.w.Flush()
			s.writes.mu.Lock()
			s.writes.held -= n
			s.writes.mu.Unlock()
		}
		c.tracker.held = nil
		c.mu.Unlock()
	}
}

// setTracking is CLIENT TRACKING.
func (c *conn) setTracking(args []string) []byte {
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	if resp < 3 {
		return failure("Client tracking is currently not supported for RESP2. Please use RESP3.")
	}
	if len(args) == 0 || len(args) > 3 {
		return failure(syntaxError)
	}
	t := tracker{keys: map[string]*tracked{}}
	switch upper(args[0]) {
	case "ON":
		t.on = true
	case "OFF":
	default:
		return failure(syntaxError)
	}
	for _, arg := range args[1:] {
		switch upper(arg) {
		case "OPTIN":
			t.optIn = true
		case "OPTOUT":
			t.optOut = true
		case "NOLOOP":
			t.deaf = true
		default:
			return failure(syntaxError)
		}
	}
	if t.optIn && t.optOut {
		return failure(syntaxError)
	}
	l := c.link(0)
	if l == nil {
		return failure("no connection")
	}
	l.quietly("CLIENT", "TRACKING", "OFF")
	if t.on && !t.deaf {
		command := []string{"CLIENT", "TRACKING", "ON"}
		if t.optIn {
			command = append(command, "OPTIN")
		}
		if t.optOut {
			command = append(command, "OPTOUT")
		}
		l.quietly(command...)
	}
	c.mu.Lock()
	c.tracker.leave(c.s.writes)
	c.tracker = t
	c.mu.Unlock()
	return simple("OK")
}

// setCaching is CLIENT CACHING.
func (c *conn) setCaching(args []string) []byte {
	c.mu.Lock()
	t := c.tracker
	c.mu.Unlock()
	if len(args) != 1 {
		return failure(syntaxError)
	}
	answer := upper(args[0])
	switch {
	case answer == "YES" && !t.optIn:
		return failure("CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode")
	case answer == "NO" && !t.optOut:
		return failure("CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode")
	case answer != "YES" && answer != "NO":
		return failure(syntaxError)
	}
	if l := c.link(0); l != nil && !t.deaf {
		l.quietly("CLIENT", "CACHING", answer)
	}
	return simple("OK")
}
