package dragonfly_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// resource is what a test fills and purges: the keys of one response, and those of a
// namespace.
type resource struct {
	t                *testing.T
	s                *dragonfly.Store
	lock, key, clock string
	stamps           []string
}

// resourceOn returns one that no other test has, with n stamps.
func resourceOn(t *testing.T, s *dragonfly.Store, n int) *resource {
	prefix := storetest.Prefix()
	r := &resource{t: t, s: s, lock: prefix + "{ours}:lock", key: prefix + "{ours}", clock: prefix + "{tags}:clock"}
	for i := range n {
		r.stamps = append(r.stamps, fmt.Sprintf("%s{tags}:t:%d", prefix, i))
	}
	return r
}

func (r *resource) fill(token string) store.Fill {
	return store.Fill{Lock: r.lock, Token: token, TTL: time.Hour, Clock: r.clock}
}

func (r *resource) begin(f store.Fill) store.Begun {
	r.t.Helper()
	begun, err := r.s.Begin(context.Background(), f)
	if err != nil {
		r.t.Fatal(err)
	}
	return begun
}

// mark is the moment of the clock.
func (r *resource) mark() store.Mark {
	r.t.Helper()
	return r.begin(store.Fill{Lock: r.lock + ":of:nobody", Token: "a", TTL: time.Hour, Clock: r.clock}).Mark
}

func (r *resource) value(data string) store.Write {
	return store.Write{Lock: r.lock, Clock: r.clock, Stamps: r.stamps, Values: []store.Value{{Key: r.key, Data: []byte(data), TTL: time.Hour}}}
}

func (r *resource) write(token string, since store.Mark, data string) store.Written {
	r.t.Helper()
	w := r.value(data)
	w.Token, w.Since = token, since
	written, err := r.s.Write(context.Background(), w)
	if err != nil {
		r.t.Fatal(err)
	}
	return written
}

func (r *resource) want(data string) {
	r.t.Helper()
	got, found, err := r.s.Get(context.Background(), r.key)
	if err != nil || found != (data != "") || string(got) != data {
		r.t.Errorf("Get: %q, %v, %v; want %q", got, found, err, data)
	}
}

// settle makes the stamps, and returns them.
func (r *resource) settle(since store.Mark, keys ...string) ([]store.Stamp, store.Written) {
	r.t.Helper()
	w := r.value("v")
	w.Lock, w.Token, w.Since, w.Stamps = r.lock+":of:nobody", "of nobody", since, keys
	written, err := r.s.Write(context.Background(), w)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.read(keys...), written
}

