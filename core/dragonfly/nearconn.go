package dragonfly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/store"
)

// errUntracked is wrapped by why a server cannot be used for the near tier.
var errUntracked = errors.New("tracking is not available")

// connect makes the client that tracks. An error means that the server cannot; one
// that is only away is tried again when there is something to read.
func (n *near) connect(ctx context.Context, option rueidis.ClientOption) error {
	if option.AlwaysRESP2 {
		return fmt.Errorf("%w: it needs RESP3, and AlwaysRESP2 is set", errUntracked)
	}
	option.DisableCache = false
	option.NewCacheStoreFn = n.newConn
	// Plain OPTIN, on which Redis, Valkey and Dragonfly agree.
	option.ClientTrackingOptions = nil
	option.OnInvalidations = nil
	option.ClientName += "-near"
	// One connection per server, which is used in order.
	option.PipelineMultiplex = -1
	option.DisableAutoPipelining = false
	option.AlwaysPipelining = true
	option.ConnLifetime = 0
	// A replica would lag behind the acknowledgement of a write.
	option.SendToReplicas = nil
	option.ReadNodeSelector = nil
	option.ReplicaSelector = nil //nolint:staticcheck // rueidis refuses it without SendToReplicas
	option.Standalone.ReplicaAddress = nil

	ctx, cancel := context.WithTimeout(ctx, patience(option))
	defer cancel()
	client, err := dial(ctx, option)
	n.client = client
	if err == nil {
		err = n.probe(ctx)
	}
	if err != nil && (client == nil || cannotTrack(err)) {
		return err
	}
	return nil
}

func cannotTrack(err error) bool {
	return errors.Is(err, errUntracked) || errors.Is(err, rueidis.ErrNoCache)
}

// probe finds out whether we may do what a tracked read does, but for what that does with
// its key. That CLIENT TRACKING is there is known from the handshake. A read with CLIENT
// CACHING refused would be answered all the same, and make a copy that nobody keeps true.
func (n *near) probe(ctx context.Context) error {
	for _, node := range n.client.Nodes() {
		b := node.B()
		answers := node.DoMulti(ctx,
			b.Info().Section("server").Build(),
			b.Arbitrary("MULTI").Build(),
			b.Arbitrary("EXEC").Build(),
			b.Arbitrary("CLIENT", "CACHING", "YES").Build(),
			b.Arbitrary("PING").Build(), // takes up CACHING
		)
		for _, answer := range answers {
			if err := answer.NonRedisError(); err != nil {
				return err
			}
		}
		for _, answer := range answers[1:4] {
			if e, ok := rueidis.IsRedisErr(answer.Error()); ok {
				return fmt.Errorf("%w: %w", errUntracked, e)
			}
		}
		text, _ := answers[0].ToString()
		for line := range strings.Lines(text) {
			if version, ok := strings.CutPrefix(strings.TrimSpace(line), "dragonfly_version:"); ok && oldDragonfly(version) {
				return fmt.Errorf("%w: it needs Dragonfly 1.40.1, and this is %s", errUntracked, version)
			}
		}
	}
	n.probed.Store(true)
	return nil
}

// probeKey finds out whether we may do with the first key that is read what a tracked read
// does with one. No key that we made up would do: the user may be allowed those of a
// namespace only, and Dragonfly says of a key that is not for a user what it says of a
// command.
func (n *near) probeKey(ctx context.Context, key string) error {
	err := n.client.Do(ctx, n.client.B().Pttl().Key(key).Build()).Error()
	if isNoPerm(err) {
		return fmt.Errorf("%w: PTTL: %w", errUntracked, err)
	}
	n.allowed.Store(err == nil)
	return err
}

// oldDragonfly knows df-v1.40.0 and what is before. A version without numbers is
// somebody's own build.
func oldDragonfly(version string) bool {
	want := [...]int{1, 40, 1}
	version, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(version, "df-"), "v"), "-")
	parts := strings.Split(version, ".")
	for i, least := range want {
		if i >= len(parts) {
			return false
		}
		got, err := strconv.Atoi(parts[i])
		if err != nil || got > least {
			return false
		}
		if got < least {
			return true
		}
	}
	return false
}

