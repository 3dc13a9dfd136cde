package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// broken changes one thing in a store that is right.
type broken struct {
	*reference
	get    func(s store.Store, ctx context.Context, key string) ([]byte, bool, error)
	set    func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error
	delete func(s store.Store, ctx context.Context, key string) error

	begin   func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error)
	extend  func(r *reference, ctx context.Context, lock, token string, ttl time.Duration) (bool, error)
	swap    func(r *reference, ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error)
	write   func(r *reference, ctx context.Context, w store.Write) (store.Written, error)
	bump    func(r *reference, ctx context.Context, p bumped) (store.Mark, error)
	stamps  func(r *reference, ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error)
	both    func(r *reference, ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error)
	read    func(r *reference, ctx context.Context, clock string) (store.Journal, error)
	enter   func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error)
	prepare func(r *reference)
}

// bumped is what Bump is given.
type bumped struct {
	clock string
	keys  []string
	soft  bool
	at    uint64
	ttl   time.Duration
}

func (p bumped) by(ctx context.Context, r *reference) (store.Mark, error) {
	return r.Bump(ctx, p.clock, p.keys, p.soft, p.at, p.ttl)
}

func (b broken) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if b.get != nil {
		return b.get(b.reference, ctx, key)
	}
	return b.reference.Get(ctx, key)
}

func (b broken) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if b.set != nil {
		return b.set(b.reference, ctx, key, value, ttl)
	}
	return b.reference.Set(ctx, key, value, ttl)
}

func (b broken) Delete(ctx context.Context, keys ...string) error {
	if b.delete == nil {
		return b.reference.Delete(ctx, keys...)
	}
	for _, key := range keys {
		if err := b.delete(b.reference, ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (b broken) Begin(ctx context.Context, f store.Fill) (store.Begun, error) {
	if b.begin != nil {
		return b.begin(b.reference, ctx, f)
	}
	return b.reference.Begin(ctx, f)
}

func (b broken) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	if b.extend != nil {
		return b.extend(b.reference, ctx, lock, token, ttl)
	}
	return b.reference.CompareAndExtend(ctx, lock, token, ttl)
}

func (b broken) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	if b.swap != nil {
		return b.swap(b.reference, ctx, lock, token, next, ttl)
	}
	return b.reference.CompareAndSwap(ctx, lock, token, next, ttl)
}

func (b broken) Write(ctx context.Context, w store.Write) (store.Written, error) {
	if b.write != nil {
		return b.write(b.reference, ctx, w)
	}
	return b.reference.Write(ctx, w)
}

func (b broken) Bump(ctx context.Context, clock string, keys []string, soft bool, at uint64, ttl time.Duration) (store.Mark, error) {
	if b.bump != nil {
		return b.bump(b.reference, ctx, bumped{clock, keys, soft, at, ttl})
	}
	return b.reference.Bump(ctx, clock, keys, soft, at, ttl)
}

func (b broken) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	if b.stamps != nil {
		return b.stamps(b.reference, ctx, dst, keys)
	}
	return b.reference.Stamps(ctx, dst, keys)
}

func (b broken) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	if b.both != nil {
		return b.both(b.reference, ctx, key, dst, keys)
	}
	return b.reference.GetStamped(ctx, key, dst, keys)
}

func (b broken) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	if b.read != nil {
		return b.read(b.reference, ctx, clock)
	}
	return b.reference.ReadJournal(ctx, clock)
}

func (b broken) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	if b.enter != nil {
		return b.enter(b.reference, ctx, clock, old, text)
	}
	return b.reference.WriteJournal(ctx, clock, old, text)
}

// changedSet and changedKey are broken stores that only change arguments.
func changedSet(change func([]byte, time.Duration) ([]byte, time.Duration)) broken {
	return broken{set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
		value, ttl = change(value, ttl)
		return s.Set(ctx, key, value, ttl)
	}}
}

func changedKey(change func(string) string) broken {
	return broken{
		get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
			return s.Get(ctx, change(key))
		},
		set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.Set(ctx, change(key), value, ttl)
		},
		delete: func(s store.Store, ctx context.Context, key string) error { return s.Delete(ctx, change(key)) },
	}
}

