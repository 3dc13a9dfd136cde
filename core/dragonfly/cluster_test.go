package dragonfly_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// ofTags is in the slot of all stamps of the default namespace.
const ofTags = "cacheaside:2:{tags}:clock"

func entryKey(path string) string { return "cacheaside:2:{GET:http://example.com" + path + "}" }

// clusterURL has all nodes that begin as masters.
func clusterURL(c *storetest.Cluster, user string) string {
	return "redis://" + user + c.Nodes[0].Addr + "?addr=" + c.Nodes[1].Addr + "&addr=" + c.Nodes[2].Addr
}

// TestCluster has a user with the least rights, and first one address only: the
// store finds out that it belongs to a cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := storetest.StartCluster(t)
	for _, p := range c.Nodes {
		c.Must(p, append([]string{"ACL", "SETUSER", "cacheaside", "on", ">hunter2"}, strings.Fields(rights(p.Kind, "cacheaside"))...)...)
	}
	s := open(t, "redis://cacheaside:hunter2@"+c.Nodes[4].Addr, withNear())
	if mode := s.Client().Mode(); mode != rueidis.ClientModeCluster || !s.Near() {
		t.Fatalf("the client is %q, near %v; want that of a cluster", mode, s.Near())
	}
	w := newSite(t, s, unhurried)
	for i := range 20 { // on all nodes
		w.hits(t, fmt.Sprint("/", i))
	}
	if err := w.PurgeTags(t.Context(), "/1", "/2", "/3"); err != nil {
		t.Error(err)
	}
	if err := w.PurgeURL(t.Context(), "http://example.com/4"); err != nil {
		t.Error(err)
	}
	for i := range 20 {
		if _, hit := w.get(t, fmt.Sprint("/", i)); hit != (i < 1 || i > 4) {
			t.Errorf("%d: hit %v after 1 to 4 were purged", i, hit)
		}
	}
	moving := entryKey("/9")
	from := c.Master(moving)
	c.Migrate(c.Slot(moving), from, c.OtherMaster(from), func() {
		if err := w.PurgeURL(t.Context(), "http://example.com/9"); err != nil { // of whose keys one has moved
			t.Error(err)
		}
	})
	for _, p := range c.Nodes {
		c.Must(p, "ACL", "SETUSER", "cacheaside", "~storetest:*")
	}
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, clusterURL(c, "cacheaside:hunter2@")) },
		storetest.MaxValue(1<<20)) // a busy machine takes too long for more
	for _, p := range c.Nodes {
		admin := other(t, "redis://"+p.Addr)
		for _, denied := range strings.Split(denials(t, admin), ", ") {
			if denied != "" && denied != "command client|setinfo" {
				t.Errorf("%s has refused: %s", p.Addr, denied)
			}
		}
	}
}

