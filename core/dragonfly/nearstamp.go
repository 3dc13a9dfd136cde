package dragonfly

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core"
)

// Stamps appends the stamp under each key to dst, a zero one for what is no stamp
// of ours, in one round trip. With [WithNear] it takes the copies of this process
// where there are any, even if ctx has ended, and asks the server for the others.
func (s *Store) Stamps(ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
	if s.near == nil || len(keys) == 0 {
		return s.serverStamps(ctx, dst, keys)
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
func (s *Store) GetStamped(ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
	if s.near == nil {
		return s.serverGetStamped(ctx, key, dst, keys)
	}
	// The stamps may be newer than the value, which is on the safe side.
	value, found := s.near.get(key)
	all, missing := s.near.stamps(dst, keys)
	var got []core.Stamp
	var err error
	switch {
	case found && len(missing) == 0:
		return value, true, all, nil
	case found:
		got, err = s.serverStamps(ctx, nil, missing)
	default:
		if value, found, got, err = s.serverGetStamped(ctx, key, nil, missing); found {
			s.near.admit(key, len(value))
		}
	}
	if err != nil {
		return nil, false, dst, err
	}
	s.near.fill(all[len(dst):], got, missing)
	return value, found, all, nil
}

// stamps appends the copies of stamps to dst, and zero ones for the missing.
func (n *near) stamps(dst []core.Stamp, keys []string) (all []core.Stamp, missing []string) {
	for i, key := range keys {
		var stamp core.Stamp
		if text, ok := n.get(key); ok {
			stamp = parseStamp(key, rueidis.BinaryString(text))
		}
		if stamp == (core.Stamp{}) {
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
func (n *near) fill(all, got []core.Stamp, missing []string) {
	for i, stamp := range got {
		for all[0] != (core.Stamp{}) {
			all = all[1:]
		}
		all[0], all = stamp, all[1:]
		if stamp != (core.Stamp{}) {
			n.admit(missing[i], 2*len("9007199254740991"))
		}
	}
}
