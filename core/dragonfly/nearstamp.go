package dragonfly

import (
	"context"
	"math"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// Stamps appends the stamp under each key to dst, a zero one for what is no stamp
// of ours, in one round trip. With [WithNear] it takes the copies of this process
// where there are any, even if ctx has ended, and asks the server for the others.
func (s *Store) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	if s.near == nil || len(keys) == 0 {
		return s.serverStamps(ctx, dst, keys)
	}
	if err := ctx.Err(); err != nil { // copies would answer all the same
		return dst, err
	}
	all, missing := s.near.stamps(dst, keys)
	if len(missing) > 0 {
		got, err := s.serverStamps(ctx, nil, missing)
		if err != nil {
			return dst, err
		}
		s.near.fill(all[len(dst):], got, missing)
	}
	return all, nil
}

// GetStamped is [Store.Get] and [Store.Stamps] in one round trip. With [WithNear]
// it takes the copies of this process where there are any, of the value, too.
func (s *Store) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	if s.near == nil {
		value, found, _, stamps, err := s.serverGetStamped(ctx, key, dst, keys)
		return value, found, stamps, err
	}
	if err := ctx.Err(); err != nil { // copies would answer all the same
		return nil, false, dst, err
	}
	// The stamps may be newer than the value, which is on the safe side.
	value, found := s.GetLocal(key)
	all, missing := s.near.stamps(dst, keys)
	var got []store.Stamp
	var err error
	switch {
	case found && len(missing) == 0:
		return value, true, all, nil
	case found:
		got, err = s.serverStamps(ctx, nil, missing)
	default:
		var raw []byte
		if value, found, raw, got, err = s.serverGetStamped(ctx, key, nil, missing); found {
			s.near.admit(key, value, raw)
		}
	}
	if err != nil {
		return nil, false, dst, err
	}
	s.near.fill(all[len(dst):], got, missing)
	return value, found, all, nil
}

// StampMark returns a number that is another one once the copy of a stamp that
// [Store.LocalStamps] has given was removed because it changed.
func (s *Store) StampMark() uint64 {
	if s.near == nil {
		return 0
	}
	return s.near.mark.Load()
}

// LocalStamps is [Store.Stamps] where this process has copies of all of them;
// found says so. They stay right while [Store.StampMark] returns mark, and for good
// at most.
func (s *Store) LocalStamps(dst []store.Stamp, keys []string) (stamps []store.Stamp, mark uint64, good time.Duration, found bool) {
	n := s.near
	if n == nil {
		return dst, 0, 0, false
	}
	mark = n.mark.Load() // before they are read
	until := int64(math.MaxInt64)
	for _, key := range keys {
		h, ok := n.get(key)
		if !ok || h.stamp == (store.Stamp{}) {
			return dst, mark, 0, false
		}
		dst, until = append(dst, h.stamp), min(until, h.until)
	}
	return dst, mark, time.Duration(until - n.now()), true
}

// stamps appends the copies of stamps to dst, and zero ones for the missing.
func (n *near) stamps(dst []store.Stamp, keys []string) (all []store.Stamp, missing []string) {
	for i, key := range keys {
		h, _ := n.get(key)
		stamp := h.stamp
		if stamp == (store.Stamp{}) {
			if missing == nil {
				missing = make([]string, 0, len(keys)-i)
			}
			missing = append(missing, key)
		}
		dst = append(dst, stamp)
	}
	return dst, missing
}

// fill puts what the server gave for the missing in their places.
func (n *near) fill(all, got []store.Stamp, missing []string) {
	for i, stamp := range got {
		for all[0] != (store.Stamp{}) {
			all = all[1:]
		}
		all[0], all = stamp, all[1:]
		if stamp != (store.Stamp{}) {
			n.admit(missing[i], nil, nil)
		}
	}
}

// settled removes the copies of stamps that say something else than what the server has
// made of them, so that what was just stored is found.
func (n *near) settled(keys []string, stamps []store.Stamp) {
	if n == nil {
		return
	}
	for i, stamp := range stamps {
		h, ok := n.copies.GetEntryQuietly(keys[i])
		if was := h.Value.stamp; ok && (was.Epoch != stamp.Epoch || was.Hard != stamp.Hard || was.Soft != stamp.Soft) {
			n.writingStamps(keys[i : i+1])
			n.written(keys[i])
		}
	}
}
