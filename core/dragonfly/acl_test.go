package dragonfly_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// rights is what the README says that a user of a namespace needs, near tier and cluster
// included.
func rights(kind servers.Kind, namespace string) string {
	const both = " resetchannels -@all" +
		" +get +getrange +set +del +unlink +pexpire +pttl +lpush +ltrim +lrange +eval +evalsha +ping +info +multi +exec"
	ours := "resetkeys ~" + namespace + ":2:*" + both
	if kind == servers.Dragonfly {
		return ours + " +client +cluster +readwrite"
	}
	return ours + " +client|tracking +client|caching +cluster|slots +cluster|shards +asking"
}

// forClusters are those that nothing is known of here.
var forClusters = []string{"+cluster", "+cluster|slots", "+cluster|shards", "+asking", "+readwrite"}

// startACL runs a server that lets nobody in but admin, for the test, and whom it adds.
func startACL(t *testing.T, opts ...servers.Option) (*storetest.Process, rueidis.Client) {
	t.Helper()
	p := storetest.StartServer(t, opts...)
	setup := other(t, p.Addr)
	run(t, setup, "ACL", "SETUSER", "admin", "on", ">root", "~*", "&*", "+@all")
	run(t, setup, "ACL", "SETUSER", "default", "off")
	setup.Close()
	return p, other(t, "redis://admin:root@"+p.Addr+"?client_name=admin")
}

// nothing takes from a user all that it has, as "reset" does on Redis alone.
const nothing = "on resetpass resetkeys resetchannels -@all "

func setUser(t *testing.T, c rueidis.Client, rules string) {
	t.Helper()
	run(t, c, append([]string{"ACL", "SETUSER", "cacheaside"}, strings.Fields(rules)...)...)
}

// denials are what the server has refused to whom.
func denials(t *testing.T, admin rueidis.Client) string {
	t.Helper()
	entries, err := admin.Do(context.Background(), admin.B().Arbitrary("ACL", "LOG").Build()).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		m, err := e.AsMap()
		if err != nil {
			t.Fatal(err)
		}
		reason, object := m["reason"], m["object"]
		a, _ := reason.ToString()
		b, _ := object.ToString()
		all = append(all, a+" "+b)
	}
	return strings.Join(all, ", ")
}

func TestACLStore(t *testing.T) { storetest.EachKind(t, testACLStore) }

func testACLStore(t *testing.T, only servers.Option) {
	storetest.LongOnly(t)
	p, admin := startACL(t, only)
	setUser(t, admin, "on >hunter2 "+rights(p.Kind, "cacheaside")+" ~storetest:*")
	url := "redis://cacheaside:hunter2@" + p.Addr
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, url) })
	if got := denials(t, admin); got != "" && got != "command client|setinfo" {
		t.Errorf("the server has refused: %s", got)
	}
}

