package doctor_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/doctor"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

const long = 60 * time.Second // the machine may be slow

// run looks at a server, again where the machine was too slow to connect. Calls take a
// millisecond each.
func run(t *testing.T, url string, change ...func(*doctor.Options)) []doctor.Finding {
	t.Helper()
	o := doctor.Options{
		URL: url, Namespace: "cacheaside", Timeout: long,
		Measure: func(_ string, call func() error) (time.Duration, error) { return time.Millisecond, call() },
	}
	for _, c := range change {
		c(&o)
	}
	return doctor.Run(t.Context(), o)
}

// expect requires a finding with a status whose detail and remedy contain something.
func expect(t *testing.T, all []doctor.Finding, name string, status doctor.Status, detail, remedy string) {
	t.Helper()
	for _, f := range all {
		if f.Name != name {
			continue
		}
		if f.Status != status || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Remedy, remedy) {
			t.Errorf("found %+v; want %s, %q, %q", f, status, detail, remedy)
		}
		return
	}
	t.Errorf("nothing of %s in %+v", name, all)
}

// healthy requires that nothing else is wrong.
func healthy(t *testing.T, all []doctor.Finding, but ...string) {
	t.Helper()
	for _, f := range all {
		if f.Status != doctor.OK && !slices.Contains(but, f.Name) {
			t.Errorf("found %+v", f)
		}
		if (f.Remedy == "") != (f.Status == doctor.OK) {
			t.Errorf("the remedy of %+v", f)
		}
	}
}