// TestClusterLostPurge shows the limit: replication is asynchronous, so a purge
// can be lost that was acknowledged. Where all of the stamp is lost with it, that
// counts as purged, and PurgeAll makes up for the rest.
func TestClusterLostPurge(t *testing.T) {
	storetest.LongOnly(t)
	t.Parallel()
	c := storetest.StartCluster(t)
	w := newSite(t, open(t, clusterURL(c, "")), unhurried)
	master := c.Master(ofTags)
	replica := c.Replica(master)
	// elsewhere is a path whose response is not on the node that will end.
	next := 0
	elsewhere := func() string {
		for {
			next++
			if path := fmt.Sprint("/", next); c.Master(entryKey(path)) != master {
				return path
			}
		}
	}
	known, newer, between := elsewhere(), elsewhere(), elsewhere()
	w.hits(t, known)
	w.hits(t, between)
	c.CaughtUp(master)

	replica.Pause()
	c.Must(master, "CLIENT", "KILL", "TYPE", "replica") // or it would find the rest in its socket
	w.hits(t, newer)                                    // with a stamp that the replica does not get
	w.row.Add(1)
	if err := w.PurgeTags(t.Context(), known, newer); err != nil {
		t.Fatal(err)
	}
	if err := w.PurgeURL(t.Context(), "http://example.com"+between); err != nil {
		t.Fatal(err)
	}
	w.hits(t, between) // which knows numbers that the replica does not
	master.Kill()
	replica.Resume()
	c.Until("the replica is the master", func() bool { return c.Master(ofTags) == replica })
	w.hits(t, known) // a request that the store has answered, so it is back
	if body, _ := w.get(t, known); body != "0" {
		t.Errorf("%s: %q, want 0: the README says that this purge is lost", known, body)
	}
	if body, _ := w.get(t, newer); body != "1" {
		t.Errorf("%s: %q, want 1: its stamp is lost", newer, body)
	}
	w.row.Add(1)
	untilDone(t, "a purge by the replica", func() error { return w.PurgeTags(t.Context(), between) })
	if body, _ := w.get(t, between); body != "2" {
		t.Errorf("%s: %q, want 2: it was purged after all that was lost", between, body)
	}

	until(t, "PurgeAll", func() bool { return w.Purge(t.Context(), cacheaside.Purge{All: true}) == nil })
	for _, path := range []string{known, newer} {
		if body, _ := w.get(t, path); body != "2" {
			t.Errorf("%s: %q after PurgeAll, want 2", path, body)
		}
	}
}

// TestNearCluster: copies stay true whatever becomes of the nodes, though they
// would be good for an hour.
func TestNearCluster(t *testing.T) {
	storetest.LongOnly(t)
	t.Parallel()
	c := storetest.StartCluster(t)
	s := open(t, clusterURL(c, ""), withNear())
	if !s.Near() {
		t.Fatal("the near tier is off")
	}
	writer := open(t, clusterURL(c, ""))
	keys := make([]string, 30)
	for i := range keys {
		keys[i] = fmt.Sprintf("some:key:of:ours:%d", i)
	}
	n := 0
	coherent := func(what string) {
		t.Helper()
		for _, key := range keys {
			n++
			want := strconv.Itoa(n)
			until(t, "a write after "+what, func() bool { return writer.Set(t.Context(), key, []byte(want), time.Hour) == nil })
			until(t, "what was written after "+what, func() bool {
				v, _, _, err := s.GetTier(t.Context(), key)
				return err == nil && string(v) == want
			})
			until(t, "a copy after "+what, func() bool {
				_, _, near, err := s.GetTier(t.Context(), key)
				return err == nil && near
			})
		}
	}
	coherent("the start")

	key := keys[0]
	from := c.Master(key)
	c.Migrate(c.Slot(key), from, c.OtherMaster(from), func() {})
	coherent("moving a slot")

	// The old master follows the new one, and still tells of what changes.
	replica := c.Replica(from)
	c.Must(replica, "CLUSTER", "FAILOVER")
	c.Until("the replica is the master", func() bool {
		role, err := c.Do(replica, "ROLE")
		return err == nil && strings.HasPrefix(role, "master")
	})
	coherent("handing over to a replica")

	c.Settled()
	master := c.Master(key)
	replica = c.Replica(master)
	c.CaughtUp(master)
	master.Kill()
	c.Until("the replica is the master", func() bool { return c.Master(key) == replica })
	coherent("the end of a node")
	t.Logf("%+v", s.NearStats())
}

