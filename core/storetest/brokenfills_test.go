package storetest_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// changedFill, changedWrite and changedBump are broken stores that only change what
// they are asked for.
func changedFill(change func(f *store.Fill)) func() broken {
	return func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			change(&f)
			return r.Begin(ctx, f)
		}}
	}
}

func changedWrite(change func(r *reference, w *store.Write)) func() broken {
	return func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			w.Values, w.Stamps = slices.Clone(w.Values), slices.Clone(w.Stamps)
			change(r, &w)
			return r.Write(ctx, w)
		}}
	}
}

func changedBump(change func(p *bumped)) func() broken {
	return func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			change(&p)
			return p.by(ctx, r)
		}}
	}
}

// changedBegun and changedWritten are broken stores that answer something else.
func changedBegun(change func(b *store.Begun, f store.Fill)) func() broken {
	return func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			b, err := r.Begin(ctx, f)
			change(&b, f)
			return b, err
		}}
	}
}

func changedWritten(change func(w *store.Written)) func() broken {
	return func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			written, err := r.Write(ctx, w)
			change(&written)
			return written, err
		}}
	}
}

// after does something more once Write has written, with the mutex.
func after(more func(r *reference, w store.Write)) func() broken {
	return func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			written, err := r.Write(ctx, w)
			r.mu.Lock()
			defer r.mu.Unlock()
			if written.Stored {
				more(r, w)
			}
			return written, err
		}}
	}
}

// prepared is a broken store that differs inside.
func prepared(prepare func(r *reference)) func() broken {
	return func() broken { return broken{prepare: prepare} }
}

func positive(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return time.Hour
	}
	return ttl
}

// lockedHolder is holder for who has not the mutex.
func (r *reference) lockedHolder(lock string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holder(lock)
}

