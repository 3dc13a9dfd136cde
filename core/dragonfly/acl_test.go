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
)

// rights is what the README says that a user needs, near tier and cluster
// included.
const rights = "resetkeys ~cacheaside:2:* resetchannels -@all" +
	" +get +getrange +set +del +unlink +pexpire +pttl +lpush +ltrim +lrange +eval +evalsha +ping +info" +
	" +client|tracking +client|caching +multi +exec +cluster|slots +cluster|shards +asking"

// startACL runs a server that lets nobody in but the user "cacheaside", and admin
// for the test.
func startACL(t *testing.T, rights string) (*storetest.Process, rueidis.Client) {
	t.Helper()
	p := storetest.StartServer(t)
	if p.Kind == "dragonfly" {
		t.Skip("Dragonfly has other names for some rights")
	}
	setup := other(t, p.Addr)
	run(t, setup, "ACL", "SETUSER", "admin", "on", ">root", "~*", "&*", "+@all")
	setUser(t, setup, "on >hunter2 "+rights)
	run(t, setup, "ACL", "SETUSER", "default", "off")
	admin := other(t, "redis://admin:root@"+p.Addr)
	run(t, admin, "CLIENT", "KILL", "USER", "default")
	return p, admin
}

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

func TestACLStore(t *testing.T) {
	storetest.LongOnly(t)
	t.Parallel() // it mostly waits
	p, admin := startACL(t, rights+" ~storetest:*")
	url := "redis://cacheaside:hunter2@" + p.Addr
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, url) })
	if got := denials(t, admin); got != "" && got != "command client|setinfo" {
		t.Errorf("the server has refused: %s", got)
	}
}

// exercise does with a cache what there is to do, and returns what does not work.
func exercise(t *testing.T, p *storetest.Process, journal bool) (trouble []string) {
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
		c.Logger, c.Breaker.Failures, c.Timeouts.Lock = slog.New(slog.NewTextHandler(&cacheLog, nil)), 1000, 100*time.Millisecond
	})
	w.get(t, "/a")
	if _, hit := w.get(t, "/a"); !hit {
		note("no hit")
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
	r := resource{s: s, lock: "cacheaside:2:{GET:of:ours}:lock", key: "cacheaside:2:{GET:of:ours}", clock: "cacheaside:2:{tags}:clock"}
	f := r.fill("me")
	f.Adopt = true
	if _, err := s.Begin(ctx, f); err != nil {
		note("Begin: %v", err)
	} else if held, err := s.CompareAndExtend(ctx, r.lock, "me", time.Minute); !held || err != nil {
		note("Extend: %v %v", held, err)
	} else if held, err := s.CompareAndSwap(ctx, r.lock, "me", "", 0); !held || err != nil {
		note("Swap: %v %v", held, err)
	}
	if err := w.Flush(ctx); err != nil { // what was stored last may be on its way
		note("Flush: %v", err)
	}
	if s.Near() && len(trouble) == 0 {
		heat(t, s, "cacheaside:2:{GET:http://example.com/a}")
	}
	if n := w.Stats().StoreErrors; n > 0 {
		note("%d store errors: %s", n, cacheLog.String())
	}
	return trouble
}

func TestREADMERights(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "redis-cli ACL SETUSER cacheaside on")
	section, _, _ = strings.Cut(section, "```")
	listed := strings.Fields(strings.NewReplacer("'", "", "\\\n", "", ">secret", "").Replace(section))
	if !slices.Equal(listed, strings.Fields(rights)) {
		t.Errorf("the README lists %v, the tests have %v", listed, strings.Fields(rights))
	}
}

// TestACLCache: with the rights of the README everything works, and without any
// one of them something does not, but no client gets an error.
func TestACLCache(t *testing.T) {
	p, admin := startACL(t, rights)
	if trouble := exercise(t, p, true); len(trouble) > 0 {
		t.Fatalf("%s\ndenied: %s", strings.Join(trouble, "\n"), denials(t, admin))
	}
	for _, right := range strings.Fields(rights) {
		if !strings.HasPrefix(right, "+") || slices.Contains([]string{"+cluster|slots", "+cluster|shards", "+asking"}, right) {
			continue // the last are for clusters
		}
		setUser(t, admin, "reset on >hunter2 "+strings.Replace(rights, right, "", 1))
		run(t, admin, "ACL", "LOG", "RESET")
		run(t, admin, "FLUSHALL")
		run(t, admin, "SCRIPT", "FLUSH")
		trouble := exercise(t, p, false)
		t.Logf("without %s: %s", right, strings.Join(trouble, "; "))
		if right == "+set" && !strings.Contains(strings.Join(trouble, ""), "refused the write: The user executing the script") &&
			!strings.Contains(strings.Join(trouble, ""), "refused the write: ERR ACL failure in script") {
			t.Errorf("without +set scripts are not refused: %s", trouble)
		}
		if denied := denials(t, admin); len(trouble) == 0 && !strings.Contains(denied, right[1:]) {
			t.Errorf("%s is not needed (denied: %s)", right, denied)
		}
	}
}

// TestACLRotation changes the password while the cache is in use.
func TestACLRotation(t *testing.T) {
	p, admin := startACL(t, rights)
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
		run(t, admin, "CLIENT", "KILL", "USER", "cacheaside")
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