// TestClusterFill: slots of entries, and of stamps, move to other nodes while a handler
// runs. What is purged then is not stored, and what is not is stored in the end.
func TestClusterFill(t *testing.T) {
	t.Parallel()
	c := storetest.StartCluster(t)
	s, purger := openCluster(t, c), openCluster(t, c)
	tried, refused := 0, 0
	for round, what := range []string{"the entry", "the stamps", "the entry", "the stamps", "nothing"} {
		for _, purged := range []string{"", "halfway", "after"} {
			r := resourceOn(t, s, 3)
			for _, key := range []*string{&r.lock, &r.key, &r.clock, &r.stamps[0], &r.stamps[1], &r.stamps[2]} { // of slots that have not moved yet
				*key = strings.Replace(*key, "}", fmt.Sprint(round, purged, "}"), 1)
			}
			w := r.value("v")
			w.Token = fmt.Sprint("token", round)
			// An entry and its stamps from before, so that there is something to move.
			begun := r.begin(r.fill(w.Token))
			if written := r.write(w.Token, begun.Mark, "old"); !written.Stored || written.Purged {
				t.Fatal(written)
			}
			begun = r.begin(r.fill(w.Token))
			w.Since = begun.Mark
			stored := false
			try := func() {
				tried++
				written, err := s.Write(t.Context(), w)
				if err != nil {
					refused++
					t.Logf("while %s moves: %v", what, err)
				}
				stored = stored || written.Stored
			}
			purge := func() {
				untilDone(t, "a purge", func() error { return purger.Delete(t.Context(), r.lock, r.key) })
				until(t, "a purge of a tag", func() bool {
					limit := 20 * time.Second
					if what == "the stamps" { // of whose keys some have moved
						limit = 50 * time.Millisecond
					}
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					_, err := purger.Bump(ctx, r.clock, r.stamps[1:2], false, 0, time.Hour)
					return err == nil || what == "the stamps"
				})
			}
			half := func() {
				switch purged {
				case "halfway":
					purge()
				case "":
					try()
				}
			}
			key := map[string]string{"the entry": r.key, "the stamps": r.clock}[what]
			if what == "nothing" {
				half()
			} else {
				from := c.Master(key)
				c.Migrate(c.Slot(key), from, c.OtherMaster(from), half)
			}
			if purged == "after" {
				purge()
			}
			if !stored {
				until(t, "an answer", func() bool {
					written, err := s.Write(t.Context(), w)
					stored = written.Stored
					return err == nil
				})
			}
			value, found, err := s.Get(t.Context(), r.key)
			switch {
			case err != nil:
				t.Error(err)
			case purged != "" && (stored || found):
				t.Errorf("%s moves, a purge %s: stored %v, found %q", what, purged, stored, value)
			case purged == "" && (!found || string(value) != "v" && stored):
				t.Errorf("%s moves: stored %v, found %q, %v", what, stored, value, found)
			}
			// It goes on as before.
			begun = r.begin(r.fill("next"))
			until(t, "another fill", func() bool {
				w := r.value("next")
				w.Token, w.Since = begun.Token, begun.Mark
				written, err := s.Write(t.Context(), w)
				return err == nil && (written.Stored && !written.Purged || begun.Token != "next")
			})
		}
	}
	t.Logf("%d of %d writes while a slot moved were refused", refused, tried)
}

func openCluster(t *testing.T, c *storetest.Cluster) *dragonfly.Store {
	return open(t, clusterURL(c, ""), dragonfly.WithCallTimeout(20*time.Second))
}