// brokenStores has for each case of the suite what it must find; those of a
// store.Coordinator are in brokenFills.
var brokenStores = map[string]func() broken{
	"Absent/error": func() broken {
		return broken{get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			if !found && err == nil {
				err = errors.New("not found")
			}
			return v, found, err
		}}
	},
	"SetGet/read once": func() broken {
		return broken{get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			_ = s.Delete(ctx, key)
			return v, found, err
		}}
	},
	"Overwrite/only once": func() broken {
		return broken{set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if _, found, _ := s.Get(ctx, key); found {
				return nil
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"EmptyValue/absent": func() broken {
		return broken{get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
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
		return broken{set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
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
			get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
				late := mixed.Load()
				v, found, err := s.Get(ctx, key)
				if late {
					seen.Store(true)
				}
				return v, found, err
			},
			set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
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
	"LongKey/cut at 250":    func() broken { return changedKey(func(k string) string { return k[:min(len(k), 250)] }) },
	"KeysDiffer/fold case":  func() broken { return changedKey(strings.ToLower) },
	"KeysDiffer/trim space": func() broken { return changedKey(strings.TrimSpace) },
	"Delete/nothing": func() broken {
		return broken{delete: func(store.Store, context.Context, string) error { return nil }}
	},
	"Delete/error if absent": func() broken {
		return broken{delete: func(s store.Store, ctx context.Context, key string) error {
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
		return broken{set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if end, ok := first[key]; ok {
				ttl = time.Until(end)
			} else {
				first[key] = time.Now().Add(ttl)
			}
			return s.Set(ctx, key, value, ttl)
		}}
	},
	"TinyTTL/refused": func() broken {
		return broken{set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
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
		return broken{get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
			return s.Get(context.WithoutCancel(ctx), key)
		}}
	},
	"Immutable/one buffer": func() broken {
		buffer := make([]byte, 16<<20)
		return broken{get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
			v, found, err := s.Get(ctx, key)
			return buffer[:copy(buffer, v)], found, err
		}}
	},
	"Concurrent/mixed up": func() broken {
		var last atomic.Pointer[[]byte]
		return broken{
			get: func(s store.Store, ctx context.Context, key string) ([]byte, bool, error) {
				v, found, err := s.Get(ctx, key)
				if found {
					v = *last.Load()
				}
				return v, found, err
			},
			set: func(s store.Store, ctx context.Context, key string, value []byte, ttl time.Duration) error {
				last.Store(&value)
				return s.Set(ctx, key, value, ttl)
			},
		}
	},
}

const brokenEnv = "STORETEST_BROKEN"

// TestFindsBrokenStores runs this test program once for each broken store: the
// suite must fail, in the case that is named.
func TestFindsBrokenStores(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		storetest.Run(t, func(t *testing.T) store.Store {
			b := allBroken()[name]()
			b.reference = newReference(time.Now)
			if b.prepare != nil {
				b.prepare(b.reference)
			}
			return b
		}, parts())
		return
	}
	for name := range allBroken() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, _, _ := strings.Cut(name, "/")
			// What goes wrong when others come between does so now and then.
			cmd := exec.Command(os.Args[0], "-test.run=^TestFindsBrokenStores$/^"+want+"$", "-test.count=20", "-test.failfast")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestFindsBrokenStores/"+want) {
				t.Errorf("%s does not fail: %v\n%s", want, err, out)
			}
		})
	}
}

func allBroken() map[string]func() broken {
	all := maps.Clone(brokenStores)
	maps.Copy(all, brokenFills)
	return all
}

// TestEveryCaseFinds: there is no case that nothing fails.
func TestEveryCaseFinds(t *testing.T) {
	missing := map[string]bool{}
	for _, name := range storetest.CaseNames() {
		missing[name] = true
	}
	for name := range allBroken() {
		name, _, _ = strings.Cut(name, "/")
		delete(missing, name)
	}
	for name := range missing {
		t.Errorf("no broken store is for %s", name)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel() // it mostly waits
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := memory.New(64 << 20) // its tables grow with it: in a small one keys share places
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.MaxValue(64<<10), storetest.Lacks("Expiry", "the test has no time"))
}
