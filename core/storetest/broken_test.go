package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
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
	core.Locker
}

// broken changes one thing in a store that is right.
type broken struct {
	whole
	lock   func(s whole, ctx context.Context, key, token string, ttl time.Duration) (string, error)
	extend func(s whole, ctx context.Context, key, token string, ttl time.Duration) (bool, error)
	unlock func(s whole, ctx context.Context, key, token, note string, ttl time.Duration) error
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
			b.whole = s
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