// fetch reads key so that the server tracks it. It has no deadline: the flight
// must be known until the answer is there or the connection is gone, which its
// pings find out within about three seconds.
func (n *near) fetch(key string, f *flight) {
	err := n.read(key)
	n.mu.Lock()
	delete(n.flights, key)
	if f.raw != nil {
		n.holding--
	}
	copied := f.copied
	n.mu.Unlock()
	if !copied {
		n.rejections.Add(1)
	}
	switch {
	case err == nil, rueidis.IsRedisNil(err):
	case cannotTrack(err):
		n.disable(err)
	default:
		if _, answered := rueidis.IsRedisErr(err); !answered {
			n.resume.Store(n.now() + int64(fetchPause))
		}
	}
}

func (n *near) read(key string) error {
	ctx := context.Background()
	if err := n.probeOnce(ctx, key); err != nil {
		return err
	}
	return n.client.DoCache(ctx, n.client.B().Get().Key(key).Cache(), n.maxAge).Error()
}

// probeOnce probes until that has succeeded.
func (n *near) probeOnce(ctx context.Context, key string) error {
	if n.probed.Load() && n.allowed.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !n.probed.Load() {
		if err := n.probe(ctx); err != nil {
			return err
		}
	}
	return n.probeKey(ctx, key)
}

// conn is what rueidis knows as the cache of one connection.
type conn struct {
	n      *near
	closed bool
}

// newConn is called for every connection. In most cases it replaces a lost one,
// whose Close is perhaps still to come.
func (n *near) newConn(rueidis.CacheStoreOption) rueidis.CacheStore {
	n.dropAll()
	return &conn{n: n}
}

// Flight is called before a read is sent, and lets it be sent.
func (c *conn) Flight(key, _ string, _ time.Duration, _ time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if f := c.n.flights[key]; f != nil {
		f.conn, f.sent = c, c.n.now()
	}
	return rueidis.RedisMessage{}, nil
}

// Update is called by the connection's reader with the answer.
func (c *conn) Update(key, _ string, message rueidis.RedisMessage) int64 {
	pxat := message.CachePXAT()
	n := c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.flights[key]
	if f == nil || f.conn != c || f.spoiled || n.writers[key] > 0 || c.closed || n.closed || n.off.Load() {
		return pxat
	}
	value, err := message.AsBytes()
	if isStub(value) {
		if !bytes.Equal(value, f.raw) {
			return pxat // replaced
		}
		value = f.value
	}
	if err != nil || copyWeight(key, cap(value)) > n.max || !entry.Sound(value) {
		return pxat // gone meanwhile, no string, grown, or damaged
	}
	// The server counted what is left after the read was sent.
	age := n.maxAge
	if pxat > 0 {
		age = min(age, time.Duration(pxat-time.Now().UnixMilli())*time.Millisecond)
	}
	h := held{value: value, stamp: parseStamp(key, rueidis.BinaryString(value)), epoch: n.epoch.Load(), until: f.sent + int64(age)}
	if h.until <= n.now() {
		return pxat
	}
	f.copied = true
	n.admissions.Add(1) // before anybody can find it
	n.copies.Set(key, h)
	return pxat
}

// Cancel leaves the flight to fetch, which it makes return.
func (c *conn) Cancel(string, string, error) {}

// Delete is called by the connection's reader when keys were written, or with nil
// when all were.
func (c *conn) Delete(keys []rueidis.RedisMessage) {
	n := c.n
	if keys == nil {
		n.dropAll()
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range keys {
		if key, err := keys[i].ToString(); err == nil {
			h, was := n.copies.Invalidate(key)
			if was {
				n.invalidations.Add(1)
			}
			if !was || h.stamp != (store.Stamp{}) { // perhaps a stamp whose copy was pushed out
				n.mark.Add(1)
			}
		}
	}
}

// Close is called when the connection is gone.
func (c *conn) Close(error) {
	c.n.mu.Lock()
	c.closed = true
	c.n.mu.Unlock()
	c.n.dropAll()
}
