package memory

import (
	"context"
	"fmt"
	"math"
	"time"
)

// maxStamps bounds the stamps, which are not counted in bytes. Beyond it some
// are dropped, which a stamp may be at any time.
const maxStamps = 1 << 16

// stamp is core.Stamp, which cannot be named here: core imports this package.
type stamp = struct{ Hard, Soft uint64 }

// Sequence returns the number given out last. There is one sequence for all
// clocks: it grows for each of them.
func (s *Store) Sequence(ctx context.Context, _ string) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sequence(), nil
}

// sequence needs s.mu.
func (s *Store) sequence() uint64 {
	if s.last == 0 {
		s.last = s.micros()
	}
	return s.last
}

// Raise takes the next number of the sequence, which exceeds floor and is not
// less than the time in microseconds since 1970, and makes it the Soft of all
// keys and, unless soft, their Hard, for ttl.
func (s *Store) Raise(ctx context.Context, _ string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
	if err := checkStamps(ctx, ttl); err != nil {
		return 0, err
	}
	if floor >= math.MaxInt64 {
		return 0, fmt.Errorf("memory: floor is %d: it must be below %d", floor, math.MaxInt64)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// All stamps are at most s.last, which is never lost.
	s.last = max(s.last+1, floor+1, s.micros())
	now := s.now()
	for _, key := range keys {
		st := stamp{s.last, s.last}
		if soft {
			if old, ok := s.stamps.get(key, now); ok {
				st.Hard = old.Hard
			}
		}
		s.putStamp(key, st, now, ttl)
	}
	s.mark.Add(1)
	return s.last, nil
}

// StampMark returns a number that is another one once a stamp was raised.
func (s *Store) StampMark() uint64 { return s.mark.Load() }

// LocalStamps is [Store.Stamps] without a context; found says that there is one
// under each key. They stay right while [Store.StampMark] returns mark, and for
// good at most.
func (s *Store) LocalStamps(dst []stamp, keys []string) (stamps []stamp, mark uint64, good time.Duration, found bool) {
	mark = s.mark.Load() // before they are read
	s.mu.Lock()
	stamps = s.appendStamps(dst, keys)
	s.mu.Unlock()
	for _, st := range stamps[len(dst):] {
		if st.Hard == 0 {
			return dst, mark, 0, false
		}
	}
	return stamps, mark, math.MaxInt64, true
}

// Stamps appends the stamp under each key to dst; a zero one where there
// is none.
func (s *Store) Stamps(ctx context.Context, dst []stamp, keys []string) ([]stamp, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appendStamps(dst, keys), nil
}

// GetStamped is [Store.Get] and [Store.Stamps]. The stamps are at least as
// new as the value.
func (s *Store) GetStamped(ctx context.Context, key string, dst []stamp, keys []string) ([]byte, bool, []stamp, error) {
	value, found, err := s.Get(ctx, key)
	if err != nil || len(keys) == 0 {
		return value, found, dst, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return value, found, s.appendStamps(dst, keys), nil
}

// appendStamps needs s.mu.
func (s *Store) appendStamps(dst []stamp, keys []string) []stamp {
	now := s.now()
	for _, key := range keys {
		st, _ := s.stamps.get(key, now)
		dst = append(dst, st)
	}
	return dst
}

// Settle is [Store.Stamps], but a missing stamp is created, for ttl, as the
// number given out last.
func (s *Store) Settle(ctx context.Context, _ string, dst []stamp, keys []string, ttl time.Duration) ([]stamp, error) {
	if err := checkStamps(ctx, ttl); err != nil {
		return dst, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, key := range keys {
		st, ok := s.stamps.get(key, now)
		if !ok {
			n := s.sequence()
			st = stamp{n, n}
			s.putStamp(key, st, now, ttl)
		}
		dst = append(dst, st)
	}
	return dst, nil
}

// putStamp needs s.mu.
func (s *Store) putStamp(key string, st stamp, now int64, ttl time.Duration) {
	for !s.stamps.put(key, st, now, after(now, ttl), maxStamps) {
		s.stamps.drop(maxStamps / 64)
	}
}

func checkStamps(ctx context.Context, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("memory: ttl is %v: it must be positive", ttl)
	}
	return nil
}
