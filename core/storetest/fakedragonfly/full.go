package main

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// burst is what a client has sent at once. In a bad one some writes are refused, as they
// are where eviction does not keep up.
type burst struct {
	writes  int
	refused int // how many are still to be refused
}

// refuses reports whether a write is refused though there is room, or could be.
func (b *burst) refuses(s *server, write bool) bool {
	if !write {
		return false
	}
	b.writes++
	if b.refused == 0 && b.writes >= s.refuseDepth && s.chance(s.refusal()) {
		b.refused = 1 + s.intN(4)
	}
	if b.refused == 0 {
		return false
	}
	b.refused--
	return true
}

// refuseFull is the chance, of each write of a burst, that it begins a run of refused ones
// where memory is full. Of the bursts of 30 a quarter has some: 11 to 30 in 100 were measured.
const refuseFull = 0.01

// refusal is that chance now. What the environment says goes for a server with room as well.
func (s *server) refusal() float64 {
	if s.refuse != nil {
		return *s.refuse
	}
	if s.memory.full(s) {
		return refuseFull
	}
	return 0
}

// pressure is how full the server behind was a moment ago.
type pressure struct {
	mu    sync.Mutex
	asked time.Time
	is    bool
}

// full reports whether less than a tenth of memory is free, where Dragonfly evicts.
func (p *pressure) full(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) < 10*time.Millisecond {
		return p.is
	}
	used, _ := strconv.ParseInt(infoOf(s.behind("memory"))["used_memory"], 10, 64)
	s.mu.Lock()
	limit := s.maxmemory
	s.mu.Unlock()
	p.is, p.asked = used >= limit-limit/10, time.Now()
	return p.is
}

// infoOf has the values of a section of INFO by their names.
func infoOf(section string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(section) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
		values[name] = text
	}
	return values
}