// exercise does with a cache of a namespace what there is to do, and returns what does not
// work.
func exercise(t *testing.T, p *storetest.Process, namespace string, journal bool) (trouble []string) {
	t.Helper()
	note := func(format string, args ...any) { trouble = append(trouble, fmt.Sprintf(format, args...)) }
	ctx := context.Background()
	option, log := logTo()
	s, err := storetest.Patiently(func() (*dragonfly.Store, error) {
		return dragonfly.Open(ctx, "redis://cacheaside:hunter2@"+p.Addr, withNear(), option)
	})
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = s.Close() }()
	if !s.Near() {
		note("no near tier: %s", log)
	}
	if strings.Contains(log.String(), `version=""`) {
		note("the version is unknown: %s", log)
	}
	var cacheLog logBuffer
	w := newSite(t, s, func(c *cacheaside.Config) {
		unhurried(c)
		c.Namespace = namespace
		c.Logger, c.Breaker.Failures, c.Timeouts.Lock = slog.New(slog.NewTextHandler(&cacheLog, nil)), 1000, 100*time.Millisecond
	})
	w.get(t, "/a")
	if _, hit := w.get(t, "/a"); !hit {
		note("no hit: %s", cacheLog.String())
	}
	w.row.Add(1)
	for name, err := range map[string]error{
		"PurgeTags": w.PurgeTags(ctx, "/a"), "PurgeURL": w.PurgeURL(ctx, "http://example.com/a"),
	} {
		if err != nil {
			note("%s: %v", name, err)
		}
	}
	if journal { // which takes half a second
		if err := w.Purge(ctx, cacheaside.Purge{All: true}); err != nil {
			note("PurgeAll: %v", err)
		}
	}
	if body, _ := w.get(t, "/a"); body != "1" {
		note("not purged")
	}
	// The engine extends and releases tokens only where a handler is slow or fails.
	r := resource{s: s, lock: namespace + ":2:{GET:of:ours}:lock", key: namespace + ":2:{GET:of:ours}", clock: namespace + ":2:{tags}:clock"}
	f := r.fill("me")
	f.Adopt = true
	if _, err := s.Begin(ctx, f); err != nil {
		note("Begin: %v", err)
	} else if held, err := s.CompareAndExtend(ctx, r.lock, "me", time.Minute); !held || err != nil {
		note("Extend: %v %v", held, err)
	} else if held, err := s.CompareAndSwap(ctx, r.lock, "me", "", 0); !held || err != nil {
		note("Swap: %v %v", held, err)
	}
	// A response with a tag that nobody has used yet is fresh although another one was purged.
	f.Token, f.Adopt = "you", false
	if begun, err := s.Begin(ctx, f); err != nil {
		note("Begin: %v", err)
	} else if _, err := s.Bump(ctx, r.clock, []string{namespace + ":2:{tags}:t:other"}, false, 1, time.Minute); err != nil {
		note("Bump: %v", err)
	} else if written, err := s.Write(ctx, store.Write{
		Lock: r.lock, Token: "you", Since: begun.Mark, Clock: r.clock, Stamps: []string{namespace + ":2:{tags}:t:new"},
		Values: []store.Value{{Key: r.key, Data: []byte("v"), TTL: time.Minute}},
	}); err != nil || !written.Stored || written.Purged {
		note("not fresh after the purge of another tag: %+v, %v", written, err)
	}
	if err := w.Flush(ctx); err != nil { // what was stored last may be on its way
		note("Flush: %v", err)
	}
	if len(trouble) == 0 { // what else the near tier needs is found out with the first key
		key := namespace + ":2:{GET:http://example.com/a}"
		until(t, "a copy, or none ever", func() bool {
			_, _, near, err := s.GetTier(ctx, key)
			return near || err != nil || !s.Near()
		})
		if !s.Near() {
			note("no near tier: %s", log)
		}
	}
	if n := w.Stats().StoreErrors; n > 0 {
		note("%d store errors: %s", n, cacheLog.String())
	}
	return trouble
}

// listed are the rights in the README for a kind of server.
func listed(t *testing.T, heading string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## The rights of its user\n")
	_, section, _ = strings.Cut(section, heading)
	_, section, _ = strings.Cut(section, "redis-cli ACL SETUSER cacheaside on")
	section, _, _ = strings.Cut(section, "```")
	return strings.Fields(strings.NewReplacer("'", "", "\\\n", "", ">secret", "").Replace(section))
}

// TestREADMERights: the lines in the README are those of the tests, and its table says of
// each right what it is for.
func TestREADMERights(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, kind := range map[string]servers.Kind{"On Dragonfly:": servers.Dragonfly, "On Redis 7 and Valkey:": servers.Redis} {
		got, want := listed(t, heading), strings.Fields(rights(kind, "cacheaside"))
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s the README lists\n%v, the tests have\n%v", heading, got, want)
		}
		for _, right := range want {
			if strings.HasPrefix(right, "+") && !strings.Contains(strings.ReplaceAll(string(readme), `\|`, "|"), "`"+right[1:]+"`") {
				t.Errorf("%s the README does not say what `%s` is for", heading, right[1:])
			}
		}
	}
}

// TestACLCache: with the rights of the README everything works, in any namespace, and
// without any one of them something does not, but no client gets an error.
func TestACLCache(t *testing.T) { storetest.EachKind(t, testACLCache) }

