package main

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/faultproxy"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// world is what a fault can lay hands on.
type world struct {
	server   *servers.Server
	proxy    *faultproxy.Proxy
	admin    rueidis.Client // to the server itself
	password atomic.Value   // string, the one that the server wants
	dir      string
	master   *servers.Server // of the server, while it is a replica of one
	fillers  int             // keys that take room
	data     *database
	rng      *rand.Rand
}

// connect makes the admin, who always has the right password.
func (w *world) connect(ctx context.Context) (err error) {
	w.password.Store("")
	w.admin, err = server.Patiently(ctx, func() (rueidis.Client, error) {
		return rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{w.server.Addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, ClientName: "faultlab",
			AuthCredentialsFn: func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
				return rueidis.AuthCredentials{Password: w.password.Load().(string)}, nil
			},
		})
	})
	return err
}

// fault is something that goes wrong.
type fault struct {
	name  string
	begin func(context.Context, *world) error
	// during, if any, is called again and again until the fault ends.
	during func(context.Context, *world) error
	end    func(context.Context, *world) error
	// handler says that it is the handler that fails.
	handler bool
	// breaks says that it is done to the server itself, which must be the lab's own then.
	breaks bool
	// opts are what that must be able to do.
	opts []servers.Option
	// stale lets stale responses take the place of what the handler fails to
	// give; then nobody may see an error at all.
	stale bool
	// slow is how much longer than usual the handler takes.
	slow time.Duration
}

func (w *world) do(ctx context.Context, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return w.admin.Do(ctx, w.admin.B().Arbitrary(words...).Build()).Error()
}