func (r *resource) read(keys ...string) []store.Stamp {
	r.t.Helper()
	got, err := r.s.Stamps(context.Background(), nil, keys)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *resource) purge(soft bool, keys ...string) store.Mark {
	r.t.Helper()
	mark, err := r.s.Bump(context.Background(), r.clock, keys, soft, 7, time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return mark
}

func (r *resource) must(args ...string) string {
	r.t.Helper()
	c := r.s.Client()
	m, err := c.Do(context.Background(), c.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		r.t.Fatalf("%.60q: %v", args, err)
	}
	text, _ := m.ToString()
	return text
}

// spoil puts something under key that does not belong there.
func (r *resource) spoil(key, what string) {
	r.t.Helper()
	r.must("DEL", key)
	switch what {
	case "a hash":
		r.must("HSET", key, "f", "v")
	case "a list":
		r.must("RPUSH", key, "a", "b")
	case "a set":
		r.must("SADD", key, "a")
	default:
		r.must("SET", key, what)
	}
}

func TestFillSharesTag(t *testing.T) {
	s := openPatiently(t, storetest.Server(t))
	for name, w := range map[string]store.Write{
		"value":     {Lock: "some:lock:of:{ours}", Values: []store.Value{{Key: "some:key:of:ours", TTL: time.Hour}}},
		"variant":   {Lock: "some:lock:of:{ours}", Values: []store.Value{{Key: "some:key:of:{ours}", TTL: time.Hour}, {Key: "some:key:of:{others}", TTL: time.Hour}}},
		"stamp":     {Lock: "some:lock:of:{ours}", Clock: "some:clock:of:{tags}", Stamps: []string{"some:stamp:of:{ours}"}, Values: []store.Value{{Key: "some:key:of:{ours}", TTL: time.Hour}}},
		"no token":  {Lock: "some:lock:of:{ours}", Values: []store.Value{{Key: "some:key:of:{ours}", TTL: time.Hour}}},
		"a ttl < 0": {Lock: "some:lock:of:{ours}", Values: []store.Value{{Key: "some:key:of:{ours}", TTL: -1}}},
	} {
		if w.Token = "a"; name == "no token" {
			w.Token = ""
		}
		written, err := s.Write(t.Context(), w)
		if written.Stored || err == nil || name[0] != 'n' && name[0] != 'a' && !strings.Contains(err.Error(), "hash tag") {
			t.Errorf("%s: %v, %v", name, written, err)
		}
	}
	for _, f := range []store.Fill{{Lock: "some:lock:of:{ours}", Clock: "some:clock:of:{tags}", TTL: time.Hour}, {Lock: "some:lock:of:{ours}", Clock: "some:clock:of:{tags}", Token: "a"}} {
		if begun, err := s.Begin(t.Context(), f); err == nil {
			t.Errorf("Begin of %+v: %+v", f, begun)
		}
	}
	if held, err := s.CompareAndExtend(t.Context(), "some:lock:of:{ours}", "", time.Hour); held || err == nil {
		t.Error("Extend without a token: ", held, err)
	}
	if held, err := s.CompareAndSwap(t.Context(), "some:lock:of:{ours}", "", "b", time.Hour); held || err == nil {
		t.Error("Swap without a token: ", held, err)
	}
}

// foreign is what might be under a key of ours: of another type, of earlier formats of
// token, guard, note, clock, stamp and journal, and nonsense.
func foreign() []string {
	return []string{
		"a hash", "a list", "a set", "", "x", "0", "007", "-5", "1e3", " 1", "18446744073709551615", "~", "5 6 ~1", "5 6",
		"1795406073186495 ~9000000", "1795406073186495 1795406073186496 ~123456", "0123456789abcdef.1", "pass", "pass:",
		`{"all":{"h":1795406073186495},"prefixes":{}}`, "00000000000000ff 00000000000001", "00000000000000ff 0000000000000112345678",
		"0123456789abcdef 00000000000001 ", "\x00\xff\r\n", "00000000000000ff 1 1 0", strings.Repeat("f", 39), strings.Repeat("9", 500),
	}
}

// TestForeignToken: what does not belong under a lock gives nobody the right to write,
// and keeps nobody from it for longer than until the next fill.
func TestForeignToken(t *testing.T) {
	s := openPatiently(t, storetest.Server(t))
	for _, text := range foreign() {
		r := resourceOn(t, s, 1)
		mark := r.mark()
		r.spoil(r.lock, text)
		if held, err := s.CompareAndExtend(t.Context(), r.lock, "a", time.Hour); held || err != nil {
			t.Errorf("Extend over %q: %v, %v", text, held, err)
		}
		if held, err := s.CompareAndSwap(t.Context(), r.lock, "a", "b", time.Hour); held || err != nil {
			t.Errorf("Swap over %q: %v, %v", text, held, err)
		}
		if written := r.write("a", mark, "v"); written.Stored {
			t.Errorf("Write over %q: %+v", text, written)
		}
		r.want("")
		for _, adopt := range []bool{true, false} {
			f := r.fill("a")
			f.Adopt = adopt
			begun := r.begin(f)
			if plain := text != "" && !strings.HasPrefix(text, "a "); plain != (begun.Token == text) || !plain && begun.Token != "a" {
				t.Errorf("Begin over %q: %q", text, begun.Token)
			}
			if begun.Mark != mark {
				t.Errorf("Begin over %q: %v, want %v", text, begun.Mark, mark)
			}
		}
	}
}

// TestForeignValue: a hash under the key of a value is replaced, and looks like none.
func TestForeignValue(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 1)
	r.spoil(r.key, "a hash")
	f := r.fill("a")
	f.Key, f.Stamps = r.key, r.stamps
	begun := r.begin(f)
	if begun.Found || len(begun.Value) > 0 || !slices.Equal(begun.Stamps, make([]store.Stamp, 1)) || begun.Token != "a" {
		t.Errorf("Begin: %+v", begun)
	}
	if written := r.write("a", begun.Mark, "v"); !written.Stored || written.Purged || written.Outdated {
		t.Errorf("Write: %+v", written)
	}
	r.want("v")
}

