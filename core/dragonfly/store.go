package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/internal/timely"
	"github.com/cacheaside/cacheaside/core/store"
)

// callTimeout bounds a call whose context has no deadline.
const callTimeout = time.Second

// maxTTL is below what the server's clocks can hold: Dragonfly counts expiry in
// 2^28 seconds, which is 8.5 years.
const maxTTL = 8 * 365 * 24 * time.Hour

// ErrRefused is what a write returns, wrapped, when the server has no memory for
// it, or otherwise does not take it. Nothing was stored; a later write may
// succeed. What a replica refuses is another matter: there, reading may be
// behind what was purged.
var ErrRefused = store.ErrRefused

// Store keeps values on a server. All methods may be called concurrently.
//
// A call ends with its context at the latest, or after a second if that
// has no deadline. A key must be memory that is never reused: a call that ends
// early leaves its command in the connection's queue. The same holds for a value.
// Nothing is retried.
type Store struct {
	client  rueidis.Client
	owned   bool
	timeout time.Duration
	gate    gate
	// noSetGet is set once a server has refused SET with both NX and GET.
	noSetGet atomic.Bool
	near     *near // nil without
	large    large
	now      func() time.Time
}

// Open connects to the server at url, looks at what it is, and logs that in one
// line. The forms of url are
//
//	redis://[user[:password]@]host[:port][/db]
//	rediss://...                               with TLS
//	unix://[user[:password]@]/path[?db=n]      a Unix socket
//	host[:port]
//
// with port 6379 and database 0 by default. Special characters in user, password, path
// and values are percent-encoded. A query may have, each at most once but for addr,
//
//	addr           host:port of a further node of a cluster, or a further sentinel
//	master_set     name of what sentinels watch
//	db             number of the database
//	client_name    in CLIENT LIST; "cacheaside" by default
//	protocol       3, or 2 for RESP2, which leaves no room for WithNear
//	dial_timeout   for the connection, and again for the handshake; 300ms by default
//	write_timeout  of a connection that gives no answer at all; 1s by default
//	max_retries    0: nothing is ever retried
//	server_name    in the server's certificate; the host by default
//	ssl_ca_certs   file of the authorities, in PEM, instead of the system's
//	ssl_certfile   file of the client's certificate, in PEM
//	ssl_keyfile    file of its key, in PEM
//	skip_verify    true: anybody may be the server
//
// of which those for certificates need rediss, and a socket has neither those nor addr nor
// master_set. What else there is, or cannot be, is an error. Files are read once.
//
// An error within about a second (more with dial_timeout) says what failed and what to do. It never
// contains the password.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	option, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenClientOption(ctx, option, opts...)
}

// OpenClientOption is [Open] with rueidis' own options, for clusters, sentinels,
// certificates or rotating credentials. What is left at zero is filled in as
// for Open; client-side caching and retries are always switched off. Who wants
// another client altogether makes it and calls [FromClient].
func OpenClientOption(ctx context.Context, option rueidis.ClientOption, opts ...Option) (*Store, error) {
	o := newOptions(opts)
	if err := o.check(); err != nil {
		return nil, err
	}
	client, err := connect(ctx, &option, o)
	if err != nil {
		return nil, err
	}
	return newStore(ctx, client, true, option, o)
}

// FromClient returns a store on a client that stays the caller's: nothing is
// checked, and [Store.Close] does not close it.
func FromClient(client rueidis.Client, opts ...Option) (*Store, error) {
	if client == nil {
		return nil, errors.New("dragonfly: client is nil: give one made by rueidis.NewClient, or call Open")
	}
	o := newOptions(opts)
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.near != nil && o.near.Connect == nil {
		return nil, errors.New("dragonfly: NearOptions.Connect is nil: FromClient needs it, or call OpenClientOption")
	}
	return newStore(context.Background(), client, false, rueidis.ClientOption{}, o)
}

