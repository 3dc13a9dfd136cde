package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// whole is a store that can do everything.
type whole interface {
	core.Store
	core.Guarder
	core.Stamper
}

// broken changes one thing in a store that is right.
type broken struct {
	whole
	lock   func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error)
	extend func(s whole, ctx context.Context, key, token string, ttl time.Duration) (bool, error)
	unlock func(s whole, ctx context.Context, key, token, note string, ttl time.Duration) error
	guard  func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error)
	last   func(s whole, ctx context.Context, clock string) (uint64, error)
	raise  func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error)
	stamps func(s whole, ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error)
	settle func(s whole, ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error)
	both   func(s whole, ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error)
	get    func(s core.Store, ctx context.Context, key string) ([]byte, bool, error)
	set    func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error
	delete func(s core.Store, ctx context.Context, key string) error
}

func (b broken) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if b.get != nil {
		return b.get(b.whole, ctx, key)
	}
	return b.whole.Get(ctx, key)
}

func (b broken) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if b.set != nil {
		return b.set(b.whole, ctx, key, value, ttl)
	}
	return b.whole.Set(ctx, key, value, ttl)
}

func (b broken) Delete(ctx context.Context, key string) error {
	if b.delete != nil {
		return b.delete(b.whole, ctx, key)
	}
	return b.whole.Delete(ctx, key)
}

func (b broken) Lock(ctx context.Context, key, token string, ttl time.Duration) (string, error) {
	if b.lock != nil {
		return b.lock(b.whole, ctx, key, token, ttl)
	}
	return b.whole.Lock(ctx, key, token, ttl)
}

func (b broken) Extend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if b.extend != nil {
		return b.extend(b.whole, ctx, key, token, ttl)
	}
	return b.whole.Extend(ctx, key, token, ttl)
}

func (b broken) Unlock(ctx context.Context, key, token, note string, ttl time.Duration) error {
	if b.unlock != nil {
		return b.unlock(b.whole, ctx, key, token, note, ttl)
	}
	return b.whole.Unlock(ctx, key, token, note, ttl)
}

func (b broken) SetGuarded(ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
	if b.guard != nil {
		return b.guard(b.whole, ctx, guard, token, key, value, ttl)
	}
	return b.whole.SetGuarded(ctx, guard, token, key, value, ttl)
}

func (b broken) Sequence(ctx context.Context, clock string) (uint64, error) {
	if b.last != nil {
		return b.last(b.whole, ctx, clock)
	}
	return b.whole.Sequence(ctx, clock)
}

func (b broken) Raise(ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
	if b.raise != nil {
		return b.raise(b.whole, ctx, clock, keys, soft, floor, ttl)
	}
	return b.whole.Raise(ctx, clock, keys, soft, floor, ttl)
}

func (b broken) Stamps(ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
	if b.stamps != nil {
		return b.stamps(b.whole, ctx, dst, keys)
	}
	return b.whole.Stamps(ctx, dst, keys)
}

func (b broken) Settle(ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
	if b.settle != nil {
		return b.settle(b.whole, ctx, clock, dst, keys, ttl)
	}
	return b.whole.Settle(ctx, clock, dst, keys, ttl)
}

func (b broken) GetStamped(ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
	if b.both != nil {
		return b.both(b.whole, ctx, key, dst, keys)
	}
	return b.whole.GetStamped(ctx, key, dst, keys)
}

// stamped is a core.Stamper on the store's pairs, which are no core.Stamp.
type stamped struct{ *memory.Store }

func (s stamped) Stamps(ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
	pairs, err := s.Store.Stamps(ctx, nil, keys)
	return appendStamps(dst, pairs), err
}

func (s stamped) Settle(ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
	pairs, err := s.Store.Settle(ctx, clock, nil, keys, ttl)
	return appendStamps(dst, pairs), err
}

func (s stamped) GetStamped(ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
	value, found, pairs, err := s.Store.GetStamped(ctx, key, nil, keys)
	return value, found, appendStamps(dst, pairs), err
}

