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
// less than the time in microseconds since 1970, and puts it under all keys for
// ttl.
func (s *Store) Raise(ctx context.Context, _ string, keys []string, floor uint64, ttl time.Duration) (uint64, error) {
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
	for _, key := range keys {
		s.putStamp(key, s.last, ttl)
	}
	return s.last, nil
}

// Stamps appends the stamp under each key to dst; 0 where there is none.
func (s *Store) Stamps(ctx context.Context, dst []uint64, keys []string) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, key := range keys {
		n, _ := s.stamps.get(key, now)
		dst = append(dst, n)
	}
	return dst, nil
}

// Settle is [Store.Stamps], but a missing stamp is created, for ttl, as the
// number given out last.
func (s *Store) Settle(ctx context.Context, _ string, dst []uint64, keys []string, ttl time.Duration) ([]uint64, error) {
	if err := checkStamps(ctx, ttl); err != nil {
		return dst, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, key := range keys {
		n, ok := s.stamps.get(key, now)
		if !ok {
			n = s.sequence()
			s.putStamp(key, n, ttl)
		}
		dst = append(dst, n)
	}
	return dst, nil
}

// putStamp needs s.mu.
func (s *Store) putStamp(key string, n uint64, ttl time.Duration) {
	now := s.now()
	for !s.stamps.put(key, n, now, after(now, ttl), maxStamps) {
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