func newStore(ctx context.Context, client rueidis.Client, owned bool, option rueidis.ClientOption, o options) (*Store, error) {
	s := &Store{client: client, owned: owned, timeout: callTimeout, now: timely.Now}
	if o.timeout > 0 {
		s.timeout = o.timeout
	}
	s.gate.cluster = client.Mode() == rueidis.ClientModeCluster
	s.large.init(client)
	s.gate.doubtful.Store(1)
	if s.gate.cluster {
		s.gate.doubtful.Store(gateParts)
	}
	if o.near == nil {
		return s, nil
	}
	if o.near.Connect != nil {
		option = *o.near.Connect
		complete(&option)
	}
	var err error
	if s.near, err = newNear(ctx, option, o); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Client is the client that the store uses.
func (s *Store) Client() rueidis.Client { return s.client }

// Get returns the value under key, and whether there is one: in one command, or two
// for a large one (see [store.LargeValue]), for which it takes [store.TransferTime]
// more where ctx is that of an engine's look-up, or has no deadline. A key that holds
// something else than a string counts as absent: Set replaces it.
func (s *Store) Get(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, _, err := s.get(ctx, key)
	return value, found, err
}

// get is Get, and returns the stub of a large value, too.
func (s *Store) get(ctx context.Context, key string) (value []byte, found bool, raw []byte, err error) {
	for range 2 { // the value may be replaced after its stub was read
		if value, found, err = s.getWhole(ctx, key); !isStub(value) {
			return value, found, nil, err
		}
		raw = value
		if value, found, err = s.getLarge(ctx, key, raw); found {
			return value, true, raw, nil
		}
		if err != nil {
			return nil, false, nil, fmt.Errorf("dragonfly: GET of a large value: %w", err)
		}
	}
	return nil, false, nil, nil
}

// getWhole returns what is under key, which may be a stub.
func (s *Store) getWhole(ctx context.Context, key string) ([]byte, bool, error) {
	result, err := s.do(ctx, s.client.B().Get().Key(key).Build())
	if err == nil {
		var value []byte
		if value, err = result.AsBytes(); err == nil {
			return value, true, nil
		}
		if rueidis.IsRedisNil(err) || isWrongType(err) {
			return nil, false, nil
		}
	}
	return nil, false, fmt.Errorf("dragonfly: GET: %w", err)
}

// Set keeps value under key for ttl, in whole milliseconds, at least one. A
// refusal is [ErrRefused]. A ttl beyond eight years is cut to that. The bytes of a
// large value are kept under a second key, ten seconds longer, and travel over a
// connection of their own: see [store.ErrSlow].
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	ms, err := milliseconds(ttl)
	if err != nil {
		return fmt.Errorf("dragonfly: %w", err)
	}
	if _, ok := s.large.bodyKey(key, 0); ok && isLarge(value) {
		if err := s.setLarge(ctx, store.Value{Key: key, Data: value, TTL: ttl}, ms); err != nil {
			return failure("SET of a large value", err)
		}
		return nil
	}
	s.near.writing(key)
	result, err := s.do(ctx, s.client.B().Set().Key(key).Value(rueidis.BinaryString(value)).PxMilliseconds(ms).Build())
	s.near.written(key)
	if err == nil {
		err = result.Error()
	}
	if err != nil {
		return failure("SET", err)
	}
	return nil
}

// Delete removes the keys, in one round trip with the bytes of large values; the
// server frees their memory in the background. An absent key is no error. Keys that
// share a hash tag go in one step: nothing is written between a lock and a value.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return ctx.Err()
	}
	s.near.writing(keys...)
	defer s.near.written(keys...)
	groups := s.byTag(keys)
	err := s.unlink(ctx, groups)
	if isMoving(err) {
		// The slot moves, and some of its keys have. They go one by one, and those that
		// were written before their lock went go the second time.
		var each [][]string
		for _, group := range groups {
			for i := range group {
				each = append(each, group[i:i+1])
			}
		}
		if err = s.unlink(ctx, each); err == nil {
			err = s.unlink(ctx, each)
		}
	}
	if err != nil {
		return fmt.Errorf("dragonfly: UNLINK: %w", err)
	}
	return nil
}

// unlink removes keys with a command for each group, at once.
func (s *Store) unlink(ctx context.Context, groups [][]string) error {
	cmds := make(rueidis.Commands, len(groups))
	for i, keys := range groups {
		cmds[i] = s.client.B().Unlink().Key(keys...).Build()
	}
	results, err := s.pipeline(ctx, cmds)
	for i := 0; err == nil && i < len(results); i++ {
		err = results[i].Error()
	}
	return err
}

// byTag puts keys together that share a hash tag, some maxKeys of them at most, each with
// the bytes of its value: nobody knows whether that is large.
func (s *Store) byTag(keys []string) (groups [][]string) {
	index := make(map[string]int, 1)
	for _, key := range keys {
		tag := hashTag(key)
		i, ok := index[tag]
		if !ok || len(groups[i]) >= maxKeys {
			i = len(groups)
			index[tag] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], key)
		for slot := range byte(2) {
			if body, ok := s.large.bodyKey(key, slot); ok {
				groups[i] = append(groups[i], body)
			}
		}
	}
	return groups
}