// TestFillLooksAgain: what was stored meanwhile comes with the lock, or with who has it.
func TestFillLooksAgain(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 2)
	begun := r.begin(r.fill("a"))
	if written := r.write("a", begun.Mark, "v"); !written.Stored {
		t.Fatal(written)
	}
	for _, token := range []string{"b", "c"} {
		f := r.fill(token)
		f.Key, f.Stamps = r.key, r.stamps
		got := r.begin(f)
		if got.Token != "b" || string(got.Value) != "v" || !got.Found || !slices.Equal(got.Stamps, r.read(r.stamps...)) || got.Stamps[0] == (store.Stamp{}) || got.Mark != begun.Mark {
			t.Errorf("%+v", got)
		}
	}
	large := string(largeValue(0, 0, store.LargeValue))
	if written := r.write("b", begun.Mark, large); !written.Stored {
		t.Fatal(written)
	}
	f := r.fill("d")
	f.Key = r.key
	if got := r.begin(f); string(got.Value) != large || !got.Found || got.Token != "d" {
		t.Errorf("%d bytes, %v", len(got.Value), got.Found)
	}
	r.must("DEL", r.key+":body:0", r.key+":body:1")
	if got := r.begin(f); len(got.Value) != 0 || got.Found {
		t.Errorf("a stub without bytes: %d bytes, %v", len(got.Value), got.Found)
	}
}

// TestTokenLost: a process that was paused for longer than its token lives stores
// nothing, nor does one whose token was purged, whoever has the lock by then.
func TestTokenLost(t *testing.T) {
	s := openPatiently(t, storetest.Server(t))
	for name, lose := range map[string]func(r *resource){
		"gone":      func(r *resource) { r.must("PEXPIRE", r.lock, "1"); time.Sleep(5 * time.Millisecond) },
		"evicted":   func(r *resource) { r.must("DEL", r.lock) },
		"purged":    func(r *resource) { _ = s.Delete(t.Context(), r.lock, r.key) },
		"another's": func(r *resource) { r.must("DEL", r.lock); r.begin(r.fill("b")) },
		"a note":    func(r *resource) { _, _ = s.CompareAndSwap(t.Context(), r.lock, "a", "pass:a", time.Hour) },
		"longer":    func(r *resource) { r.must("APPEND", r.lock, " ") },
	} {
		for _, data := range []string{"v", string(largeValue(1, 1, store.LargeValue))} {
			r := resourceOn(t, s, 1)
			begun := r.begin(r.fill("a"))
			if begun.Token != "a" {
				t.Fatal(begun)
			}
			lose(r)
			if written := r.write("a", begun.Mark, data); written.Stored {
				t.Errorf("%s: %+v", name, written)
			}
			r.want("")
			if held, err := s.CompareAndExtend(t.Context(), r.lock, "a", time.Hour); held || err != nil {
				t.Errorf("%s: Extend %v, %v", name, held, err)
			}
			if held, err := s.CompareAndSwap(t.Context(), r.lock, "a", "c", time.Hour); held || err != nil {
				t.Errorf("%s: Swap %v, %v", name, held, err)
			}
		}
	}
}