func faults() []fault {
	proxied := func(name string, on, off func(*faultproxy.Proxy)) fault {
		return fault{
			name:  name,
			begin: func(_ context.Context, w *world) error { on(w.proxy); return nil },
			end:   func(_ context.Context, w *world) error { off(w.proxy); return nil },
		}
	}
	configured := func(name string, needs servers.Option, on, off [][]string) fault {
		all := func(commands [][]string) func(context.Context, *world) error {
			return func(ctx context.Context, w *world) error {
				for _, c := range commands {
					if err := w.do(ctx, c...); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return fault{name: name, breaks: true, opts: []servers.Option{needs}, begin: all(on), end: all(off)}
	}
	handler := func(name string, mode int32, stale bool) fault {
		return fault{
			name: name, handler: true, stale: stale,
			begin: func(_ context.Context, w *world) error { w.data.mode.Store(mode); return nil },
			end:   func(_ context.Context, w *world) error { w.data.mode.Store(working); return nil },
		}
	}
	hang := func(name string, stale bool) fault {
		f := handler(name, hanging, stale)
		f.slow = 3 * hangTime // it may wait for others that are purged meanwhile
		return f
	}
	nothing := func(context.Context, *world) error { return nil }
	return []fault{
		{name: "none", begin: nothing, end: nothing},
		{
			name: "server killed", breaks: true,
			begin: func(_ context.Context, w *world) error { w.server.Kill(); return nil },
			end:   func(ctx context.Context, w *world) error { return w.server.Start(ctx) },
		},
		{
			name: "server stopped (SIGSTOP)", breaks: true,
			begin: func(_ context.Context, w *world) error { return w.server.Pause() },
			end:   func(_ context.Context, w *world) error { return w.server.Resume() },
		},
		proxied("server slow by 500 ms", func(p *faultproxy.Proxy) { p.Delay(500 * time.Millisecond) }, func(p *faultproxy.Proxy) { p.Delay(0) }),
		proxied("connections reset in mid-reply", func(p *faultproxy.Proxy) { p.Cut(50) }, func(p *faultproxy.Proxy) { p.Cut(0) }),
		proxied("packets dropped", func(p *faultproxy.Proxy) { p.Drop(true) }, func(p *faultproxy.Proxy) { p.Drop(false); p.Refuse(true); p.Refuse(false) }),
		proxied("connections refused", func(p *faultproxy.Proxy) { p.Refuse(true) }, func(p *faultproxy.Proxy) { p.Refuse(false) }),
		{
			name: "server restarted empty, again and again", breaks: true, begin: nothing, end: nothing,
			during: func(ctx context.Context, w *world) error {
				w.server.Kill()
				if err := w.server.Start(ctx); err != nil {
					return err
				}
				time.Sleep(300 * time.Millisecond)
				return nil
			},
		},
		outOfMemory("server out of memory", func(*world) {}),
		outOfMemory("server out of memory, in the words of another kind", otherWords),
		{
			name: "server became a read-only replica", breaks: true,
			begin: func(ctx context.Context, w *world) error { return w.follow(ctx) },
			end:   func(ctx context.Context, w *world) error { return w.lead(ctx) },
		},
		configured("replica that refuses reads (MASTERDOWN)",
			servers.Only("Dragonfly has no replica-serve-stale-data", servers.Valkey, servers.Redis),
			[][]string{{"CONFIG", "SET", "replica-serve-stale-data", "no"}, {"REPLICAOF", "127.0.0.1", "1"}},
			[][]string{{"REPLICAOF", "NO", "ONE"}, {"CONFIG", "SET", "replica-serve-stale-data", "yes"}}),
		{
			name: "wrong password after a rotation", breaks: true,
			begin: func(ctx context.Context, w *world) error {
				if err := w.rotate(ctx, "another"); err != nil {
					return err
				}
				return servers.Disconnect(ctx, w.admin, "cacheaside", "cacheaside-near")
			},
			end: func(ctx context.Context, w *world) error { return w.rotate(ctx, "") },
		},
		// What looks like the lock of another process is waited for while it lasts.
		{name: "corrupt values under live keys", begin: nothing, end: nothing, during: corrupt, slow: (3 * time.Second)},
		handler("handler answers 503", unavailable, false),
		handler("handler answers 503, with stale copies", unavailable, true),
		handler("handler panics", panicking, false),
		handler("handler panics, with stale copies", panicking, true),
		hang("handler hangs for 400 ms", false),
		hang("handler hangs, with stale copies", true),
	}
}

// rotate makes the server want another password of new connections. Empty: none.
func (w *world) rotate(ctx context.Context, password string) error {
	if err := w.do(ctx, "CONFIG", "SET", "requirepass", password); err != nil {
		return err
	}
	w.password.Store(password)
	return nil
}

// corrupt writes what does not belong there under a key that is in use.
func corrupt(ctx context.Context, w *world) error {
	time.Sleep(2 * time.Millisecond)
	get := func(words ...string) (string, error) {
		return w.admin.Do(ctx, w.admin.B().Arbitrary(words...).Build()).ToString()
	}
	key, err := get("RANDOMKEY")
	if err != nil {
		return nil //nolint:nilerr // there is none at the moment
	}
	value, err := get("GET", key)
	if err != nil || value == "" {
		return nil //nolint:nilerr // gone, or broken already
	}
	switch w.rng.IntN(5) {
	case 0:
		b := make([]byte, w.rng.IntN(2000))
		for i := range b {
			b[i] = byte(w.rng.Uint32())
		}
		value = string(b)
	case 1:
		value = value[:w.rng.IntN(len(value))]
	case 2: // one bit
		b := []byte(value)
		b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8)
		value = string(b)
	case 3: // another key's
		if other, err := get("RANDOMKEY"); err == nil {
			if v, err := get("GET", other); err == nil {
				value = v
			}
		}
	default: // of another type
		if err := w.do(ctx, "DEL", key); err != nil {
			return err
		}
		return ignoreServer(w.do(ctx, "RPUSH", key, "a", "b"))
	}
	return ignoreServer(w.do(ctx, "SET", key, value, "KEEPTTL"))
}

// ignoreServer drops what the server itself answers: somebody was faster.
func ignoreServer(err error) error {
	if _, ok := rueidis.IsRedisErr(err); ok {
		return nil
	}
	return err
}

// policy is that of the cache under a fault.
func (f *fault) policy(c *cacheaside.Config) {
	if f.stale {
		c.Policy.Stale.IfError = time.Minute
		c.Policy.Stale.SoftTimeout = 50 * time.Millisecond
	}
}
