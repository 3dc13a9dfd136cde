// Package direct reads and purges a cache by its store alone, where no process can be
// asked. What it does not know is how requests become keys, which policies decide: it
// finds keys by what can be read in them.
//
// Nothing is touched but what is of the namespace, and nothing is written but by a purge.
package direct

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/store"
)

// Errors that others are wrapped in. What is neither is that the server has not answered,
// or not as it should.
var (
	// ErrUsage means that there is something wrong with what was asked for.
	ErrUsage = errors.New("this cannot be asked")
	// ErrNotAcknowledged means that a purge may not have reached all: repeat it.
	ErrNotAcknowledged = errors.New("not acknowledged: repeat it")
	// ErrIncomplete comes with what was found, which may not be all.
	ErrIncomplete = errors.New("not all keys were looked at")
)

// Options are those of [Open].
type Options struct {
	// Timeout bounds each call of the server, and each step of connecting. Zero: 1 s.
	Timeout time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Store is what a cache has on a server. Its methods may be called concurrently.
type Store struct {
	namespace string
	prefix    string // of the keys of its entries
	store     *dragonfly.Store
	client    rueidis.Client
	cache     *cacheaside.Cache // for purges: no request ever comes to it
	ledger    *purges.Ledger
	keys      purges.Keys
	timeout   time.Duration
	now       func() time.Time
	seed      maphash.Seed // as in the inspector: with a plain hash, what is hidden could be guessed

	mu    sync.Mutex
	ways  map[uint64]purges.Way
	wires map[string]string // by the IDs of what was shown
}

// Open connects to the server at url, whose forms are those of [dragonfly.Open]. An error
// for a url that makes no sense wraps [ErrUsage], and shows nothing of it; one of the
// server is a [dragonfly.ConnectError].
func Open(ctx context.Context, url, namespace string, o Options) (*Store, error) {
	option, err := dragonfly.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	option.Dialer.Timeout = max(option.Dialer.Timeout, 300*time.Millisecond, o.Timeout/3) // an operator may be far away
	quiet := slog.New(slog.DiscardHandler)
	made, err := dragonfly.OpenClientOption(ctx, option, dragonfly.WithLogger(quiet), dragonfly.WithCallTimeout(o.Timeout))
	if err != nil {
		return nil, err
	}
	cache, err := cacheaside.New(cacheaside.Config{
		Store: made, Namespace: namespace, Logger: quiet, Now: o.Now,
		Timeouts: cacheaside.Timeouts{Lookup: o.Timeout, Write: o.Timeout, Purge: o.Timeout},
		Breaker:  cacheaside.Breaker{Failures: -1},
	})
	if err != nil {
		_ = made.Close()
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	s := &Store{
		namespace: namespace, prefix: namespace + ":" + keys.Format + ":{", store: made, client: made.Client(), cache: cache, timeout: o.Timeout, now: o.Now,
		seed: maphash.MakeSeed(), ways: map[uint64]purges.Way{}, wires: map[string]string{},
		keys: purges.Keys{Prefix: namespace + ":" + keys.Format + ":{tags}:", MinBytes: keys.MinBytes, Escape: keys.AppendEscaped},
	}
	s.ledger = purges.New(purges.Dependencies{
		Store: looking{made}, Keys: s.keys, Now: o.Now, RenewTimeout: o.Timeout,
		Background: func(func()) {}, // the journal is read when it is needed
		Failed:     func(string, error) {},
		Learn:      s.learn, URLOf: keys.URLOf,
	})
	return s, nil
}

// Close ends the connections.
func (s *Store) Close() error {
	err := s.cache.Close(context.Background()) // it has nothing under way
	return errors.Join(err, s.store.Close())
}

func (s *Store) learn(ways []purges.Way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range ways {
		s.ways[w.ID()] = w
	}
}

// show is a key as it may be shown, which Body takes again.
func (s *Store) show(wire, text string) inspect.Key {
	id := strconv.FormatUint(maphash.String(s.seed, wire)>>16|1<<48, 16)[1:]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires[id] = wire
	return inspect.Key{Text: redact.Clean(text, redact.MaxKey), ID: id}
}

var (
	errNoJournal = errors.New("there is no journal of purges")
	errLooking   = errors.New("somebody who only looks writes nothing")
)

// looking is a store that makes nothing: where the clock or the journal is missing, one of
// a service will make it.
type looking struct{ *dragonfly.Store }

func (l looking) ReadJournal(ctx context.Context, clock string) (store.Journal, error) {
	j, found, err := l.PeekJournal(ctx, clock)
	if err == nil && !found {
		err = errNoJournal
	}
	return j, err
}

func (looking) WriteJournal(context.Context, string, store.Journal, string) (store.Journal, bool, error) {
	return store.Journal{}, false, errLooking
}