// do sends one command. The error is that of the transport: the server's own is
// in the result.
func (s *Store) do(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisResult, error) {
	at := span{part: s.gate.of(slotOf(cmd))}
	if s.gate.doubt() {
		a, err := s.patient(ctx, at, func(ctx context.Context) answer { return only(s.client.Do(ctx, cmd)) })
		return a.result, err
	}
	a, err := s.bounded(ctx, at, func(ctx context.Context) answer { return only(s.client.Do(ctx, cmd)) })
	return a.result, err
}

// slotOf keeps the command off the heap.
func slotOf(cmd rueidis.Completed) uint16 { return cmd.Slot() }

// pipeline sends several commands at once, which may be of several slots. The error
// is as for do.
func (s *Store) pipeline(ctx context.Context, cmds rueidis.Commands) ([]rueidis.RedisResult, error) {
	call := func(ctx context.Context) (a answer) {
		a.all = s.client.DoMulti(ctx, cmds...)
		for _, r := range a.all {
			if a.err = r.NonRedisError(); a.err != nil {
				break
			}
		}
		return a
	}
	at := s.gate.span(cmds)
	var a answer
	var err error
	if s.gate.doubt() {
		a, err = s.patient(ctx, at, call)
	} else {
		a, err = s.bounded(ctx, at, call)
	}
	return a.all, err
}

// answer is what a call has got.
type answer struct {
	result rueidis.RedisResult   // of one command
	all    []rueidis.RedisResult // of several
	err    error                 // the transport's, of any of them
}

func only(r rueidis.RedisResult) answer { return answer{result: r, err: r.NonRedisError()} }

// bounded makes a call that has one command, or one pipeline, in the client's
// queue at a time. A pipeline may have keys of several slots, and fail for some.
func (s *Store) bounded(ctx context.Context, at span, call func(context.Context) answer) (answer, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	p, err := s.gate.enterAll(ctx, at)
	if err != nil {
		return answer{}, err
	}
	a := call(ctx)
	s.gate.leaveAll(ctx, at, p, a)
	return a, ended(ctx, a.err)
}

// patient is bounded where the call may need a connection. rueidis has all calls wait
// for the one that makes it, whatever their contexts say: measured, for more than a
// second where a server takes connections and says nothing. So that wait is left to
// another goroutine, which keeps the call's place until it is over. ctx is good for
// the call alone, and is not passed on.
func (s *Store) patient(ctx context.Context, at span, call func(context.Context) answer) (answer, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	p, err := s.gate.enterAll(ctx, at)
	if err != nil {
		return answer{}, err
	}
	deadline, _ := ctx.Deadline()
	own, end := context.WithDeadline(context.Background(), deadline)
	got := make(chan answer, 1)
	go func() {
		defer end()
		a := call(own)
		s.gate.leaveAll(own, at, p, a)
		got <- a
	}()
	select {
	case a := <-got:
		return a, ended(ctx, a.err)
	case <-ctx.Done():
		end()
		return answer{}, ctx.Err()
	}
}

// limited gives ctx a deadline. Nearly every call has one, and is spared what another
// one costs.
func (s *Store) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// ended is the end of ctx rather than what became of the connection for it.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// milliseconds is a ttl as the server takes it.
func milliseconds(ttl time.Duration) (int64, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("ttl is %v: it must be positive", ttl)
	}
	return max(1, min(ttl, maxTTL).Milliseconds()), nil
}

// failure says which command failed, and marks a refusal.
func failure(command string, err error) error {
	if isRefusal(err) {
		return fmt.Errorf("dragonfly: %s: %w: %w", command, ErrRefused, err)
	}
	return fmt.Errorf("dragonfly: %s: %w", command, err)
}

// Close closes the client if the store made it, and the one of [WithNear]. Calls
// under way may fail. It waits up to a second for large values on their way.
func (s *Store) Close() error {
	s.near.close()
	s.large.close()
	if s.owned {
		s.client.Close()
	}
	return nil
}

func isWrongType(err error) bool {
	var e *rueidis.RedisError
	return errors.As(err, &e) && strings.HasPrefix(e.Error(), "WRONGTYPE")
}

// isRefusal reports whether the server is well, but does not take a write: no
// memory ("OOM command not allowed" of Redis, which older ones put behind the
// place in the script, and "Out of memory" of Dragonfly), a disk that is full, or
// a user without the right to write.
func isRefusal(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	text := e.Error()
	for _, begin := range []string{"OOM", "MISCONF", "NOREPLICAS", "NOPERM"} {
		if strings.HasPrefix(text, begin) {
			return true
		}
	}
	for _, part := range []string{
		"OOM command not allowed", "Out of memory", "-MISCONF",
		"user executing the script", "ACL failure in script", "has no ACL permissions", // of Redis, of Redis 7.0, of Dragonfly
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