func client(t *testing.T, url string) rueidis.Client {
	t.Helper()
	c, err := storetest.Patiently(func() (rueidis.Client, error) {
		return dragonfly.NewClient(t.Context(), url, dragonfly.WithLogger(slog.New(slog.DiscardHandler)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func do(t *testing.T, c rueidis.Client, args ...string) string {
	t.Helper()
	m, err := c.Do(t.Context(), c.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%q: %v", args, err)
	}
	text, _ := m.ToString()
	return text
}

// redis is a server of that kind, or of Valkey's, whatever else there is.
func redis(t *testing.T, opts ...servers.Option) *storetest.Process {
	t.Helper()
	return storetest.StartServer(t, append(opts, servers.Only("this is about Redis", servers.Valkey, servers.Redis))...)
}

func TestHealthy(t *testing.T) {
	p := storetest.StartServer(t)
	c := client(t, p.Addr)
	all := run(t, p.Addr)
	healthy(t, all)
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	if want := []string{"transport", "connection", "server", "memory", "role", "cluster", "protocol", "writes", "rights", "scripts", "tracking", "clock", "latency"}; !slices.Equal(names, want) {
		t.Errorf("found %q", names)
	}
	expect(t, all, doctor.Memory, doctor.OK, "of 512.0 MiB used", "")
	expect(t, all, doctor.Latency, doctor.OK, "Timeouts.Lookup is 50ms, Write 250ms, Purge 1s", "")
	if left, err := c.Do(t.Context(), c.B().Keys().Pattern("*").Build()).AsStrSlice(); err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if doctor.Worst(all) != doctor.OK || doctor.Worst(nil) != doctor.OK {
		t.Error(doctor.Worst(all))
	}
}

// TestSocket: a Unix socket is as healthy, and nothing leaves the machine.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "ca") //nolint:usetesting // TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	storetest.StartServer(t, servers.Socket(path))
	all := run(t, "unix://"+path+"?db=1")
	healthy(t, all)
	expect(t, all, doctor.Transport, doctor.OK, "does not leave this machine", "")
	expect(t, all, doctor.Connection, doctor.OK, "connected to "+path, "")
	expect(t, run(t, "unix://"+path+".other"), doctor.Connection, doctor.Fail, "no such socket", "--unixsocket")
}

// TestKeysOfItsOwn: nothing is touched but what is below the namespace, and of the probe.
func TestKeysOfItsOwn(t *testing.T) {
	p := storetest.StartServer(t)
	var touched atomic.Int64
	addr := proxy(t, p.Addr, true, func(command []string, answer string) string {
		for _, word := range command {
			if !strings.Contains(word, ":2:{") {
				continue
			}
			touched.Add(1)
			if !strings.HasPrefix(word, "mine:2:{doctor:") || len(word) < len("mine:2:{doctor:}")+20 {
				t.Errorf("%q", command)
			}
		}
		if is(command, "FLUSHALL") || is(command, "KEYS") || is(command, "SCAN") || is(command, "CONFIG") {
			t.Errorf("%q", command)
		}
		return answer
	})
	healthy(t, run(t, addr, func(o *doctor.Options) { o.Namespace = "mine" }))
	if touched.Load() < 50 {
		t.Errorf("%d keys", touched.Load())
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	_ = l.Close()
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	closing := listen(t, func(net.Conn) {})
	web := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	p := storetest.StartServer(t)
	// Of these two, the second answers, but perhaps not what is no command.
	patience := map[string]time.Duration{silent: time.Second, "rediss://:" + secret + "@" + p.Addr: 5 * time.Second}
	for _, c := range []struct{ url, detail, remedy string }{
		{refusing, "it refuses connections", "check that the server is running"},
		{"cacheaside.invalid:6379", "its name is not known", "check the host"},
		{silent, "it gives no answer", "check that"},
		{closing, "it closed the connection", "check that"},
		{web, "it is no Redis-compatible server", "check the address"},
		{"rediss://:" + secret + "@" + p.Addr, "it does not speak TLS", "use redis://"},
		{"redis://" + p.Addr + "/9999", "it has no database 9999", "another one"},
		{"redis://" + p.Addr + "?addr=" + p.Addr, "it is no part of a cluster", "without addr"},
		{"redis://:" + secret + "/@" + p.Addr, "cannot be parsed", "mend the URL"},
	} {
		all := run(t, c.url, func(o *doctor.Options) { o.Timeout = cmp.Or(patience[c.url], long) })
		expect(t, all, doctor.Connection, doctor.Fail, c.detail, c.remedy)
		if last := all[len(all)-1]; last.Name != doctor.Connection || strings.Contains(fmt.Sprint(all), secret) || doctor.Worst(all) != doctor.Fail {
			t.Errorf("%s: %+v", c.url, all)
		}
	}
}

const secret = "sEcReT-0123"

func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { handle(c); _ = c.Close() }()
			go func() { <-done; _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { close(done); _ = l.Close() })
	return l.Addr().String()
}

func TestPassword(t *testing.T) { storetest.EachKind(t, testPassword) }

func testPassword(t *testing.T, only servers.Option) {
	p := storetest.StartServer(t, servers.Password("a"), only) // which is in most words
	expect(t, run(t, p.Addr), doctor.Connection, doctor.Fail, "it wants a password", "redis://:password@host:port")
	all := run(t, "redis://:e@"+p.Addr)
	expect(t, all, doctor.Connection, doctor.Fail, "it does not accept the user or password", "percent-encoded")
	expect(t, all, doctor.Connection, doctor.Fail, "username-password pair", "") // with all its letters
	healthy(t, run(t, "redis://:a@"+p.Addr))
}

func TestTLS(t *testing.T) { storetest.EachKind(t, testTLS) }

func testTLS(t *testing.T, only servers.Option) {
	a := storetest.NewAuthority(t)
	p := storetest.StartTLSServer(t, a, only)
	trust := func(o *doctor.Options) { o.TLSConfig = a.Config() }
	all := run(t, "rediss://"+p.Addr, trust)
	healthy(t, all, doctor.Transport)
	var end time.Time
	for _, f := range all {
		if f.Name == doctor.Transport {
			_, text, _ := strings.Cut(f.Detail, "good until ")
			end, _ = time.Parse("2006-01-02 15:04 MST", strings.Split(text, ",")[0])
		}
	}
	if end.IsZero() {
		t.Fatalf("%+v", all)
	}
	for left, want := range map[time.Duration]doctor.Status{30 * 24 * time.Hour: doctor.OK, 3 * 24 * time.Hour: doctor.Warn, -time.Hour: doctor.Fail} {
		all := run(t, "rediss://"+p.Addr, trust, func(o *doctor.Options) { o.Now = func() time.Time { return end.Add(-left) } })
		remedy := "renew it"
		if want == doctor.OK {
			remedy = ""
		}
		expect(t, all, doctor.Transport, want, "TLS 1.3", remedy)
		expect(t, all, doctor.Rights, doctor.OK, "", "")
	}
	expect(t, run(t, "redis://"+p.Addr), doctor.Connection, doctor.Fail, "it speaks TLS alone", "use rediss://")
	expect(t, run(t, "rediss://"+p.Addr), doctor.Connection, doctor.Fail, "its certificate is not trusted", "RootCAs")
}

func TestServers(t *testing.T) {
	p := redis(t)   // which says what the test has it say, and no more
	const none = "" // the field is left out
	for _, c := range []struct {
		name           string
		fields         []string
		finding        string
		status         doctor.Status
		detail, remedy string
	}{
		{"dragonfly", []string{"dragonfly_version:df-v1.40.1", "cache_mode:cache"}, doctor.Server, doctor.OK, "Dragonfly df-v1.40.1", none},
		{"newer", []string{"dragonfly_version:df-v2.0.0", "cache_mode:cache"}, doctor.Server, doctor.OK, "Dragonfly df-v2.0.0", none},
		{"older", []string{"dragonfly_version:df-v1.40.0"}, doctor.Server, doctor.Fail, "breaks handshakes", "v1.40.1"},
		{"own", []string{"dragonfly_version:df-HEAD-HASH"}, doctor.Server, doctor.OK, "Dragonfly df-HEAD-HASH", none},
		{"valkey", []string{"valkey_version:8.1.0"}, doctor.Server, doctor.OK, "Valkey 8.1.0", none},
		{"redis 6.2", []string{"redis_version:6.2.14"}, doctor.Server, doctor.Warn, "Redis 6.2.14", "Redis 7"},
		{"redis 5", []string{"redis_version:5.0.14"}, doctor.Server, doctor.Fail, "lacks commands", "Redis 7"},
		{"mute", []string{"redis_version"}, doctor.Server, doctor.Warn, "does not say what it is", "+info"},
		{"no limit", []string{"maxmemory:0"}, doctor.Memory, doctor.Warn, "no limit", "set maxmemory"},
		{"noeviction", []string{"maxmemory_policy:noeviction"}, doctor.Memory, doctor.Warn, "once it is full, writes are refused", "allkeys-lru"},
		{"full", []string{"maxmemory_policy:noeviction", "used_memory:536870000"}, doctor.Memory, doctor.Fail, "it is full and does not evict", "allkeys-lru"},
		{"full and evicting", []string{"used_memory:536870000"}, doctor.Memory, doctor.OK, "512.0 MiB of 512.0 MiB used", none},
		{"store mode", []string{"dragonfly_version:df-v1.40.1", "cache_mode:store"}, doctor.Memory, doctor.Warn, "cache_mode store", "--cache_mode=true"},
		{"full dragonfly", []string{"dragonfly_version:df-v1.40.1", "cache_mode:cache", "used_memory:536870000"}, doctor.Memory, doctor.Warn, "eviction may not keep up", "more memory"},
		{"mute memory", []string{"maxmemory"}, doctor.Memory, doctor.Warn, "does not say how much memory", "+info"},
		{"replica", []string{"role:slave", "master_link_status:down"}, doctor.Role, doctor.Fail, "its link to the master is down", "the address of the master"},
		{"mute role", []string{"role"}, doctor.Role, doctor.OK, "not known", none},
	} {
		all := run(t, proxy(t, p.Addr, true, info(c.fields...)))
		expect(t, all, c.finding, c.status, c.detail, c.remedy)
		healthy(t, all, c.finding, doctor.Memory, doctor.Tracking)
	}
}

// TestReplica is with a server that replicates another one.
func TestReplica(t *testing.T) {
	master := redis(t)
	_, port, _ := net.SplitHostPort(master.Addr)
	for _, takesWrites := range []string{"yes", "no"} {
		p := redis(t, servers.RedisArgs("this is about Redis", "--replicaof", "127.0.0.1", port, "--replica-read-only", takesWrites))
		all := run(t, p.Addr)
		expect(t, all, doctor.Role, doctor.Fail, "it is a replica", "the address of the master")
		if takesWrites == "yes" { // it is the other way round: read-only
			expect(t, all, doctor.Writes, doctor.Fail, "READONLY", "the address of the master")
		} else {
			expect(t, all, doctor.Writes, doctor.OK, "", "")
		}
	}
}

func TestRefusedWrites(t *testing.T) {
	p := redis(t, servers.NoEviction(), servers.Memory(100_000))
	all := run(t, p.Addr)
	expect(t, all, doctor.Memory, doctor.Fail, "full and does not evict", "allkeys-lru")
	expect(t, all, doctor.Writes, doctor.Fail, "OOM", "more memory")

	p = storetest.StartServer(t)
	for answer, remedy := range map[string]string{
		"ERR Out of memory":                             "more memory",
		"READONLY You can't write against a replica.":   "the address of the master",
		"MISCONF Redis is configured to save":           "it cannot save its data",
		"NOREPLICAS Not enough good replicas to write.": "min-replicas-to-write",
		"CLUSTERDOWN Hash slot not served":              "every slot",
		"MASTERDOWN Link with MASTER is down":           "another one",
		"BUSY Redis is busy running a script.":          "SCRIPT KILL",
		"ERR something":                                 "its log",
	} {
		all := run(t, proxy(t, p.Addr, true, refuse(answer, "SET")))
		expect(t, all, doctor.Writes, doctor.Fail, strings.TrimPrefix(answer, "ERR "), remedy)
		healthy(t, all, doctor.Writes)
	}
	// Scripts may be refused where single commands are not.
	all = run(t, proxy(t, p.Addr, true, refuse("OOM command not allowed when used memory > 'maxmemory'.", "EVALSHA")))
	expect(t, all, doctor.Scripts, doctor.Fail, "OOM", "more memory")
}

func TestLoading(t *testing.T) {
	p := storetest.StartServer(t)
	all := run(t, proxy(t, p.Addr, true, refuse("LOADING Redis is loading the dataset in memory", "PING")))
	expect(t, all, doctor.Connection, doctor.Fail, "it is still loading its data", "try again later")
}

// TestWrongAnswers: a server that says OK and does something else is found out.
func TestWrongAnswers(t *testing.T) {
	p := storetest.StartServer(t)
	for _, c := range []struct {
		name, detail string
		change       change
	}{
		{"it forgets values", "reading it with its stamps: what was just written is not there", func(command []string, answer string) string {
			if is(command, "GET") && strings.HasSuffix(command[1], "}") {
				return "_\r\n"
			}
			return answer
		}},
		{"its scripts do nothing", "keeping a lock: the lock was not taken", func(command []string, answer string) string {
			if (is(command, "EVALSHA") || is(command, "EVAL")) && answer[0] == ':' {
				return ":0\r\n"
			}
			return answer
		}},
		{"a replica in its place answers", "purging a tag: the purge had no effect", func() change {
			var mu sync.Mutex
			before := map[string]string{}
			return func(command []string, answer string) string {
				if !is(command, "GET") || !strings.HasSuffix(command[1], ":t:doctor") || answer[0] != '$' {
					return answer
				}
				mu.Lock()
				defer mu.Unlock()
				if before[command[1]] == "" {
					before[command[1]] = answer
				}
				return before[command[1]]
			}
		}()},
		{"it has no scripts", "unknown command", func(command []string, answer string) string {
			if is(command, "EVALSHA") || is(command, "EVAL") {
				return "-ERR unknown command\r\n"
			}
			return answer
		}},
	} {
		all := run(t, proxy(t, p.Addr, true, c.change))
		expect(t, all, doctor.Scripts, doctor.Fail, c.detail, "")
		healthy(t, all, doctor.Scripts)
	}
}

func TestProtocol(t *testing.T) {
	p := storetest.StartServer(t)
	all := run(t, proxy(t, p.Addr, true, refuse("ERR unknown command `HELLO`, with args beginning with: `3`", "HELLO")))
	expect(t, all, doctor.Protocol, doctor.Warn, "RESP2", "HELLO 3")
	expect(t, all, doctor.Tracking, doctor.Warn, "it needs RESP3", "HELLO 3")
	healthy(t, all, doctor.Protocol, doctor.Tracking)
}

func TestTracking(t *testing.T) {
	p := storetest.StartServer(t)
	all := run(t, proxy(t, p.Addr, true, refuse("ERR syntax error", "CLIENT", "TRACKING")))
	expect(t, all, doctor.Tracking, doctor.Warn, "there can be no near tier", "leave WithNear out")
	healthy(t, all, doctor.Tracking)

	all = run(t, proxy(t, p.Addr, true, info("dragonfly_version:df-v1.40.0", "cache_mode:cache")))
	expect(t, all, doctor.Tracking, doctor.Warn, "the cache would not use it: tracking is not available: it needs Dragonfly 1.40.1", "Dragonfly v1.40.1")
	healthy(t, all, doctor.Tracking, doctor.Server)
}

// TestNoWord is with a server that says it tracks and never tells, as Dragonfly does with
// NOLOOP.
func TestNoWord(t *testing.T) {
	t.Parallel() // it mostly waits
	p := storetest.StartServer(t)
	all := run(t, proxy(t, p.Addr, false), func(o *doctor.Options) { o.Timeout = 8 * time.Second })
	expect(t, all, doctor.Tracking, doctor.Warn, "no word came of a change", "leave WithNear out")
}

func TestClock(t *testing.T) {
	p := storetest.StartServer(t)
	for _, c := range []struct {
		ahead  time.Duration // of this machine's clock
		status doctor.Status
		detail string
	}{
		{0, doctor.OK, ""},
		{time.Hour, doctor.Fail, "behind this machine's"},
		{-time.Hour, doctor.Fail, "ahead of this machine's"},
		{-20 * time.Second, doctor.Warn, "ahead of this machine's"},
	} {
		for _, noTime := range []bool{false, true} {
			addr := p.Addr
			if noTime && p.Kind == servers.Dragonfly { // whose INFO has none
				continue
			}
			if noTime { // which INFO then tells
				addr = proxy(t, p.Addr, true, refuse("NOPERM this user has no permissions to run the 'time' command", "TIME"))
			}
			all := run(t, addr, func(o *doctor.Options) { o.Now = func() time.Time { return time.Now().Add(c.ahead) } })
			remedy := "NTP"
			if c.status == doctor.OK {
				remedy = ""
			}
			expect(t, all, doctor.Clock, c.status, c.detail, remedy)
			healthy(t, all, doctor.Clock)
		}
	}
	all := run(t, proxy(t, p.Addr, true, refuse("NOPERM", "TIME"), info("server_time_usec")))
	expect(t, all, doctor.Clock, doctor.OK, "not known", "")
}

func TestLatency(t *testing.T) {
	p := storetest.StartServer(t)
	for _, c := range []struct {
		name   string
		take   func(kind string, n int) time.Duration
		status doctor.Status
		remedy string
	}{
		{"fast", func(string, int) time.Duration { return 24 * time.Millisecond }, doctor.OK, ""},
		{"half", func(string, int) time.Duration { return 25 * time.Millisecond }, doctor.Warn, "Timeouts.Lookup"},
		{"one slow", func(kind string, n int) time.Duration {
			if kind == "get" && n == 7 {
				return time.Second
			}
			return time.Millisecond
		}, doctor.Warn, "Timeouts.Lookup"},
		{"slow", func(string, int) time.Duration { return 60 * time.Millisecond }, doctor.Fail, "Timeouts.Lookup"},
		{"slow writes", func(kind string, _ int) time.Duration {
			if kind == "write" {
				return 300 * time.Millisecond
			}
			return time.Millisecond
		}, doctor.Fail, "Timeouts.Write"},
		{"slow purges", func(kind string, _ int) time.Duration {
			if kind == "purge" {
				return 600 * time.Millisecond
			}
			return time.Millisecond
		}, doctor.Warn, "Timeouts.Purge"},
	} {
		counts := map[string]int{}
		all := run(t, p.Addr, func(o *doctor.Options) {
			o.Measure = func(kind string, call func() error) (time.Duration, error) {
				counts[kind]++
				return c.take(kind, counts[kind]), call()
			}
		})
		expect(t, all, doctor.Latency, c.status, "ping ", c.remedy)
		healthy(t, all, doctor.Latency)
		if len(counts) != 5 {
			t.Errorf("%s: measured %v", c.name, counts)
		}
	}
	// By itself, it measures what there is, which may be anything.
	if all := run(t, p.Addr, func(o *doctor.Options) { o.Measure = nil }); !strings.HasPrefix(all[len(all)-1].Detail, "ping ") {
		t.Errorf("%+v", all)
	}
	all := run(t, p.Addr, func(o *doctor.Options) {
		o.Measure = func(string, func() error) (time.Duration, error) { return 0, errors.New("gone") }
	})
	expect(t, all, doctor.Latency, doctor.Fail, "ping: gone", "overloaded")
}

// listed are the rights that the README has for a kind of server.
func listed(t *testing.T, kind servers.Kind) []string {
	t.Helper()
	readme, err := os.ReadFile("../../../../dragonfly/README.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := "\nOn Redis 7 and Valkey:\n"
	if kind == servers.Dragonfly {
		heading = "\nOn Dragonfly:\n"
	}
	_, section, _ := strings.Cut(string(readme), heading)
	_, section, _ = strings.Cut(section, "redis-cli ACL SETUSER cacheaside on")
	section, _, _ = strings.Cut(section, "```")
	rights := strings.Fields(strings.NewReplacer("'", "", "\\\n", "", ">secret", "").Replace(section))
	if len(rights) < 20 {
		t.Fatalf("the README has %q", rights)
	}
	return rights
}

// without is all that one right is not.
func without(rights []string, right string) []string {
	return slices.DeleteFunc(slices.Clone(rights), func(r string) bool { return r == right })
}

// TestRights: with the rights of the README all is well, and without any one of them that
// is said, and what it costs.
func TestRights(t *testing.T) { storetest.EachKind(t, testRights) }

func testRights(t *testing.T, only servers.Option) {
	p := storetest.StartServer(t, only)
	rights := listed(t, p.Kind)
	admin := client(t, p.Addr)
	set := func(rules ...string) {
		t.Helper()
		do(t, admin, append([]string{"ACL", "SETUSER", "cacheaside", "on", "resetpass", "resetkeys", "resetchannels", "-@all", ">" + secret}, rules...)...)
		do(t, admin, "SCRIPT", "FLUSH")
	}
	url := "redis://cacheaside:" + secret + "@" + p.Addr
	set(rights...)
	healthy(t, run(t, url))
	for _, r := range rights {
		cluster := slices.Contains([]string{"+cluster", "+cluster|slots", "+cluster|shards", "+asking", "+readwrite"}, r) // of which nothing is known here
		if !strings.HasPrefix(r, "+") || cluster {
			continue
		}
		set(without(rights, r)...)
		all := run(t, url)
		status := doctor.Fail
		if slices.Contains([]string{"+lrange", "+ping", "+info", "+client", "+client|tracking", "+client|caching", "+multi", "+exec"}, r) {
			status = doctor.Warn
		}
		if r == "+info" && p.Kind == servers.Dragonfly { // then it is not known that it is one
			expect(t, all, "right +info", doctor.Warn, "the user lacks it: ", "ACL SETUSER … +info")
			continue
		}
		expect(t, all, "right "+r, status, "the user lacks it: ", "ACL SETUSER … "+r)
		var others []string
		for _, f := range all {
			if strings.HasPrefix(f.Name, "right ") && f.Name != "right "+r {
				others = append(others, f.Name)
			}
		}
		if len(others) > 0 || doctor.Worst(all) != status {
			t.Errorf("without %s: %+v", r, all)
		}
		if left, err := admin.Do(t.Context(), admin.B().Dbsize().Build()).AsInt64(); left != 0 || err != nil {
			t.Errorf("without %s, %d keys are left, %v", r, left, err)
		}
	}
	set(append(without(rights, "~cacheaside:2:*"), "~other:*")...)
	all := run(t, url)
	expect(t, all, "right ~cacheaside:2:*", doctor.Fail, "may not touch the keys", "ACL SETUSER … ~cacheaside:2:*")
	for _, f := range all {
		if strings.HasPrefix(f.Name, "right +") {
			t.Errorf("of a user of other keys: %+v", f)
		}
	}
	set("~cacheaside:2:*")
	all = run(t, url)
	if doctor.Worst(all) != doctor.Fail || len(all) < 15 {
		t.Errorf("without any right: %+v", all)
	}
	if strings.Contains(fmt.Sprint(all), secret) {
		t.Errorf("%+v", all)
	}
}

// TestEmulatedCluster: a Dragonfly that takes itself for a cluster is a single server, unless
// the user may not find that out.
func TestEmulatedCluster(t *testing.T) {
	p := storetest.StartServer(t, servers.EmulatedCluster())
	all := run(t, p.Addr)
	healthy(t, all)
	expect(t, all, doctor.Cluster, doctor.OK, "--cluster_mode=emulated", "")

	rights := listed(t, p.Kind)
	admin := client(t, p.Addr)
	url := "redis://cacheaside:" + secret + "@" + p.Addr
	do(t, admin, append([]string{"ACL", "SETUSER", "cacheaside", "on", ">" + secret}, rights...)...)
	all = run(t, url)
	healthy(t, all)
	expect(t, all, doctor.Cluster, doctor.OK, "--cluster_mode=emulated", "")

	do(t, admin, "ACL", "SETUSER", "cacheaside", "-readwrite")
	all = run(t, url)
	healthy(t, all, "right +readwrite")
	expect(t, all, "right +readwrite", doctor.Warn, "the address that it gives of itself", "ACL SETUSER … +readwrite")
	expect(t, all, doctor.Cluster, doctor.OK, "a cluster with one master", "")
}

// TestCluster: each node is asked, and one that is down is told of.
func TestCluster(t *testing.T) {
	storetest.LongOnly(t)
	c := storetest.StartCluster(t)
	all := run(t, c.Nodes[0].Addr)
	healthy(t, all)
	expect(t, all, doctor.Cluster, doctor.OK, "a cluster with 3 masters", "")
	expect(t, all, doctor.Server, doctor.OK, "(3 nodes)", "")
	for _, n := range c.Nodes {
		if got := c.Must(n, "EVAL", "return tostring(redis.call('DBSIZE'))", "0"); got != "0" {
			t.Errorf("%s keys are left on %s", got, n.Addr)
		}
	}
	// Who may not ask what it is takes a cluster for one server.
	for _, n := range c.Nodes {
		c.Must(n, "ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "-info", "-cluster")
	}
	expect(t, run(t, "redis://mute:x@"+c.Nodes[0].Addr), doctor.Cluster, doctor.Fail, "is taken for a single server", "+info")
}

// TestClusterDown is with a node that has no slots.
func TestClusterDown(t *testing.T) {
	p := redis(t, servers.ClusterNode(0))
	all := run(t, p.Addr)
	if doctor.Worst(all) != doctor.Fail || !strings.Contains(fmt.Sprint(all), "slot") {
		t.Errorf("%+v", all)
	}
}

// TestCancelled: who gives up does not wait for the server.
func TestCancelled(t *testing.T) {
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all := doctor.Run(ctx, doctor.Options{URL: silent, Namespace: "cacheaside", Timeout: long})
	expect(t, all, doctor.Connection, doctor.Fail, "", "")
}
