package cacheaside_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cacheaside/cacheaside/core/store"
)

// standin stands in for a server that processes share: a [store.Coordinator] with
// tokens, written to be read. It forgets no purge, so that a stamp is always made of
// the last one of its tag. Its time is that of a synctest bubble.
type standin struct {
	mu       sync.Mutex
	values   map[string]standing // tokens as well
	stamps   map[string]standingStamp
	purged   map[string]store.Stamp
	epoch    uint64
	seq      uint64
	journals map[string]store.Journal
}

type standing struct {
	data []byte
	end  time.Time
}

type standingStamp struct {
	store.Stamp
	end time.Time
}

func newStandin() *standin {
	s := &standin{values: map[string]standing{}, stamps: map[string]standingStamp{}, journals: map[string]store.Journal{}}
	s.loseClock()
	return s
}

// loseClock does what the eviction of the clock does.
func (s *standin) loseClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch, s.seq, s.purged = s.epoch+1, 1, map[string]store.Stamp{}
}

// loseStamp does what its eviction does.
func (s *standin) loseStamp(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.stamps[key]; !ok {
		panic(key + ": there is none")
	}
	delete(s.stamps, key)
}

// the methods in small letters need s.mu.

func (s *standin) get(key string) ([]byte, bool) {
	v, ok := s.values[key]
	if ok && !time.Now().Before(v.end) {
		delete(s.values, key)
		return nil, false
	}
	return v.data, ok
}

func (s *standin) put(key string, data []byte, ttl time.Duration) {
	s.values[key] = standing{data, time.Now().Add(ttl)}
}

func (s *standin) mark() store.Mark { return store.Mark{Epoch: s.epoch, Seq: s.seq} }

func (s *standin) stamp(key string) store.Stamp {
	st, ok := s.stamps[key]
	if ok && !time.Now().Before(st.end) {
		delete(s.stamps, key)
		return store.Stamp{}
	}
	return st.Stamp
}

func (s *standin) begin(ctx context.Context) (func(), error) {
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return s.mu.Unlock, nil
}

func (s *standin) Get(ctx context.Context, key string) ([]byte, bool, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, false, err
	}
	defer end()
	value, found := s.get(key)
	return value, found, nil
}

func (s *standin) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ttl <= 0 {
		return errors.New("standin: ttl")
	}
	s.put(key, value, ttl)
	return nil
}

func (s *standin) Delete(ctx context.Context, keys ...string) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	for _, key := range keys {
		delete(s.values, key)
	}
	return nil
}

func (s *standin) Close() error { return nil }

func (s *standin) Begin(ctx context.Context, f store.Fill) (b store.Begun, err error) {
	end, err := s.begin(ctx)
	if err != nil {
		return b, err
	}
	defer end()
	b.Token, b.Mark = f.Token, s.mark()
	if held, ok := s.get(f.Lock); !ok {
		s.put(f.Lock, []byte(f.Token), f.TTL)
	} else if b.Token = string(held); f.Adopt && time.Until(s.values[f.Lock].end) < f.TTL {
		s.put(f.Lock, held, f.TTL)
	}
	if f.Key != "" {
		b.Value, b.Found = s.get(f.Key)
		for _, key := range f.Stamps {
			b.Stamps = append(b.Stamps, s.stamp(key))
		}
	}
	return b, nil
}

func (s *standin) CompareAndExtend(ctx context.Context, lock, token string, ttl time.Duration) (bool, error) {
	return s.CompareAndSwap(ctx, lock, token, token, ttl)
}

func (s *standin) CompareAndSwap(ctx context.Context, lock, token, next string, ttl time.Duration) (bool, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	if held, ok := s.get(lock); !ok || string(held) != token {
		return false, nil
	}
	if delete(s.values, lock); next != "" {
		s.put(lock, []byte(next), ttl)
	}
	return true, nil
}

func (s *standin) Write(ctx context.Context, w store.Write) (written store.Written, err error) {
	end, err := s.begin(ctx)
	if err != nil {
		return written, err
	}
	defer end()
	if held, ok := s.get(w.Lock); !ok || string(held) != w.Token {
		return written, nil
	}
	delete(s.values, w.Lock)
	var longest time.Duration
	for _, v := range w.Values {
		s.put(v.Key, v.Data, v.TTL)
		longest = max(longest, v.TTL)
	}
	written = store.Written{Stored: true, Purged: w.Since.Epoch != s.epoch}
	for _, key := range w.Stamps {
		st := standingStamp{s.stamp(key), s.stamps[key].end}
		if st.Epoch != s.epoch {
			st = standingStamp{Stamp: s.purged[key]}
			st.Epoch, st.Hard, st.Soft = s.epoch, max(st.Hard, 1), max(st.Soft, 1)
		}
		if least := time.Now().Add(longest); st.end.Before(least) {
			st.end = least
		}
		s.stamps[key] = st
		written.Purged = written.Purged || st.Hard > w.Since.Seq
		written.Outdated = written.Outdated || st.Soft > w.Since.Seq
	}
	return written, nil
}

func (s *standin) Bump(ctx context.Context, _ string, keys []string, soft bool, at uint64, _ time.Duration) (store.Mark, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return store.Mark{}, err
	}
	defer end()
	for _, key := range keys {
		s.seq++
		bump := func(st store.Stamp) store.Stamp {
			if !soft || st.Epoch != s.epoch {
				st.Hard = s.seq
			}
			return store.Stamp{Epoch: s.epoch, Hard: st.Hard, Soft: s.seq, SoftAt: at}
		}
		last := s.purged[key]
		last.Epoch = s.epoch
		s.purged[key] = bump(last)
		if s.stamp(key) != (store.Stamp{}) {
			s.stamps[key] = standingStamp{bump(s.stamps[key].Stamp), s.stamps[key].end}
		}
	}
	return s.mark(), nil
}

func (s *standin) Stamps(ctx context.Context, dst []store.Stamp, keys []string) ([]store.Stamp, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return dst, err
	}
	defer end()
	for _, key := range keys {
		dst = append(dst, s.stamp(key))
	}
	return dst, nil
}

func (s *standin) GetStamped(ctx context.Context, key string, dst []store.Stamp, keys []string) ([]byte, bool, []store.Stamp, error) {
	value, found, err := s.Get(ctx, key)
	if err == nil {
		dst, err = s.Stamps(ctx, dst, keys)
	}
	return value, found, dst, err
}

func (s *standin) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return store.Journal{}, err
	}
	defer end()
	return s.journal(clock), nil
}

func (s *standin) journal(clock string) store.Journal {
	j := s.journals[clock]
	if j.Mark.Epoch != s.epoch {
		j = store.Journal{Began: s.seq}
	}
	j.Mark = s.mark()
	s.journals[clock] = j
	return j
}

func (s *standin) WriteJournal(ctx context.Context, clock string, old store.Journal, text string) (store.Journal, bool, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return store.Journal{}, false, err
	}
	defer end()
	j := s.journal(clock)
	if j.Mark.Epoch != old.Mark.Epoch || j.Began != old.Began || j.Text != old.Text {
		return j, false, nil
	}
	s.seq++
	j.Mark, j.Text = s.mark(), strings.ReplaceAll(text, store.Number, strconv.FormatUint(s.seq, 10))
	s.journals[clock] = j
	return j, true, nil
}

// holder is what is under a lock, or empty, once all that runs in the bubble waits: an
// answer may be there before its lock is released.
func (s *standin) holder(lock string) string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	held, _ := s.get(lock)
	return string(held)
}

// lock puts a token of somebody else there.
func (s *standin) lock(key, token string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, []byte(token), ttl)
}
