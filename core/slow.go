package cacheaside

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/recent"
	"github.com/cacheaside/cacheaside/core/store"
)

// slowAge is how long a large response is not stored after one under its key did not
// arrive in time.
const slowAge = time.Minute

// slowValues remembers the primary keys under which a large value did not arrive in time.
type slowValues struct {
	seen  recent.Map[struct{}]
	count atomic.Uint64
}

// note reports whether err is [store.ErrSlow], which is counted, and remembered for the
// primary key wire.
func (s *slowValues) note(wire string, err error, now time.Time) bool {
	if !errors.Is(err, store.ErrSlow) {
		return false
	}
	s.count.Add(1)
	s.seen.Put(wire, struct{}{}, now.UnixNano())
	return true
}

// lately reports whether a value of size bytes is not worth storing: the last one under
// wire could not be read, or written, in time.
func (s *slowValues) lately(wire string, size int, now time.Time) bool {
	if size < store.LargeValue {
		return false
	}
	_, slow := s.seen.Get(wire, now.UnixNano(), slowAge)
	return slow
}