// TestWriteIsOneStep: variant and record are there, and the lock is gone, or nothing
// of that; and a token is good for one write.
func TestWriteIsOneStep(t *testing.T) {
	r := resourceOn(t, openPatiently(t, storetest.Server(t)), 0)
	begun := r.begin(r.fill("a"))
	w := r.value("the record")
	w.Token, w.Since = "a", begun.Mark
	w.Values = append([]store.Value{{Key: r.key + ":variant", Data: []byte("the variant"), TTL: time.Minute}}, w.Values...)
	for i, want := range []bool{true, false} {
		written, err := r.s.Write(t.Context(), w)
		if written.Stored != want || written.Purged || written.Outdated || err != nil {
			t.Errorf("write %d: %+v, %v", i, written, err)
		}
		if text := r.must("GET", r.key+":variant"); text != "the variant" {
			t.Errorf("the variant is %q", text)
		}
		r.want("the record")
		if text := r.must("GET", r.lock); text != "" {
			t.Errorf("the token is left: %q", text)
		}
	}
}

// TestAdoptProlongs: who takes somebody's token for its own prolongs it, and shortens
// none.
func TestAdoptProlongs(t *testing.T) {
	m := miniredis.RunT(t)
	refuseNXGet(m)
	for name, addr := range map[string]string{"a server": storetest.Server(t), "an old one": m.Addr()} {
		r := resourceOn(t, open(t, addr), 0)
		left := func() time.Duration {
			ms, err := r.s.Client().Do(t.Context(), r.s.Client().B().Pttl().Key(r.lock).Build()).AsInt64()
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(ms) * time.Millisecond
		}
		f := r.fill("a")
		f.TTL = time.Minute
		r.begin(f)
		f.Token, f.TTL = "b", time.Hour
		if got := r.begin(f); got.Token != "a" || left() > time.Minute {
			t.Errorf("%s: %q for %v after who waits", name, got.Token, left())
		}
		f.Adopt = true
		if got := r.begin(f); got.Token != "a" || left() <= time.Minute {
			t.Errorf("%s: %q for %v after who adopts", name, got.Token, left())
		}
		f.TTL = time.Minute
		if got := r.begin(f); got.Token != "a" || left() <= time.Minute {
			t.Errorf("%s: %q for %v after who adopts for a minute", name, got.Token, left())
		}
	}
}

// refuseNXGet plays a server that refuses SET with both NX and GET, and PEXPIRE with GT.
func refuseNXGet(m *miniredis.Miniredis) (refused *atomic.Int64) {
	refused = new(atomic.Int64)
	m.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		switch {
		case strings.EqualFold(cmd, "SET") && slices.Contains(args, "NX") && slices.Contains(args, "GET"):
			c.WriteError("ERR syntax error")
		case strings.EqualFold(cmd, "PEXPIRE") && len(args) > 2:
			c.WriteError("ERR wrong number of arguments for 'pexpire' command")
		default:
			return false
		}
		refused.Add(1)
		return true
	})
	return refused
}

// TestFillOnOldServer: before version 7.0 Redis knows NX and GET, but not together.
func TestFillOnOldServer(t *testing.T) {
	m := miniredis.RunT(t)
	refused := refuseNXGet(m)
	s := open(t, m.Addr())
	r := resourceOn(t, s, 1)
	for i := range 5 {
		token := fmt.Sprint("a", i)
		begun := r.begin(r.fill(token))
		if begun.Token != token {
			t.Fatalf("%d: %+v", i, begun)
		}
		f := r.fill("b")
		f.Key, f.Stamps, f.Adopt = r.key, r.stamps, i%2 == 0
		if got := r.begin(f); got.Token != token || got.Mark != begun.Mark || got.Found != (i > 0) || len(got.Stamps) != 1 {
			t.Errorf("%d: who comes second: %+v", i, got)
		}
		if written := r.write("b", begun.Mark, "another"); written.Stored {
			t.Errorf("%d: another token: %+v", i, written)
		}
		if written := r.write(token, begun.Mark, token); !written.Stored {
			t.Errorf("%d: %+v", i, written)
		}
		r.want(token)
	}
	if n := refused.Load(); n != 1 {
		t.Errorf("asked %d times for what the server refuses, want once", n)
	}
	for _, text := range []string{"a hash", ""} {
		r.spoil(r.lock, text)
		if got := r.begin(r.fill("c")); got.Token != "c" {
			t.Errorf("over %q: %+v", text, got)
		}
	}
}