// brokenFills is brokenStores for what a store.Coordinator can do.
var brokenFills = map[string]func() broken{
	"Begin/says nobody": changedBegun(func(b *store.Begun, f store.Fill) { b.Token = f.Token }),
	"Begin/takes what is taken": func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			_ = r.Delete(ctx, f.Lock)
			return r.Begin(ctx, f)
		}}
	},
	"Begin/one lock for all": changedFill(func(f *store.Fill) {
		f.Lock = f.Lock[:strings.LastIndexByte(f.Lock, ':')]
	}),
	"BeginExclusive/asks, then takes": func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			if r.lockedHolder(f.Lock) == "" {
				time.Sleep(time.Millisecond)
				_ = r.Delete(ctx, f.Lock)
			}
			return r.Begin(ctx, f)
		}}
	},
	"BeginExpiry/never":                changedFill(func(f *store.Fill) { f.TTL = max(f.TTL, time.Hour) }),
	"BeginAdopt/does not prolong":      changedFill(func(f *store.Fill) { f.Adopt = false }),
	"BeginAdopt/prolongs for everyone": changedFill(func(f *store.Fill) { f.Adopt = true }),
	"BeginAdopt/cuts short": func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			b, err := r.Begin(ctx, f)
			if f.Adopt {
				_, _ = r.CompareAndExtend(ctx, f.Lock, b.Token, f.TTL)
			}
			return b, err
		}}
	},
	"BeginAdopt/replaces": func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			if f.Adopt {
				_ = r.Delete(ctx, f.Lock)
			}
			return r.Begin(ctx, f)
		}}
	},
	"BeginLook/does not":  changedFill(func(f *store.Fill) { f.Key = "" }),
	"BeginLook/no stamps": changedBegun(func(b *store.Begun, _ store.Fill) { clear(b.Stamps) }),
	"BeginLook/no stamps of nothing": changedBegun(func(b *store.Begun, _ store.Fill) {
		if !b.Found {
			clear(b.Stamps)
		}
	}),
	"BeginLook/only who has the lock": changedBegun(func(b *store.Begun, f store.Fill) {
		if b.Token != f.Token {
			b.Value, b.Found = nil, false
		}
	}),
	"BeginMark/an old one": func() broken {
		var first sync.Map
		return changedBegun(func(b *store.Begun, f store.Fill) {
			old, _ := first.LoadOrStore(f.Clock, b.Mark)
			b.Mark = old.(store.Mark)
		})()
	},
	"BeginMark/the next one": changedBegun(func(b *store.Begun, _ store.Fill) { b.Mark.Seq++ }),
	"BeginRefused/for ever":  changedFill(func(f *store.Fill) { f.TTL = positive(f.TTL) }),
	"BeginRefused/no token": changedFill(func(f *store.Fill) {
		if f.Token == "" {
			f.Token = "somebody"
		}
	}),
	"CompareAndExtend/nothing": func() broken {
		return broken{extend: func(r *reference, _ context.Context, lock, token string, _ time.Duration) (bool, error) {
			return r.lockedHolder(lock) == token, nil
		}}
	},
	"CompareAndExtend/by anybody": func() broken {
		return broken{extend: func(r *reference, ctx context.Context, lock, _ string, ttl time.Duration) (bool, error) {
			return r.CompareAndExtend(ctx, lock, r.lockedHolder(lock), ttl)
		}}
	},
	"CompareAndExtend/takes": func() broken {
		return broken{extend: func(r *reference, ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
			b, err := r.Begin(ctx, store.Fill{Lock: lock, Token: token, TTL: ttl, Clock: lock})
			return b.Token == token, err
		}}
	},
	"CompareAndSwap/without comparing": func() broken {
		return broken{swap: func(r *reference, ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
			if holder := r.lockedHolder(lock); holder != "" {
				token = holder
			}
			return r.CompareAndSwap(ctx, lock, token, next, ttl)
		}}
	},
	"CompareAndSwap/drops the next": func() broken {
		return broken{swap: func(r *reference, ctx context.Context, lock, token, _ string, _ time.Duration) (bool, error) {
			return r.CompareAndSwap(ctx, lock, token, "", 0)
		}}
	},
	"SwapExpiry/for ever": func() broken {
		return broken{swap: func(r *reference, ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
			return r.CompareAndSwap(ctx, lock, token, next, max(ttl, time.Hour))
		}}
	},
	"SwapExpiry/as before": func() broken {
		return broken{swap: func(r *reference, ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
			r.mu.Lock()
			until := r.items[lock].until
			r.mu.Unlock()
			return r.CompareAndSwap(ctx, lock, token, next, min(ttl, time.Until(until)))
		}}
	},
	"BinaryToken/cut at NUL": changedBegun(func(b *store.Begun, _ store.Fill) { b.Token, _, _ = strings.Cut(b.Token, "\x00") }),

	"Write/keeps the token": after(func(r *reference, w store.Write) { r.keep(w.Lock, []byte(w.Token), time.Hour) }),
	"Write/the first value": changedWrite(func(_ *reference, w *store.Write) { w.Values = w.Values[:1] }),
	"Write/no stamps":       changedWrite(func(_ *reference, w *store.Write) { w.Stamps = nil }),
	"Write/no empty value": changedWrite(func(_ *reference, w *store.Write) {
		w.Values = slices.DeleteFunc(w.Values, func(v store.Value) bool { return len(v.Data) == 0 })
		if len(w.Values) == 0 {
			w.Values = []store.Value{{Key: w.Lock, TTL: time.Hour}}
		}
	}),
	"Write/cut at 64 KiB": changedWrite(func(_ *reference, w *store.Write) {
		for i, v := range w.Values {
			w.Values[i].Data = v.Data[:min(len(v.Data), 64<<10)]
		}
	}),
	"WriteToken/by anybody": changedWrite(func(r *reference, w *store.Write) { w.Token = r.lockedHolder(w.Lock) }),
	"WriteToken/by anybody if it is free": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			_, _ = r.Begin(ctx, store.Fill{Lock: w.Lock, Token: w.Token, TTL: time.Hour, Clock: w.Clock})
			return r.Write(ctx, w)
		}}
	},
	"WriteToken/says it is stored": changedWritten(func(w *store.Written) { w.Stored = true }),
	"WriteToken/removes another one's": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			written, err := r.Write(ctx, w)
			_ = r.Delete(ctx, w.Lock)
			return written, err
		}}
	},
	"WriteToken/removes the old value": changedWrite(func(r *reference, w *store.Write) {
		_ = r.Delete(context.Background(), w.Values[0].Key)
	}),
	"WriteEnded/Delete leaves locks": func() broken {
		return broken{delete: func(s store.Store, ctx context.Context, key string) error {
			if strings.Contains(key, "lock:") {
				return nil
			}
			return s.Delete(ctx, key)
		}}
	},
	"WriteEnded/by any Delete": func() broken {
		return broken{delete: func(s store.Store, ctx context.Context, key string) error {
			r := s.(*reference)
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.items, key)
			for other := range r.items {
				if strings.Contains(other, "lock:") {
					delete(r.items, other)
				}
			}
			return nil
		}}
	},
	"WriteExpiry/token for ever": changedFill(func(f *store.Fill) { f.TTL = max(f.TTL, time.Hour) }),
	"WriteExpiry/value for ever": changedWrite(func(_ *reference, w *store.Write) {
		for i := range w.Values {
			w.Values[i].TTL = max(w.Values[i].TTL, time.Hour)
		}
	}),
	"WriteLarge/without a token when large": changedWrite(func(r *reference, w *store.Write) {
		for _, v := range w.Values {
			if len(v.Data) >= 64<<10 {
				_ = r.Set(context.Background(), v.Key, v.Data, v.TTL)
			}
		}
	}),
	"WriteLarge/without stamps when large": changedWrite(func(_ *reference, w *store.Write) {
		if len(w.Values[0].Data) >= 64<<10 {
			w.Stamps = nil
		}
	}),
	"WritePurged/does not say so": changedWritten(func(w *store.Written) { w.Purged = false }),
	"WritePurged/a missing stamp is the oldest": prepared(func(r *reference) {
		r.last = func(string, string) (uint64, uint64) { return 1, 1 }
	}),
	"WritePurged/the first purge counts": prepared(func(r *reference) {
		last := r.last
		r.last = func(clock, key string) (uint64, uint64) {
			ring, _ := r.peek(clock + ":ring").([]purge)
			for _, p := range ring {
				if p.key == key {
					return p.n, p.n
				}
			}
			return last(clock, key)
		}
	}),
	"WritePurged/makes all stamps anew": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			r.mu.Lock()
			for _, key := range w.Stamps {
				r.keep(key, store.Stamp{Epoch: w.Since.Epoch, Hard: w.Since.Seq, Soft: w.Since.Seq}, time.Hour)
			}
			r.mu.Unlock()
			return r.Write(ctx, w)
		}}
	},
	"WriteSoft/not stored": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			written, err := r.Write(ctx, w)
			if written.Outdated {
				written.Stored = false
			}
			return written, err
		}}
	},
	"WriteSoft/does not say so": changedWritten(func(w *store.Written) { w.Outdated = false }),
	"WriteSoft/all are hard":    changedBump(func(p *bumped) { p.soft = false }),
	"WriteSoft/a missing stamp is hard": prepared(func(r *reference) {
		last := r.last
		r.last = func(clock, key string) (uint64, uint64) {
			_, soft := last(clock, key)
			return soft, soft
		}
	}),
	"WriteOthers/a missing stamp is the newest": prepared(func(r *reference) {
		r.last = func(clock, _ string) (uint64, uint64) { n := r.tick(clock).Seq; return n, n }
	}),
	"WriteOthers/a missing stamp is who asks": changedWrite(func(r *reference, w *store.Write) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, key := range w.Stamps {
			if r.peek(key) == nil {
				r.keep(key, store.Stamp{Epoch: w.Since.Epoch, Hard: w.Since.Seq, Soft: w.Since.Seq}, time.Hour)
			}
		}
	}),
	"WriteOthers/a ring of 100": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			mark, err := p.by(ctx, r)
			r.mu.Lock()
			defer r.mu.Unlock()
			if ring, _ := r.peek(p.clock + ":ring").([]purge); len(ring) > 100 {
				r.keep(p.clock+":ring", ring[len(ring)-100:], time.Hour)
			}
			return mark, err
		}}
	},
	"WriteOthers/the journal is not in the ring": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			j, written, err := r.WriteJournal(ctx, clock, old, text)
			r.mu.Lock()
			defer r.mu.Unlock()
			if ring, _ := r.peek(clock + ":ring").([]purge); written {
				r.keep(clock+":ring", ring[:len(ring)-1], time.Hour)
			}
			return j, written, err
		}}
	},
	"WriteOverflow/what is not in the ring was not purged": prepared(func(r *reference) {
		r.last = func(clock, key string) (hard, soft uint64) {
			hard, soft = 1, 1
			ring, _ := r.peek(clock + ":ring").([]purge)
			for _, p := range ring {
				if p.key == key && p.soft {
					soft = p.n
				} else if p.key == key {
					hard, soft = p.n, p.n
				}
			}
			return hard, soft
		}
	}),
	"WriteMany/the first 256": changedWrite(func(_ *reference, w *store.Write) { w.Stamps = w.Stamps[:min(256, len(w.Stamps))] }),
	"WriteRefused/for ever": changedWrite(func(_ *reference, w *store.Write) {
		for i := range w.Values {
			w.Values[i].TTL = positive(w.Values[i].TTL)
		}
	}),
	"WriteRefused/no token": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			if w.Token == "" {
				return store.Written{}, nil
			}
			return r.Write(ctx, w)
		}}
	},
	"WriteRefused/the first value is there": changedWrite(func(r *reference, w *store.Write) {
		if v := w.Values[0]; len(w.Values) > 1 {
			_ = r.Set(context.Background(), v.Key, v.Data, v.TTL)
		}
	}),
	"WriteRefused/stamps of any hash tag": changedWrite(func(_ *reference, w *store.Write) {
		w.Stamps = slices.DeleteFunc(w.Stamps, func(key string) bool { return hashTag(key) != hashTag(w.Clock) })
	}),
	"WriteConcurrent/looks, then writes": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			if r.lockedHolder(w.Lock) != w.Token {
				return store.Written{}, nil
			}
			time.Sleep(time.Millisecond)
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.items, w.Lock)
			for _, v := range w.Values {
				r.keep(v.Key, v.Data, v.TTL)
			}
			return store.Written{Stored: true}, nil
		}}
	},
	"WriteConcurrent/one key after the other is deleted": func() broken {
		var writes, deletes atomic.Int64
		var deleting atomic.Bool
		return broken{
			begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
				for deleting.Load() && ctx.Err() == nil { // what was written meanwhile is there for a while
					time.Sleep(10 * time.Microsecond)
				}
				return r.Begin(ctx, f)
			},
			write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
				written, err := r.Write(ctx, w)
				if written.Stored && strings.HasSuffix(w.Values[0].Key, "k0") {
					writes.Add(1)
				}
				return written, err
			},
			delete: func(s store.Store, ctx context.Context, key string) error {
				before := writes.Load()
				err := s.Delete(ctx, key)
				// Until a fill has ended, but not for ever, and not always, so that there are fills.
				if strings.HasSuffix(key, "k0") && deletes.Add(1)%2 == 0 {
					for end := time.Now().Add(100 * time.Millisecond); writes.Load() == before && time.Now().Before(end); {
						time.Sleep(10 * time.Microsecond)
					}
					deleting.Store(true)
					time.AfterFunc(2*time.Millisecond, func() { deleting.Store(false) })
				}
				return err
			},
		}
	},
	"WriteConcurrent/Delete returns early": func() broken {
		return broken{delete: func(s store.Store, ctx context.Context, key string) error {
			if strings.Contains(key, "lock:") {
				time.AfterFunc(time.Millisecond, func() { _ = s.Delete(context.WithoutCancel(ctx), key) })
				return nil
			}
			return s.Delete(ctx, key)
		}}
	},

	"Bump/the first tag": changedBump(func(p *bumped) { p.keys = p.keys[:min(1, len(p.keys))] }),
	"Bump/all stamps there are": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			r.mu.Lock()
			for key := range r.items {
				if _, ok := r.peek(key).(store.Stamp); ok {
					p.keys = append(slices.Clip(p.keys), key)
				}
			}
			r.mu.Unlock()
			return p.by(ctx, r)
		}}
	},
	"Bump/the mark before": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			mark, err := p.by(ctx, r)
			mark.Seq -= min(uint64(len(p.keys)), 1)
			return mark, err
		}}
	},
	"BumpSoft/all are hard":     changedBump(func(p *bumped) { p.soft = false }),
	"BumpSoft/all are soft":     changedBump(func(p *bumped) { p.soft = true }),
	"BumpSoft/without the time": changedBump(func(p *bumped) { p.at = 0 }),
	"BumpMany/the first 1000":   changedBump(func(p *bumped) { p.keys = p.keys[:min(1000, len(p.keys))] }),
	"BumpNothing/makes stamps": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			r.mu.Lock()
			epoch := r.tick(p.clock).Epoch
			for _, key := range p.keys {
				if r.peek(key) == nil {
					r.keep(key, store.Stamp{Epoch: epoch, Hard: 1, Soft: 1}, p.ttl)
				}
			}
			r.mu.Unlock()
			return p.by(ctx, r)
		}}
	},
	"BumpRefused/for ever": changedBump(func(p *bumped) { p.ttl = positive(p.ttl) }),
	"BumpRefused/too late": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			bad := p
			bad.ttl = positive(p.ttl)
			_, _ = bad.by(ctx, r)
			return p.by(ctx, r)
		}}
	},
	"Stamps/dst dropped": func() broken {
		return broken{stamps: func(r *reference, ctx context.Context, _ []store.Stamp, keys []string) ([]store.Stamp, error) {
			return r.Stamps(ctx, nil, keys)
		}}
	},
	"Stamps/in the order of their names": func() broken {
		return broken{stamps: func(r *reference, ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
			return r.Stamps(ctx, dst, slices.Sorted(slices.Values(keys)))
		}}
	},
	"StampedGet/nothing found, no stamps": func() broken {
		return broken{both: func(r *reference, ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
			value, found, all, err := r.GetStamped(ctx, key, dst, keys)
			if !found {
				all = append(dst, make([]store.Stamp, len(keys))...)
			}
			return value, found, all, err
		}}
	},
	"StampedGet/remembered": func() broken {
		var seen sync.Map
		return broken{both: func(r *reference, ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
			value, found, all, err := r.GetStamped(ctx, key, dst, keys)
			if found {
				old, _ := seen.LoadOrStore(key, value)
				value = old.([]byte)
			}
			return value, found, all, err
		}}
	},
	"StampLife/not prolonged": after(func(r *reference, w store.Write) {
		if strings.HasSuffix(w.Lock, ":k") {
			for _, key := range w.Stamps {
				r.items[key] = item{r.items[key].v, r.now().Add(100 * time.Millisecond)}
			}
		}
	}),
	"StampLife/as the last value": after(func(r *reference, w store.Write) {
		for _, key := range w.Stamps {
			r.keep(key, r.items[key].v, w.Values[0].TTL)
		}
	}),
	"StampLife/as the last of several": after(func(r *reference, w store.Write) {
		for _, key := range w.Stamps {
			if len(w.Values) > 1 {
				r.keep(key, r.items[key].v, w.Values[1].TTL)
			}
		}
	}),
	"StampLife/as the clock": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			mark, err := p.by(ctx, r)
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, key := range p.keys {
				if st, ok := r.peek(key).(store.Stamp); ok {
					r.keep(key, st, p.ttl)
				}
			}
			return mark, err
		}}
	},

	"Journal/the number once": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			j, written, err := r.WriteJournal(ctx, clock, old, text)
			if written {
				j.Text = strings.Replace(text, store.Number, strconv.FormatUint(j.Mark.Seq, 10), 1)
			}
			return j, written, err
		}}
	},
	"Journal/cut at NUL": func() broken {
		return broken{read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
			j, err := r.ReadJournal(ctx, clock)
			j.Text, _, _ = strings.Cut(j.Text, "\x00")
			return j, err
		}}
	},
	"Journal/a new one has purged nothing": func() broken {
		return broken{read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
			j, err := r.ReadJournal(ctx, clock)
			j.Began = 1
			return j, err
		}}
	},
	"JournalCompared/not at all": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, _ store.Journal, text string) (store.Journal, bool, error) {
			now, _ := r.ReadJournal(ctx, clock)
			return r.WriteJournal(ctx, clock, now, text)
		}}
	},
	"JournalCompared/without the epoch": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			now, err := r.ReadJournal(ctx, clock)
			if err == nil {
				old.Mark = now.Mark
			}
			return r.WriteJournal(ctx, clock, old, text)
		}}
	},
	"JournalCompared/with the whole mark": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			if now, err := r.ReadJournal(ctx, clock); err != nil || now.Mark != old.Mark {
				return now, false, err
			}
			return r.WriteJournal(ctx, clock, old, text)
		}}
	},
	"JournalOrder/numbers of its own": func() broken {
		var own atomic.Uint64
		own.Store(1_000)
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			return r.WriteJournal(ctx, clock, old, strings.ReplaceAll(text, store.Number, strconv.FormatUint(own.Add(1), 10)))
		}}
	},
	"JournalOrder/the number before": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			n := strconv.FormatUint(old.Mark.Seq, 10)
			return r.WriteJournal(ctx, clock, old, strings.ReplaceAll(text, store.Number, n))
		}}
	},
	"JournalOfClock/one for all": func() broken {
		one := func(clock string) string { return strings.TrimSuffix(clock, "s") }
		return broken{
			read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
				return r.ReadJournal(ctx, one(clock))
			},
			enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
				return r.WriteJournal(ctx, one(clock), old, text)
			},
		}
	},
	"JournalConcurrent/reads, then writes": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			now, err := r.ReadJournal(ctx, clock)
			if err != nil || now.Text != old.Text || now.Began != old.Began || now.Mark.Epoch != old.Mark.Epoch {
				return now, false, err
			}
			time.Sleep(time.Millisecond)
			for {
				if now, err = r.ReadJournal(ctx, clock); err != nil {
					return now, false, err
				}
				if j, written, err := r.WriteJournal(ctx, clock, now, text); written || err != nil {
					return j, written, err
				}
			}
		}}
	},
	"JournalLost/a new one has purged nothing": func() broken {
		return broken{read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
			r.mu.Lock()
			if r.peek(clock+":journal") == nil {
				r.keep(clock+":journal", store.Journal{Mark: r.tick(clock), Began: 1}, year)
			}
			r.mu.Unlock()
			return r.ReadJournal(ctx, clock)
		}}
	},
	"JournalLost/an error": func() broken {
		return broken{read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
			r.mu.Lock()
			v := r.peek(clock + ":journal")
			r.mu.Unlock()
			if _, foreign := v.([]int); foreign {
				return store.Journal{}, context.Canceled
			}
			return r.ReadJournal(ctx, clock)
		}}
	},

	"ForeignLock/stays": changedBegun(func(b *store.Begun, f store.Fill) {
		if strings.Contains(f.Lock, "empty") {
			b.Token = ""
		}
	}),
	"ForeignStamp/counts as old": func() broken {
		return broken{stamps: func(r *reference, ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
			all, err := r.Stamps(ctx, dst, keys)
			r.mu.Lock()
			defer r.mu.Unlock()
			for i, key := range keys {
				if _, foreign := r.peek(key).([]byte); foreign {
					for other, it := range r.items {
						if mark, ok := it.v.(store.Mark); ok && strings.HasSuffix(other, ":clock") {
							all[len(dst)+i] = store.Stamp{Epoch: mark.Epoch, Hard: 1, Soft: 1}
						}
					}
				}
			}
			return all, err
		}}
	},
	"ForeignStamp/is made as old": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			r.mu.Lock()
			for _, key := range p.keys {
				if v := r.peek(key); v != nil {
					if _, ok := v.(store.Stamp); !ok {
						r.keep(key, store.Stamp{Epoch: r.tick(p.clock).Epoch, Hard: 1, Soft: 1}, time.Hour)
					}
				}
			}
			r.mu.Unlock()
			return p.by(ctx, r)
		}}
	},
	"LostClock/the same epoch again": prepared(func(r *reference) {
		epoch := rand.Uint64() | 1
		r.epoch = func() uint64 { return epoch }
	}),
	"LostClock/what is not in the ring was not purged": prepared(func(r *reference) {
		last := r.last
		r.last = func(clock, key string) (uint64, uint64) {
			if r.peek(clock+":ring") == nil {
				return 1, 1
			}
			return last(clock, key)
		}
	}),
	"LostClock/a stamp of another epoch stays": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			r.mu.Lock()
			old, mark := map[string]item{}, r.tick(w.Clock)
			for _, key := range w.Stamps {
				if st, ok := r.peek(key).(store.Stamp); ok && st.Epoch != mark.Epoch {
					old[key] = r.items[key]
				}
			}
			r.mu.Unlock()
			written, err := r.Write(ctx, w)
			r.mu.Lock()
			defer r.mu.Unlock()
			maps.Copy(r.items, old)
			return written, err
		}}
	},
	"Together/a purge ends later": func() broken {
		return broken{bump: func(r *reference, ctx context.Context, p bumped) (store.Mark, error) {
			time.AfterFunc(time.Millisecond, func() { _, _ = p.by(context.WithoutCancel(ctx), r) })
			mark, err := r.Begin(ctx, store.Fill{Lock: p.clock + "lock", Token: "a", TTL: time.Hour, Clock: p.clock})
			return mark.Mark, err
		}}
	},
	"Together/everything is purged later": func() broken {
		return broken{enter: func(r *reference, ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
			time.AfterFunc(time.Millisecond, func() { _, _, _ = r.WriteJournal(context.WithoutCancel(ctx), clock, old, text) })
			return old, true, nil
		}}
	},
	"Together/the mark of a moment later": func() broken {
		return broken{begin: func(r *reference, ctx context.Context, f store.Fill) (store.Begun, error) {
			b, err := r.Begin(ctx, f)
			b.Mark.Seq += 3
			return b, err
		}}
	},
	"CoordinatorDoneContext/ignored by Swap": func() broken {
		return broken{swap: func(r *reference, ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
			return r.CompareAndSwap(context.WithoutCancel(ctx), lock, token, next, ttl)
		}}
	},
	"CoordinatorDoneContext/ignored by Write": func() broken {
		return broken{write: func(r *reference, ctx context.Context, w store.Write) (store.Written, error) {
			return r.Write(context.WithoutCancel(ctx), w)
		}}
	},
	"CoordinatorDoneContext/ignored by Stamps of none": func() broken {
		return broken{stamps: func(r *reference, ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
			if len(keys) == 0 {
				return dst, nil
			}
			return r.Stamps(ctx, dst, keys)
		}}
	},
	"CoordinatorDoneContext/another error": func() broken {
		return broken{read: func(r *reference, ctx context.Context, clock string) (store.Journal, error) {
			j, err := r.ReadJournal(ctx, clock)
			if err != nil {
				err = context.Canceled
			}
			return j, err
		}}
	},
}