func appendStamps(dst []core.Stamp, pairs []struct{ Hard, Soft uint64 }) []core.Stamp {
	for _, pair := range pairs {
		dst = append(dst, core.Stamp{Hard: pair.Hard, Soft: pair.Soft})
	}
	return dst
}

// changedRaise is a store that raises, but with other arguments.
func changedRaise(change func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration)) broken {
	return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
		keys, floor, ttl = change(keys, floor, ttl)
		return s.Raise(ctx, clock, keys, soft, floor, ttl)
	}}
}

// holder takes the lock if it is free, and returns who has it.
func holder(ctx context.Context, s whole, key string) string {
	holder, _ := s.Lock(ctx, key, "probe", time.Hour)
	if holder == "" {
		_ = s.Unlock(ctx, key, "probe", "", 0)
	}
	return holder
}

// changedSet and changedKey are broken stores that only change arguments.
func changedSet(change func([]byte, time.Duration) ([]byte, time.Duration)) broken {
	return broken{set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		value, ttl = change(value, ttl)
		return s.Set(ctx, key, value, ttl)
	}}
}

func changedKey(change func(string) string) broken {
	return broken{
		get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			return s.Get(ctx, change(key))
		},
		set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.Set(ctx, change(key), value, ttl)
		},
		delete: func(s core.Store, ctx context.Context, key string) error { return s.Delete(ctx, change(key)) },
	}
}