// TestOldServerSuite runs the whole suite on such a server.
func TestOldServerSuite(t *testing.T) {
	storetest.LongOnly(t)
	t.Parallel() // it mostly waits
	m := miniredis.RunT(t)
	refuseNXGet(m)
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := dragonfly.OpenClientOption(t.Context(), rueidis.ClientOption{
			InitAddress: []string{m.Addr()}, Dialer: patient, ConnWriteTimeout: time.Minute, // scripts take their time
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.Clock(m.FastForward))
}

// calledOn are all calls of a store that need the server.
func (r *resource) calls() map[string]func(context.Context) error {
	w := r.value("v")
	w.Token = "a"
	return map[string]func(context.Context) error{
		"Begin": func(ctx context.Context) error { _, err := r.s.Begin(ctx, r.fill("a")); return err },
		"CompareAndExtend": func(ctx context.Context) error {
			_, err := r.s.CompareAndExtend(ctx, r.lock, "a", time.Hour)
			return err
		},
		"CompareAndSwap": func(ctx context.Context) error {
			_, err := r.s.CompareAndSwap(ctx, r.lock, "a", "b", time.Hour)
			return err
		},
		"Write": func(ctx context.Context) error { _, err := r.s.Write(ctx, w); return err },
		"Bump": func(ctx context.Context) error {
			_, err := r.s.Bump(ctx, r.clock, r.stamps, false, 0, time.Hour)
			return err
		},
		"Stamps": func(ctx context.Context) error { _, err := r.s.Stamps(ctx, nil, r.stamps); return err },
		"GetStamped": func(ctx context.Context) error {
			_, _, _, err := r.s.GetStamped(ctx, r.key, nil, r.stamps)
			return err
		},
		"ReadJournal": func(ctx context.Context) error { _, err := r.s.ReadJournal(ctx, r.clock); return err },
		"WriteJournal": func(ctx context.Context) error {
			_, _, err := r.s.WriteJournal(ctx, r.clock, store.Journal{}, "text")
			return err
		},
		"Delete": func(ctx context.Context) error { return r.s.Delete(ctx, r.lock, r.key) },
	}
}

func TestCallsWithoutServer(t *testing.T) {
	p := storetest.StartServer(t)
	s := open(t, p.Addr, dragonfly.WithCallTimeout(80*time.Millisecond))
	storeWorks(t, s)
	p.Pause()
	defer p.Resume()
	for name, call := range resourceOn(t, s, 2).calls() {
		start := time.Now()
		if err, took := call(context.Background()), time.Since(start); err == nil || took > time.Second {
			t.Errorf("%s of a silent server: %v after %v", name, err, took)
		}
	}
}

// TestScriptsLost: a server that has forgotten the scripts costs nothing but another
// round trip.
func TestScriptsLost(t *testing.T) {
	p := storetest.StartServer(t)
	s := openPatiently(t, p.Addr)
	r := resourceOn(t, s, 3)
	for i := range 5 {
		for _, soft := range []bool{false, true} {
			begun := r.begin(r.fill("a"))
			r.must("SCRIPT", "FLUSH")
			if held, err := s.CompareAndExtend(t.Context(), r.lock, "a", time.Hour); !held || err != nil {
				t.Fatal(held, err)
			}
			r.must("SCRIPT", "FLUSH")
			if soft {
				r.must("DEL", r.stamps[0], r.stamps[1], r.stamps[2]) // of another clock's time, perhaps
				if mark := r.purge(true, r.stamps[i%3]); mark.Seq <= begun.Mark.Seq {
					t.Error(mark)
				}
				r.must("SCRIPT", "FLUSH")
			}
			if written := r.write("a", begun.Mark, "v"); !written.Stored || written.Purged || written.Outdated != soft {
				t.Errorf("%+v", written)
			}
			r.must("SCRIPT", "FLUSH")
			r.must("DEL", r.clock)
			if next := r.mark(); next.Epoch == begun.Mark.Epoch || next.Seq == 0 {
				t.Errorf("%v after %v", next, begun.Mark)
			}
			r.must("SCRIPT", "FLUSH")
			if j, err := s.ReadJournal(t.Context(), r.clock); err != nil || j.Text != "" {
				t.Error(j, err)
			}
		}
	}
}

// TestFullServer: a server without memory refuses what needs some, one call at a time;
// nothing of that is taken for a failure, and nothing is there that was purged.
func TestFullServer(t *testing.T) {
	p := storetest.StartServer(t, servers.Only("Dragonfly has no CONFIG SET maxmemory-policy", servers.Valkey, servers.Redis))
	s := openPatiently(t, p.Addr)
	r := resourceOn(t, s, 2)
	full := func(yes bool) {
		t.Helper()
		r.must("CONFIG", "SET", "maxmemory-policy", "noeviction")
		r.must("CONFIG", "SET", "maxmemory", map[bool]string{true: "1", false: "0"}[yes])
	}
	began := r.begin(r.fill("a")).Mark
	if written := r.write("a", began, "old"); !written.Stored {
		t.Fatal(written)
	}
	journal, err := s.ReadJournal(t.Context(), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	before := r.read(r.stamps...)
	for name, refused := range map[string]bool{
		"Begin": true, "Write": true, "Bump": true, "WriteJournal": true, "WriteLarge": true, "CompareAndSwap": true,
		"CompareAndExtend": false, "Stamps": false, "GetStamped": false, "ReadJournal": false, "Release": false,
	} {
		r.must("SET", r.lock, "a", "PX", "60000")
		calls := r.calls()
		calls["WriteLarge"] = func(ctx context.Context) error {
			w := r.value(string(largeValue(0, 0, store.LargeValue)))
			w.Token = "a"
			_, err := s.Write(ctx, w)
			return err
		}
		calls["Release"] = func(ctx context.Context) error { _, err := s.CompareAndSwap(ctx, r.lock, "a", "", 0); return err }
		calls["WriteJournal"] = func(ctx context.Context) error {
			_, _, err := s.WriteJournal(ctx, r.clock, journal, "text")
			return err
		}
		if name == "Begin" {
			r.must("DEL", r.lock)
		}
		full(true)
		if err := calls[name](t.Context()); errors.Is(err, dragonfly.ErrRefused) != refused || !refused && err != nil {
			t.Errorf("%s of a full server: %v", name, err)
		}
		r.want("old")
		if got := r.read(r.stamps...); !slices.Equal(got, before) {
			t.Errorf("%s: stamps %v, were %v", name, got, before)
		}
		full(false)
	}
	if got := r.mark(); got != began {
		t.Errorf("the clock is at %v, was at %v", got, began)
	}
	// A purge by keys works on a full server, and what was under way is not stored.
	begun := r.begin(r.fill("b"))
	full(true)
	if err := s.Delete(t.Context(), r.lock, r.key); err != nil {
		t.Error(err)
	}
	full(false)
	if written := r.write("b", begun.Mark, "late"); written.Stored {
		t.Errorf("after a purge: %+v", written)
	}
	r.want("")
	// A script that has lost the clock makes one even there: else nobody could purge.
	r.must("DEL", r.clock)
	full(true)
	defer full(false)
	if mark, err := s.Bump(t.Context(), r.clock, r.stamps, false, 0, time.Hour); err == nil && (mark.Epoch == began.Epoch || r.read(r.stamps[0])[0].Epoch != mark.Epoch) {
		t.Errorf("%v, %v", mark, r.read(r.stamps...))
	} else if err != nil && !errors.Is(err, dragonfly.ErrRefused) {
		t.Error(err)
	}
}

// TestReplica: what has become a replica writes nothing, and what it says is an error
// rather than a refusal: it may be behind what was purged.
func TestReplica(t *testing.T) {
	p := storetest.StartServer(t, servers.Only("Dragonfly is not made a replica of nobody", servers.Valkey, servers.Redis))
	s := openPatiently(t, p.Addr)
	r := resourceOn(t, s, 2)
	begun := r.begin(r.fill("a"))
	if written := r.write("a", begun.Mark, "v"); !written.Stored {
		t.Fatal(written)
	}
	r.begin(r.fill("a"))
	r.must("REPLICAOF", "127.0.0.1", "1")
	for name, call := range r.calls() {
		err := call(t.Context())
		reads := name == "Stamps" || name == "GetStamped" || name == "ReadJournal" && err == nil
		if reads != (err == nil) || errors.Is(err, dragonfly.ErrRefused) || err != nil && !strings.Contains(err.Error(), "READONLY") {
			t.Errorf("%s of a replica: %v", name, err)
		}
	}
	r.want("v")
	r.must("REPLICAOF", "NO", "ONE")
	if written := r.write("a", begun.Mark, "new"); !written.Stored {
		t.Errorf("as a master again: %+v", written)
	}
}

// TestWriteLeftBehind gives up on a write that the server takes up later: the token is
// gone by then.
func TestWriteLeftBehind(t *testing.T) {
	p := storetest.StartServer(t)
	s, purger := open(t, p.Addr), open(t, p.Addr)
	r := resourceOn(t, s, 1)
	begun := r.begin(r.fill("a"))
	if written := r.write("a", begun.Mark, "v"); !written.Stored {
		t.Fatal(written)
	}
	r.begin(r.fill("b"))
	if err := purger.Delete(t.Context(), r.lock, r.key); err != nil {
		t.Fatal(err)
	}
	p.Pause()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w := r.value("late")
	w.Token = "b"
	start := time.Now()
	if written, err := s.Write(short, w); written.Stored || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("Write of a silent server: %v, %v after %v", written, err, time.Since(start))
	}
	p.Resume()
	eventually(t, s)
	r.want("")
}

func BenchmarkFill(b *testing.B) {
	s := open(b, storetest.Server(b))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	prefix := storetest.Prefix()
	lock, key, clock := prefix+"{ours}:lock", prefix+"{ours}", prefix+"{tags}:clock"
	stamps := []string{prefix + "{tags}:a", prefix + "{tags}:b", prefix + "{tags}:c", prefix + "{tags}:d", prefix + "{tags}:e"}
	fill := func(b *testing.B, stamps []string, data []byte) {
		begun, err := s.Begin(ctx, store.Fill{Lock: lock, Token: "a token", TTL: time.Hour, Clock: clock, Key: key})
		if err != nil {
			b.Fatal(err)
		}
		written, err := s.Write(ctx, store.Write{
			Lock: lock, Token: "a token", Since: begun.Mark, Clock: clock, Stamps: stamps, Values: []store.Value{{Key: key, Data: data, TTL: time.Hour}},
		})
		if err != nil || !written.Stored {
			b.Fatal(written, err)
		}
	}
	for _, tags := range []int{0, 1, 5} {
		b.Run(fmt.Sprintf("1KiB-%dtags", tags), func(b *testing.B) {
			b.ReportAllocs()
			data := make([]byte, 1<<10)
			for b.Loop() {
				fill(b, stamps[:tags], data)
			}
		})
	}
	b.Run("1MiB", func(b *testing.B) {
		b.ReportAllocs()
		data := make([]byte, 1<<20)
		for b.Loop() {
			fill(b, nil, data)
		}
	})
	b.Run("SetGet1KiB", func(b *testing.B) { // the least that a fill could take
		b.ReportAllocs()
		data := make([]byte, 1<<10)
		for b.Loop() {
			if _, _, err := s.Get(ctx, key); err != nil {
				b.Fatal(err)
			}
			if err := s.Set(ctx, key, data, time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
}