// TestClusterSlots: a call may have keys of more than two slots.
func TestClusterSlots(t *testing.T) {
	t.Parallel()
	c := storetest.StartCluster(t)
	s := openCluster(t, c)
	var keys []string
	masters := map[*storetest.Process]int{}
	for i := 0; len(keys) < 30; i++ {
		key := fmt.Sprintf("some:key:of:{ours:%d}", i)
		if m := c.Master(key); masters[m] < 10 {
			masters[m]++
			keys = append(keys, key)
			if err := s.Set(t.Context(), key, []byte("v"), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if _, found, err := s.Get(t.Context(), key); found || err != nil {
			t.Errorf("%s: %v, %v", key, found, err)
		}
	}
	for i := range keys { // lock and value on one node, stamps and clock on others
		r := &resource{t: t, s: s, lock: keys[i] + ":lock", key: keys[i], clock: keys[(i+11)%30] + ":clock", stamps: []string{keys[(i+11)%30] + ":t:a"}}
		f := r.fill("a")
		f.Key, f.Stamps = keys[i], []string{keys[(i+5)%30] + ":t:a", keys[(i+17)%30] + ":t:b"}
		if begun := r.begin(f); begun.Token != "a" || begun.Found || len(begun.Stamps) != 2 {
			t.Errorf("%+v", begun)
		} else if written := r.write("a", begun.Mark, "v"); !written.Stored || written.Purged {
			t.Errorf("%+v", written)
		}
		r.want("v")
	}
}

// TestClusterSilentNode: a node that hangs keeps nobody for longer than a call's
// deadline, and does no harm to calls of the other nodes.
func TestClusterSilentNode(t *testing.T) {
	storetest.LongOnly(t)
	t.Parallel()
	c := storetest.StartCluster(t, "--cluster-node-timeout", "60000")
	s := open(t, clusterURL(c, ""))
	keys := make(map[*storetest.Process]string)
	for i := 0; len(keys) < 3; i++ {
		key := fmt.Sprint("some:key:of:ours:", i)
		keys[c.Master(key)] = key
	}
	for _, key := range keys { // connections are made before
		if _, _, err := s.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	hung, well := keys[c.Nodes[0]], keys[c.Nodes[1]]
	var spread []string // over the other nodes
	for i := 0; len(spread) < 32; i++ {
		if key := fmt.Sprint("other:key:of:ours:", i); c.Master(key) != c.Nodes[0] {
			spread = append(spread, key)
		}
	}
	// A fault of ours is there each time, one of a busy machine is not.
	for attempt := 1; ; attempt++ {
		c.Nodes[0].Pause()
		trouble := floodNode(t, s, hung, well, spread)
		c.Nodes[0].Resume()
		if trouble == "" {
			break
		}
		if attempt == 3 {
			t.Error(trouble)
			break
		}
		t.Log(trouble)
		until(t, "the node that hung", func() bool { _, _, err := s.Get(t.Context(), hung); return err == nil })
	}
}

// floodNode asks a node that hangs, and others that are well, and returns what is
// wrong.
func floodNode(t *testing.T, s *dragonfly.Store, hung, well string, spread []string) (trouble string) {
	t.Helper()
	const deadline = 50 * time.Millisecond
	start := time.Now()
	var wg sync.WaitGroup
	var longest, failed, answered atomic.Int64
	callers := func(n int, call func(ctx context.Context, i int) error, fails bool) {
		for i := range n {
			wg.Go(func() {
				for time.Since(start) < 3200*time.Millisecond {
					limit := deadline
					if !fails {
						limit = 5 * time.Second // the machine may be busy
					}
					ctx, cancel := context.WithTimeout(context.Background(), limit)
					began := time.Now()
					err := call(ctx, i)
					cancel()
					took := int64(time.Since(began))
					switch {
					case fails:
						for l := longest.Load(); took > l && !longest.CompareAndSwap(l, took); l = longest.Load() {
						}
						time.Sleep(4 * time.Millisecond) // leaves some of the machine to the others
					case err != nil:
						failed.Add(1)
					default:
						answered.Add(1)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
	}
	callers(128, func(ctx context.Context, _ int) error { _, _, err := s.Get(ctx, hung); return err }, true)
	callers(64, func(ctx context.Context, _ int) error {
		_, _, _, err := s.GetStamped(ctx, well, nil, []string{hung})
		return err
	}, true)
	callers(64, func(ctx context.Context, i int) error { return s.Delete(ctx, spread[i%32], hung, spread[(i+1)%32]) }, true)
	callers(32, func(ctx context.Context, i int) error { _, _, err := s.Get(ctx, spread[i]); return err }, false)
	wg.Wait()
	l, f, a := time.Duration(longest.Load()), failed.Load(), answered.Load()
	t.Logf("calls of the node that hangs took %v at most; of the others %d failed and %d were answered", l, f, a)
	if l > time.Second {
		trouble = fmt.Sprintf("a call with a deadline of %v took %v; ", deadline, l)
	}
	if f*10 > a {
		trouble += fmt.Sprintf("of nodes that are well %d calls failed and %d were answered", f, a)
	}
	return trouble
}