// brokenStores has for each case of the suite what it must find.
var brokenStores = map[string]func() broken{
	"Absent/error": func() broken {
		return broken{get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			if !found && err == nil {
				err = errors.New("not found")
			}
			return v, found, err
		}}
	},
	"SetGet/read once": func() broken {
		return broken{get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			_ = s.Delete(ctx, key)
			return v, found, err
		}}
	},
	"Overwrite/only once": func() broken {
		return broken{set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if _, found, _ := s.Get(ctx, key); found {
				return nil
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"EmptyValue/absent": func() broken {
		return broken{get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, _, err := s.Get(ctx, key)
			return v, len(v) > 0, err
		}}
	},
	"BinaryValue/cut at NUL": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) {
			v, _, _ = bytes.Cut(v, []byte{0})
			return v, ttl
		})
	},
	"LargeValue/cut at 1 MiB": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) { return v[:min(len(v), 1<<20)], ttl })
	},
	"LargeReplaced/kept when large": func() broken {
		return broken{set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if old, _, _ := s.Get(ctx, key); len(old) >= 64<<10 && len(value) >= 64<<10 {
				return nil
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"LargeExpiry/never when large": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) {
			if len(v) >= 64<<10 {
				ttl = time.Hour
			}
			return v, ttl
		})
	},
	"LargeConcurrent/written in halves": func() broken {
		var one sync.Mutex
		var mixed, seen atomic.Bool
		return broken{
			get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
				late := mixed.Load()
				v, found, err := s.Get(ctx, key)
				if late {
					seen.Store(true)
				}
				return v, found, err
			},
			set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
				one.Lock()
				defer one.Unlock()
				if old, _, _ := s.Get(ctx, key); !mixed.Load() && len(value) >= 64<<10 && len(old) >= 64<<10 {
					both := append(append([]byte{}, value[:32<<10]...), old[32<<10:]...)
					if err := s.Set(ctx, key, both, ttl); err != nil {
						return err
					}
					mixed.Store(true)
					// Until somebody has read it; where nobody reads, not for ever.
					for end := time.Now().Add(10 * time.Second); !seen.Load() && time.Now().Before(end); {
						time.Sleep(time.Millisecond)
					}
				}
				return s.Set(ctx, key, value, ttl)
			},
		}
	},
	"GuardedLarge/unguarded when large": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			if len(value) >= 64<<10 {
				return true, s.Set(ctx, key, value, ttl)
			}
			return s.SetGuarded(ctx, guard, token, key, value, ttl)
		}}
	},
	"LongKey/cut at 250":    func() broken { return changedKey(func(k string) string { return k[:min(len(k), 250)] }) },
	"KeysDiffer/fold case":  func() broken { return changedKey(strings.ToLower) },
	"KeysDiffer/trim space": func() broken { return changedKey(strings.TrimSpace) },
	"Delete/nothing": func() broken {
		return broken{delete: func(core.Store, context.Context, string) error { return nil }}
	},
	"Delete/error if absent": func() broken {
		return broken{delete: func(s core.Store, ctx context.Context, key string) error {
			if _, found, _ := s.Get(ctx, key); !found {
				return errors.New("not found")
			}
			return s.Delete(ctx, key)
		}}
	},
	"Expiry/never": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) { return v, time.Hour })
	},
	"Expiry/whole seconds up": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) {
			return v, (ttl + time.Second - 1).Truncate(time.Second)
		})
	},
	"Expiry/early": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) { return v, ttl / 2 })
	},
	"ExpiryReplaced/kept": func() broken {
		first := map[string]time.Time{}
		return broken{set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if end, ok := first[key]; ok {
				ttl = time.Until(end)
			} else {
				first[key] = time.Now().Add(ttl)
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"TinyTTL/refused": func() broken {
		return broken{set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if ttl < time.Millisecond {
				return errors.New("ttl is 0 ms")
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"BadTTL/for ever": func() broken {
		return changedSet(func(v []byte, ttl time.Duration) ([]byte, time.Duration) {
			if ttl <= 0 {
				ttl = time.Hour
			}
			return v, ttl
		})
	},
	"DoneContext/ignored": func() broken {
		return broken{get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			return s.Get(context.WithoutCancel(ctx), key)
		}}
	},
	"Immutable/one buffer": func() broken {
		buffer := make([]byte, 16<<20)
		return broken{get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			return buffer[:copy(buffer, v)], found, err
		}}
	},
	"Concurrent/mixed up": func() broken {
		var last atomic.Pointer[[]byte]
		return broken{
			get: func(s core.Store, ctx context.Context, key string) ([]byte, bool, error) {
				v, found, err := s.Get(ctx, key)
				if found {
					v = *last.Load()
				}
				return v, found, err
			},
			set: func(s core.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
				last.Store(&value)
				return s.Set(ctx, key, value, ttl)
			},
		}
	},
	"Lock/no holder": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			got, err := s.Lock(ctx, key, token, ttl)
			if got != "" {
				got = "somebody"
			}
			return got, err
		}}
	},
	"LockExclusive/replaces": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			_ = s.Unlock(ctx, key, holder(ctx, s, key), "", 0)
			return s.Lock(ctx, key, token, ttl)
		}}
	},
	"LockExclusive/ask, then take": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			if got := holder(ctx, s, key); got != "" && got != "probe" {
				return got, nil
			}
			time.Sleep(time.Millisecond)
			_, err := s.Lock(ctx, key, token, ttl)
			return "", err
		}}
	},
	"LockExpiry/never": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			return s.Lock(ctx, key, token, max(ttl, time.Hour))
		}}
	},
	"LockExtend/nothing": func() broken {
		return broken{extend: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
			return holder(ctx, s, key) == token, nil
		}}
	},
	"LockExtend/by anybody": func() broken {
		return broken{extend: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
			return s.Extend(ctx, key, holder(ctx, s, key), ttl)
		}}
	},
	"Unlock/without comparing": func() broken {
		return broken{unlock: func(s whole, ctx context.Context, key, _, note string, ttl time.Duration) error {
			token := holder(ctx, s, key)
			if token == "" {
				return nil
			}
			return s.Unlock(ctx, key, token, note, ttl)
		}}
	},
	"LockNote/dropped": func() broken {
		return broken{unlock: func(s whole, ctx context.Context, key, token, note string, ttl time.Duration) error {
			return s.Unlock(ctx, key, token, "", ttl)
		}}
	},
	"LockNote/for ever": func() broken {
		return broken{unlock: func(s whole, ctx context.Context, key, token, note string, ttl time.Duration) error {
			return s.Unlock(ctx, key, token, note, max(ttl, time.Hour))
		}}
	},
	"LockBinary/cut at NUL": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			got, err := s.Lock(ctx, key, token, ttl)
			got, _, _ = strings.Cut(got, "\x00")
			return got, err
		}}
	},
	"LockRefused/for ever": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			if ttl <= 0 {
				ttl = time.Hour
			}
			return s.Lock(ctx, key, token, ttl)
		}}
	},
	"Guarded/never": func() broken {
		return broken{guard: func(whole, context.Context, string, string, string, []byte, time.Duration) (bool, error) {
			return false, nil
		}}
	},
	"Guarded/no empty value": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			if len(value) == 0 {
				return true, nil
			}
			return s.SetGuarded(ctx, guard, token, key, value, ttl)
		}}
	},
	"Guarded/cut at 64 KiB": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			return s.SetGuarded(ctx, guard, token, key, value[:min(len(value), 64<<10)], ttl)
		}}
	},
	"Guarded/only once": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			written, err := s.SetGuarded(ctx, guard, token, key, value, ttl)
			_ = s.Unlock(ctx, guard, token, "", 0)
			return written, err
		}}
	},
	"GuardedNot/ignored": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			written, _ := s.SetGuarded(ctx, guard, token, key, value, ttl)
			return written, s.Set(ctx, key, value, ttl)
		}}
	},
	"GuardedNot/by anybody": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, _, key string, value []byte, ttl time.Duration) (bool, error) {
			return s.SetGuarded(ctx, guard, holder(ctx, s, guard), key, value, ttl)
		}}
	},
	"GuardedNot/unlocked is free": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			if holder(ctx, s, guard) == "" {
				return true, s.Set(ctx, key, value, ttl)
			}
			return s.SetGuarded(ctx, guard, token, key, value, ttl)
		}}
	},
	"GuardedNot/says it is written": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.SetGuarded(ctx, guard, token, key, value, ttl)
			return true, err
		}}
	},
	"GuardedNot/Delete leaves guards": func() broken {
		return broken{delete: func(s core.Store, ctx context.Context, key string) error {
			locks := s.(whole)
			token := holder(ctx, locks, key)
			err := s.Delete(ctx, key)
			if token != "" {
				_, _ = locks.Lock(ctx, key, token, time.Hour)
			}
			return err
		}}
	},
	"GuardedNot/removes the old value": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			_ = s.Delete(ctx, key)
			return s.SetGuarded(ctx, guard, token, key, value, ttl)
		}}
	},
	"GuardedExpiry/guard for ever": func() broken {
		return broken{lock: func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error) {
			return s.Lock(ctx, key, token, max(ttl, time.Hour))
		}}
	},
	"GuardedExpiry/value for ever": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			return s.SetGuarded(ctx, guard, token, key, value, max(ttl, time.Hour))
		}}
	},
	"GuardedConcurrent/look, then write": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			if held, err := s.Extend(ctx, guard, token, time.Hour); !held {
				return false, err
			}
			time.Sleep(time.Millisecond)
			return true, s.Set(ctx, key, value, ttl)
		}}
	},
	"GuardedConcurrent/Delete returns early": func() broken {
		return broken{delete: func(s core.Store, ctx context.Context, key string) error {
			if strings.HasSuffix(key, "guard") {
				time.AfterFunc(time.Millisecond, func() { _ = s.Delete(context.WithoutCancel(ctx), key) })
				return nil
			}
			return s.Delete(ctx, key)
		}}
	},
	"GuardedRefused/no token, no guard": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			if token == "" {
				return true, s.Set(ctx, key, value, ttl)
			}
			return s.SetGuarded(ctx, guard, token, key, value, ttl)
		}}
	},
	"GuardedDoneContext/ignored": func() broken {
		return broken{guard: func(s whole, ctx context.Context, guard, token, key string, value []byte, ttl time.Duration) (bool, error) {
			return s.SetGuarded(context.WithoutCancel(ctx), guard, token, key, value, ttl)
		}}
	},
	"StampSequence/grows by itself": func() broken {
		return broken{last: func(s whole, ctx context.Context, clock string) (uint64, error) {
			return s.Raise(ctx, clock, nil, false, 0, time.Hour)
		}}
	},
	"StampSequence/stands still": func() broken {
		var first atomic.Uint64
		return broken{last: func(s whole, ctx context.Context, clock string) (uint64, error) {
			n, err := s.Sequence(ctx, clock)
			first.CompareAndSwap(0, n)
			return first.Load(), err
		}}
	},
	"StampRaise/first key only": func() broken {
		return changedRaise(func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			return keys[:min(1, len(keys))], floor, ttl
		})
	},
	"StampRaise/dst dropped": func() broken {
		return broken{stamps: func(s whole, ctx context.Context, _ []core.Stamp, keys []string) ([]core.Stamp, error) {
			return s.Stamps(ctx, nil, keys)
		}}
	},
	"StampSoft/hard": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, _ bool, floor uint64, ttl time.Duration) (uint64, error) {
			return s.Raise(ctx, clock, keys, false, floor, ttl)
		}}
	},
	"StampSoft/never hard": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, _ bool, floor uint64, ttl time.Duration) (uint64, error) {
			return s.Raise(ctx, clock, keys, true, floor, ttl)
		}}
	},
	"StampSoft/one number": func() broken {
		return broken{stamps: func(s whole, ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
			dst, err := s.Stamps(ctx, dst, keys)
			for i := range dst {
				dst[i].Soft = dst[i].Hard
			}
			return dst, err
		}}
	},
	"StampSoft/lost is not hard": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
			if soft {
				_, _ = s.Settle(ctx, clock, nil, keys, ttl)
			}
			return s.Raise(ctx, clock, keys, soft, floor, ttl)
		}}
	},
	"StampedGet/nothing found, no stamps": func() broken {
		return broken{both: func(s whole, ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
			value, found, all, err := s.GetStamped(ctx, key, dst, keys)
			if !found {
				all = append(dst, make([]core.Stamp, len(keys))...)
			}
			return value, found, all, err
		}}
	},
	"StampedGet/dst dropped": func() broken {
		return broken{both: func(s whole, ctx context.Context, key string, _ []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
			return s.GetStamped(ctx, key, nil, keys)
		}}
	},
	"StampedGet/remembered": func() broken {
		var mu sync.Mutex
		seen := map[string][]byte{}
		return broken{both: func(s whole, ctx context.Context, key string, dst []core.Stamp, keys []string) ([]byte, bool, []core.Stamp, error) {
			value, found, all, err := s.GetStamped(ctx, key, dst, keys)
			mu.Lock()
			defer mu.Unlock()
			if old, ok := seen[key]; ok {
				return old, true, all, err
			} else if found {
				seen[key] = value
			}
			return value, found, all, err
		}}
	},
	"StampFloor/ignored": func() broken {
		return changedRaise(func(keys []string, _ uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			return keys, 0, ttl
		})
	},
	"StampSettle/creates nothing": func() broken {
		return broken{settle: func(s whole, ctx context.Context, clock string, dst []core.Stamp, keys []string, _ time.Duration) ([]core.Stamp, error) {
			dst, err := s.Stamps(ctx, dst, keys)
			last, _ := s.Sequence(ctx, clock)
			for i, stamp := range dst {
				if stamp.Hard == 0 {
					dst[i] = core.Stamp{Hard: last, Soft: last}
				}
			}
			return dst, err
		}}
	},
	"StampSettle/replaces": func() broken {
		return broken{settle: func(s whole, ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
			_, _ = s.Raise(ctx, clock, keys, false, 0, ttl)
			return s.Settle(ctx, clock, dst, keys, ttl)
		}}
	},
	"StampSettle/next number": func() broken {
		return broken{settle: func(s whole, ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
			_, _ = s.Raise(ctx, clock, nil, false, 0, ttl)
			return s.Settle(ctx, clock, dst, keys, ttl)
		}}
	},
	"StampExpiry/never": func() broken {
		return changedRaise(func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			return keys, floor, max(ttl, time.Hour)
		})
	},
	"StampExpiry/settled for ever": func() broken {
		return broken{settle: func(s whole, ctx context.Context, clock string, dst []core.Stamp, keys []string, ttl time.Duration) ([]core.Stamp, error) {
			return s.Settle(ctx, clock, dst, keys, max(ttl, time.Hour))
		}}
	},
	"StampMany/cut at 100": func() broken {
		return changedRaise(func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			return keys[:min(100, len(keys))], floor, ttl
		})
	},
	"StampConcurrent/read, then write": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
			last, _ := s.Sequence(ctx, clock)
			time.Sleep(time.Millisecond)
			_, err := s.Raise(ctx, clock, keys, soft, floor, ttl)
			return max(last, floor) + 1, err
		}}
	},
	"StampConcurrent/late": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
			n, err := s.Raise(ctx, clock, nil, soft, floor, ttl)
			time.AfterFunc(10*time.Millisecond, func() { _, _ = s.Raise(context.WithoutCancel(ctx), clock, keys, soft, n-1, ttl) })
			return n, err
		}}
	},
	"StampTogether/one by one": func() broken {
		return broken{raise: func(s whole, ctx context.Context, clock string, keys []string, soft bool, floor uint64, ttl time.Duration) (uint64, error) {
			n, err := s.Raise(ctx, clock, nil, soft, floor, ttl)
			for i := range keys {
				n, err = s.Raise(ctx, clock, keys[i:i+1], soft, floor, ttl)
				time.Sleep(time.Millisecond)
			}
			return n, err
		}}
	},
	"StampRefused/wraps around": func() broken {
		return changedRaise(func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			return keys, (floor + 1) / 2, ttl
		})
	},
	"StampRefused/for ever": func() broken {
		return changedRaise(func(keys []string, floor uint64, ttl time.Duration) ([]string, uint64, time.Duration) {
			if ttl <= 0 {
				ttl = time.Hour
			}
			return keys, floor, ttl
		})
	},
	"StampDoneContext/ignored": func() broken {
		return broken{stamps: func(s whole, ctx context.Context, dst []core.Stamp, keys []string) ([]core.Stamp, error) {
			return s.Stamps(context.WithoutCancel(ctx), dst, keys)
		}}
	},
	"LockDoneContext/ignored": func() broken {
		return broken{unlock: func(s whole, ctx context.Context, key, token, note string, ttl time.Duration) error {
			return s.Unlock(context.WithoutCancel(ctx), key, token, note, ttl)
		}}
	},
}

const brokenEnv = "STORETEST_BROKEN"

// TestFindsBrokenStores runs this test program once for each broken store: the
// suite must fail, in the case that is named.
func TestFindsBrokenStores(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		storetest.Run(t, func(t *testing.T) core.Store {
			s, err := memory.New(32 << 20)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			b := brokenStores[name]()
			b.whole = stamped{s}
			return b
		})
		return
	}
	for name := range brokenStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, _, _ := strings.Cut(name, "/")
			cmd := exec.Command(os.Args[0], "-test.run=^TestFindsBrokenStores$/^"+want+"$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestFindsBrokenStores/"+want) {
				t.Errorf("%s does not fail: %v\n%s", want, err, out)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) core.Store {
		s, err := memory.New(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.MaxValue(64<<10), storetest.Lacks("Expiry", "the test has no time"))
}
