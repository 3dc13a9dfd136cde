// Package dragonfly keeps cache entries in Dragonfly, Redis or Valkey, through
// rueidis. A lookup is one GET, a fill one SET with its expiry in milliseconds.
//
// Dragonfly should run with --cache_mode=true, Redis and Valkey with a maxmemory
// and an evicting maxmemory-policy; [Open] warns when nothing evicts.
package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = time.Second

// maxTTL is below what the server's clocks can hold: Dragonfly counts expiry in
// 2^28 seconds, which is 8.5 years.
const maxTTL = 8 * 365 * 24 * time.Hour

// ErrRefused is what [Store.Set] returns, wrapped, when the server has no memory
// for the value. Nothing was stored; a later write may succeed.
var ErrRefused = errors.New("the server refused the write for lack of memory")

// errNoAnswer is given instead of queueing yet another command behind many that
// had no answer.
var errNoAnswer = errors.New("the server has stopped answering")

// Store keeps values on a server. All methods may be called concurrently.
//
// A call ends with its context at the latest, or after [DefaultTimeout] if that
// has no deadline. A key must be memory that is never reused: a call that ends
// early leaves its command in the connection's queue. The same holds for a value.
// Nothing is retried.
type Store struct {
	client  rueidis.Client
	owned   bool
	timeout time.Duration
	unheard unheard
}

// Open connects to the server at url, looks at what it is, and logs that in one
// line. The forms of url are
//
//	redis://[user[:password]@]host[:port][/db]
//	rediss://...                               with TLS
//	host[:port]
//
// with port 6379 and database 0 by default. A query may add further nodes of a
// cluster (?addr=host:port&addr=...) or the name of what sentinels watch
// (?master_set=name). Special characters in user and password are
// percent-encoded.
//
// An error within about a second says what failed and what to do. It never
// contains the password.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	client, err := Connect(ctx, url, opts...)
	if err != nil {
		return nil, err
	}
	return newStore(client, true, opts), nil
}

// OpenOption is [Open] with rueidis' own options, for clusters, sentinels,
// certificates or rotating credentials. What is left at zero is filled in as
// for Open; client-side caching and retries are always switched off. Who wants
// another client altogether makes it and calls [FromClient].
func OpenOption(ctx context.Context, option rueidis.ClientOption, opts ...Option) (*Store, error) {
	client, err := connect(ctx, option, newOptions(opts))
	if err != nil {
		return nil, err
	}
	return newStore(client, true, opts), nil
}

// FromClient returns a store on a client that stays the caller's: nothing is
// checked, and [Store.Close] does not close it.
func FromClient(client rueidis.Client, opts ...Option) (*Store, error) {
	if client == nil {
		return nil, errors.New("dragonfly: client is nil: give one made by rueidis.NewClient, or call Open")
	}
	return newStore(client, false, opts), nil
}

func newStore(client rueidis.Client, owned bool, opts []Option) *Store {
	return &Store{client: client, owned: owned, timeout: newOptions(opts).timeout}
}

// Client is the client that the store uses.
func (s *Store) Client() rueidis.Client { return s.client }

// Get returns the value under key in one command, and whether there is one. A
// key that holds something else than a string counts as absent: Set replaces it.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := s.bound(ctx)
	if cancel != nil {
		defer cancel()
	}
	if s.unheard.tooMany() {
		return nil, false, fmt.Errorf("dragonfly: GET: %w", errNoAnswer)
	}
	message, err := s.client.Do(ctx, s.client.B().Get().Key(key).Build()).ToMessage()
	if err != nil {
		if rueidis.IsRedisNil(err) || isWrongType(err) {
			return nil, false, nil
		}
		return nil, false, s.failed("GET", err)
	}
	value, err := message.AsBytes()
	if err != nil {
		return nil, false, fmt.Errorf("dragonfly: GET: %w", err)
	}
	return value, true, nil
}

// Set keeps value under key for ttl, in whole milliseconds, at least one. A
// refusal for lack of memory is [ErrRefused]. A ttl beyond eight years is cut
// to that.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("dragonfly: ttl is %v: it must be positive", ttl)
	}
	ctx, cancel := s.bound(ctx)
	if cancel != nil {
		defer cancel()
	}
	if s.unheard.tooMany() {
		return fmt.Errorf("dragonfly: SET: %w", errNoAnswer)
	}
	ms := max(1, min(ttl, maxTTL).Milliseconds())
	cmd := s.client.B().Set().Key(key).Value(rueidis.BinaryString(value)).PxMilliseconds(ms).Build()
	if err := s.client.Do(ctx, cmd).Error(); err != nil {
		if isOutOfMemory(err) {
			return fmt.Errorf("dragonfly: SET: %w: %w", ErrRefused, err)
		}
		return s.failed("SET", err)
	}
	return nil
}

// Delete removes the key; the server frees its memory in the background. An
// absent key is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	ctx, cancel := s.bound(ctx)
	if cancel != nil {
		defer cancel()
	}
	if s.unheard.tooMany() {
		return fmt.Errorf("dragonfly: UNLINK: %w", errNoAnswer)
	}
	if err := s.client.Do(ctx, s.client.B().Unlink().Key(key).Build()).Error(); err != nil {
		return s.failed("UNLINK", err)
	}
	return nil
}

// Close closes the client if the store made it. Calls under way may fail.
func (s *Store) Close() error {
	if s.owned {
		s.client.Close()
	}
	return nil
}

// bound gives ctx a deadline if it has none. Cancel is nil if it had one, so
// that the usual call allocates nothing here.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, nil
	}
	return context.WithTimeout(ctx, s.timeout)
}

func (s *Store) failed(command string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		s.unheard.add()
	}
	return fmt.Errorf("dragonfly: %s: %w", command, err)
}

func isWrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}

// isOutOfMemory knows "OOM command not allowed" of Redis and "Out of memory" of
// Dragonfly.
func isOutOfMemory(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && (strings.HasPrefix(e.Error(), "OOM") || strings.Contains(e.Error(), "Out of memory"))
}
