package memory

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrTooManyLocks is what [Store.Lock] returns, wrapped, when the store keeps as
// many locks and notes as it may.
var ErrTooManyLocks = errors.New("too many locks")

// maxLocks bounds locks and notes, which are not counted in bytes: each costs
// about 200 of them with its key.
const maxLocks = 1 << 16

// Lock takes the lock under key, with token as its content, for ttl. Where
// somebody else has it, it returns what is under key instead. Locks are kept
// apart from values, and are never evicted.
func (s *Store) Lock(ctx context.Context, key, token string, ttl time.Duration) (string, error) {
	if err := checkLock(ctx, token, ttl); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if holder, ok := s.locks.get(key, now); ok {
		return holder, nil
	}
	if !s.locks.put(key, token, now, after(now, ttl), maxLocks) {
		return "", fmt.Errorf("memory: %w: there are %d", ErrTooManyLocks, maxLocks)
	}
	return "", nil
}

// Extend lets the lock last for ttl from now on if token still holds it, and
// reports whether it does.
func (s *Store) Extend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if err := checkLock(ctx, token, ttl); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if holder, ok := s.locks.get(key, now); !ok || holder != token {
		return false, nil
	}
	return s.locks.put(key, token, now, after(now, ttl), maxLocks), nil
}

// Unlock gives the lock up if token still holds it. A note that is not empty
// takes its place for ttl.
func (s *Store) Unlock(ctx context.Context, key, token, note string, ttl time.Duration) error {
	if note == "" {
		ttl = 1 // it says nothing
	}
	if err := checkLock(ctx, token, ttl); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if holder, ok := s.locks.get(key, now); !ok || holder != token {
		return nil
	}
	if note == "" {
		delete(s.locks.entries, key)
	} else {
		s.locks.put(key, note, now, after(now, ttl), maxLocks)
	}
	return nil
}

// SetGuarded is [Store.Set] if token still holds the lock that is guard;
// otherwise nothing is written.
func (s *Store) SetGuarded(ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
	if err := checkLock(ctx, token, ttl); err != nil {
		return false, err
	}
	// Until the value is there, nobody ends the lock.
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, ok := s.locks.get(guard, s.now()); !ok || holder != token {
		return false, nil
	}
	if err := s.set(key, value, ttl); err != nil {
		return false, err
	}
	return true, nil
}

func checkLock(ctx context.Context, token string, ttl time.Duration) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case token == "":
		return errors.New("memory: the token is empty: it could not be told from no lock")
	case ttl <= 0:
		return fmt.Errorf("memory: ttl is %v: it must be positive", ttl)
	}
	return nil
}

// after is now+ttl, or the end of time.
func after(now int64, ttl time.Duration) int64 {
	if end := now + int64(ttl); end > now {
		return end
	}
	return 1<<63 - 1
}