func testACLCache(t *testing.T, only servers.Option) {
	p, admin := startACL(t, only)
	again := func(namespace, rights string) {
		t.Helper()
		setUser(t, admin, nothing+">hunter2 "+rights)
		run(t, admin, "ACL", "LOG", "RESET")
		run(t, admin, "FLUSHALL")
		run(t, admin, "SCRIPT", "FLUSH")
	}
	for _, namespace := range []string{"cacheaside", "shop", "shop_1.eu-west"} {
		again(namespace, rights(p.Kind, namespace))
		if trouble := exercise(t, p, namespace, namespace == "shop"); len(trouble) > 0 {
			t.Fatalf("%s: %s\ndenied: %s", namespace, strings.Join(trouble, "\n"), denials(t, admin))
		}
		if denied := denials(t, admin); denied != "" && denied != "command client|setinfo" {
			t.Errorf("%s: the server has refused: %s", namespace, denied)
		}
	}
	all := rights(p.Kind, "cacheaside")
	for _, right := range strings.Fields(all) {
		if !strings.HasPrefix(right, "+") || slices.Contains(forClusters, right) {
			continue
		}
		again("cacheaside", strings.Replace(all+" ", right+" ", " ", 1))
		trouble := exercise(t, p, "cacheaside", false)
		t.Logf("without %s: %s", right, strings.Join(trouble, "; "))
		if right == "+set" && !strings.Contains(strings.Join(trouble, ""), "refused the write: ") {
			t.Errorf("without +set scripts are not refused: %s", trouble)
		}
		if denied := denials(t, admin); len(trouble) == 0 && !strings.Contains(strings.ToLower(denied), right[1:]) {
			t.Errorf("%s is not needed (denied: %s)", right, denied)
		}
	}
	// Keys of another namespace are for somebody else.
	again("cacheaside", rights(p.Kind, "other"))
	if trouble := exercise(t, p, "cacheaside", false); len(trouble) == 0 {
		t.Error("the user may touch the keys of another namespace")
	}
}

// TestACLRotation changes the password while the cache is in use.
func TestACLRotation(t *testing.T) { storetest.EachKind(t, testACLRotation) }

func testACLRotation(t *testing.T, only servers.Option) {
	p, admin := startACL(t, only)
	setUser(t, admin, "on >hunter2 "+rights(p.Kind, "cacheaside"))
	var password atomic.Value
	password.Store("hunter2")
	option := rueidis.ClientOption{
		InitAddress: []string{p.Addr},
		AuthCredentialsFn: func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			return rueidis.AuthCredentials{Username: "cacheaside", Password: password.Load().(string)}, nil
		},
	}
	s, err := dragonfly.OpenClientOption(t.Context(), option, withNear())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var log logBuffer
	w := newSite(t, s, func(c *cacheaside.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	w.hits(t, "/a")
	for round, next := range []string{"hunter22", "hunter23"} {
		setUser(t, admin, "resetpass >"+next)
		storetest.Disconnect(t, admin, "cacheaside", "cacheaside-near")
		before := w.Stats()
		until(t, "the handler answers, without the store", func() bool {
			calls := w.calls.Load()
			_, hit := w.get(t, fmt.Sprint("/", round))
			return !hit && w.calls.Load() == calls+1 && w.BreakerOpen() && w.Stats().StoreErrors+w.Stats().Skipped > before.StoreErrors+before.Skipped
		})
		if err := w.PurgeTags(t.Context(), "/a"); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a purge without the right password: %v", err)
		}
		password.Store(next)
		w.hits(t, "/a")
		w.row.Add(1)
		until(t, "a purge", func() bool { return w.PurgeTags(t.Context(), "/a") == nil })
		if body, _ := w.get(t, "/a"); body != fmt.Sprint(w.row.Load()) {
			t.Errorf("%q after the purge, want %d", body, w.row.Load())
		}
		until(t, "copies in this process", func() bool {
			w.get(t, "/a")
			return w.Stats().Near > before.Near
		})
	}
	if got := log.String(); !strings.Contains(got, "WRONGPASS") || strings.Contains(got, "hunter2") {
		t.Errorf("logged %q", got)
	}

	password.Store("hunter2wrong")
	if _, err := dragonfly.OpenClientOption(t.Context(), option); err == nil || !strings.Contains(err.Error(), "does not accept the user or password") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Open with the wrong password: %v", err)
	}
	refused(t, "redis://cacheaside:hunter2@"+p.Addr, p.Addr, "does not accept the user or password")
	refused(t, "redis://"+p.Addr, p.Addr, "wants a password")
}
