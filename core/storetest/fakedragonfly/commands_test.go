package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestAbsent: what Dragonfly does not have is an error, in its words.
func TestAbsent(t *testing.T) {
	c := start(t, nil).dial3(t)
	for line, want := range map[string]string{
		"OBJECT ENCODING k":                  "-ERR unknown command `OBJECT`",
		"object freq k":                      "-ERR unknown command `OBJECT`",
		"FUNCTION LOAD x":                    "-ERR unknown command `FUNCTION`",
		"FCALL f 0":                          "-ERR unknown command `FCALL`",
		"SWAPDB 0 1":                         "-ERR unknown command `SWAPDB`",
		"WAITAOF 0 0 0":                      "-ERR unknown command `WAITAOF`",
		"ASKING":                             "-ERR unknown command `ASKING`",
		"MSETEX 1 k v":                       "-ERR unknown command `MSETEX`",
		"HPEXPIRE h 1 FIELDS 1 f":            "-ERR unknown command `HPEXPIRE`",
		"HPTTL h FIELDS 1 f":                 "-ERR unknown command `HPTTL`",
		"HGETDEL h FIELDS 1 f":               "-ERR unknown command `HGETDEL`",
		"NOSUCH":                             "-ERR unknown command `NOSUCH`",
		"SET k v IFEQ w":                     "-ERR syntax error",
		"HELLO 4":                            "-NOPROTO unsupported protocol version",
		"CONFIG SET maxmemory-policy x":      "-ERR Unknown option or number of arguments for CONFIG SET - 'maxmemory-policy'",
		"CONFIG SET maxmemory 300mb":         "OK",
		"CONFIG GET maxmemory":               "[maxmemory 314572800]",
		"CONFIG GET cache_mode":              "[]",
		"CLIENT NO-EVICT on":                 "-ERR Unknown subcommand or wrong number of arguments for 'NO-EVICT'. Try CLIENT HELP.",
		"CLIENT NO-TOUCH on":                 "-ERR Unknown subcommand or wrong number of arguments for 'NO-TOUCH'. Try CLIENT HELP.",
		"CLIENT TRACKINGINFO":                "-ERR Unknown subcommand or wrong number of arguments for 'TRACKINGINFO'. Try CLIENT HELP.",
		"CLIENT REPLY OFF":                   "-ERR Unknown subcommand or wrong number of arguments for 'REPLY'. Try CLIENT HELP.",
		"CLIENT KILL TYPE normal":            "-ERR syntax error",
		"CLIENT KILL USER default":           "-ERR syntax error",
		"CLIENT KILL ID 4711":                "0",
		"CLIENT SETINFO LIB-NAME x":          "OK",
		"DEBUG SLEEP 1":                      "-ERR Unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.",
		"COMMAND DOCS get":                   "-ERR Unknown subcommand or wrong number of arguments for 'DOCS'. Try COMMAND HELP.",
		"CLUSTER SLOTS":                      "-ERR Cluster is disabled. Use --cluster_mode=yes to enable.",
		"CLUSTER INFO":                       "-ERR Cluster is disabled. Use --cluster_mode=yes to enable.",
		"READONLY":                           "-ERR Cluster is disabled. Use --cluster_mode=yes to enable.",
		"WAIT 1 10":                          "0",
		"HELLO 3 AUTH default anything":      "[server redis version 7.4.0 dragonfly_version df-v1.40.1 proto 3 id 2 mode standalone role master]",
		"SELECT 16":                          "-ERR DB index is out of range",
		"EVAL x":                             "-ERR wrong number of arguments for 'eval' command",
		"PING":                               "PONG",
		"EXPIRE absent 10 NX":                "0",
		"GETEX absent PX 10":                 "null",
		"CLIENT CACHING YES":                 "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode",
		"CLIENT TRACKING ON BCAST":           "-ERR syntax error",
		"CLIENT TRACKING ON PREFIX a":        "-ERR syntax error",
		"CLIENT TRACKING ON REDIRECT 1":      "-ERR syntax error",
		"CLIENT TRACKING ON OPTIN OPTOUT":    "-ERR syntax error",
		"INFO server memory":                 "-ERR syntax error",
		"ACL SETUSER":                        "-ERR wrong number of arguments for 'acl setuser' command",
		"CONFIG SET maxmemory-samples 5":     "-ERR Unknown option or number of arguments for CONFIG SET - 'maxmemory-samples'",
		"CONFIG SET cluster_mode yes":        "-ERR CONFIG SET failed (possibly related to argument 'cluster_mode') - can't set immutable config",
		"CONFIG SET maxmemory much":          "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument can not be set",
		"MEMORY DOCTOR":                      "-ERR Unknown subcommand or wrong number of arguments for 'DOCTOR'. Try MEMORY HELP.",
		"SCRIPT KILL":                        "-ERR Unknown subcommand or wrong number of arguments for 'KILL'. Try SCRIPT HELP.",
		"EVALSHA " + strings.Repeat("0", 40): "-NOSCRIPT No matching script. Please use EVAL.",
	} {
		if strings.HasPrefix(line, "EVALSHA") {
			line += " 0"
		}
		if line == "CONFIG GET maxmemory" || line == "CONFIG SET maxmemory 300mb" {
			continue // one after the other, below
		}
		if strings.HasPrefix(line, "HELLO 3 AUTH") {
			want = strings.Replace(want, "id 2", "id "+c.do("CLIENT ID").text, 1)
		}
		c.want(line, want)
	}
	c.want("CONFIG SET maxmemory 300mb", "OK")
	c.want("CONFIG GET maxmemory", "[maxmemory 314572800]")
	c.want("HELLO 2", "[server redis version 7.4.0 dragonfly_version df-v1.40.1 proto 2 id "+c.do("CLIENT ID").text+" mode standalone role master]")
	c.want("CLIENT TRACKING ON", "-ERR Client tracking is currently not supported for RESP2. Please use RESP3.")
}

func TestInfo(t *testing.T) {
	c := start(t, nil).dial(t)
	for section, want := range map[string][]string{
		"server": {"dragonfly_version:df-v1.40.1\r\n", "redis_version:7.4.0\r\n", "redis_mode:standalone\r\n", "thread_count:1\r\n"},
		"MEMORY": {"cache_mode:cache\r\n", "maxmemory:536870912\r\n", "maxmemory_policy:eviction\r\n", "\r\nused_memory:"},
	} {
		text := c.do("INFO " + section).text
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("INFO %s lacks %q: %s", section, line, text)
			}
		}
	}
	if text := c.do("INFO").text; !strings.Contains(text, "# Server") || !strings.Contains(text, "# Memory") || !strings.Contains(text, "# Stats") {
		t.Errorf("INFO: %s", text)
	}
	plain := start(t, nil, "--cache_mode=false").dial(t)
	if text := plain.do("INFO memory").text; !strings.Contains(text, "cache_mode:store\r\n") || !strings.Contains(text, "maxmemory_policy:noeviction") {
		t.Errorf("without cache mode: %s", text)
	}
	// What clients ask is counted, and nothing else.
	c.do("CONFIG RESETSTAT")
	c.do("SET a b")
	c.do("GET a")
	c.do("GET a")
	if text := c.do("INFO commandstats").text; !strings.Contains(text, "cmdstat_get:calls=2,") || strings.Contains(text, "hello") {
		t.Errorf("INFO commandstats: %s", text)
	}
	c.want("MEMORY USAGE a", "0")
	c.want("MEMORY USAGE absent", "null")
	c.do("SET", "large", strings.Repeat("x", 1000))
	if n := c.do("MEMORY USAGE large").text; len(n) < 4 {
		t.Errorf("MEMORY USAGE: %s", n)
	}
	c.want("STICK a absent", "1")
	c.want("STICK a", "0")
}

func TestClients(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial(t), f.dial(t)
	other.want("CLIENT SETNAME joe", "OK")
	other.want("CLIENT GETNAME", "joe")
	other.want("CLIENT SETINFO LIB-NAME mine", "OK")
	other.want("SELECT 3", "OK")
	id := other.do("CLIENT ID").text
	line := fmt.Sprintf("id=%s addr=%s laddr=%s ", id, other.nc.LocalAddr(), f.addr)
	if text := c.do("CLIENT LIST").text; !strings.Contains(text, line) || !strings.Contains(text, " name=joe ") || !strings.Contains(text, " db=3 ") || strings.Contains(text, " cmd=") {
		t.Errorf("CLIENT LIST: %s, want %s", text, line)
	}
	c.want("CLIENT KILL ID "+id, "1")
	if _, err := parse(other.r); err == nil {
		t.Error("a killed client is there")
	}
	third := f.dial(t)
	third.do("PING")
	c.want("CLIENT KILL ADDR "+third.nc.LocalAddr().String(), "1")
	if _, err := parse(third.r); err == nil {
		t.Error("a killed client is there")
	}
}

// TestDatabases: a connection has one for all its commands, whatever their shard.
func TestDatabases(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial(t), f.dial(t)
	for i := range 8 {
		c.want(fmt.Sprint("SET k", i, " zero"), "OK")
	}
	c.want("SELECT 3", "OK")
	for i := range 8 {
		c.want(fmt.Sprint("GET k", i), "null")
		c.want(fmt.Sprint("SET k", i, " three"), "OK")
		other.want(fmt.Sprint("GET k", i), "zero")
	}
}

// TestMulti: an unknown command does not spoil a transaction, another error does.
func TestMulti(t *testing.T) {
	c := start(t, nil).dial(t)
	c.want("MULTI", "OK")
	c.want("SET a 1", "QUEUED")
	c.want("OBJECT FREQ a", "-ERR unknown command `OBJECT`")
	c.want("NOSUCH a", "-ERR unknown command `NOSUCH`")
	c.want("GET a", "QUEUED")
	c.want("EXEC", "[OK 1]")
	c.want("MULTI", "OK")
	c.want("GET", "-ERR wrong number of arguments for 'get' command")
	if got := c.do("EXEC").String(); !strings.HasPrefix(got, "-EXECABORT") {
		t.Errorf("EXEC: %s", got)
	}
	c.want("GET a", "1")
	c.want("WATCH a", "OK")
	c.want("MULTI", "OK")
	c.want("DISCARD", "OK")
	c.want("EXEC", "-ERR EXEC without MULTI")
}

func TestPubSub(t *testing.T) {
	f := start(t, nil)
	for _, dial := range []func(*testing.T) *client{f.dial, f.dial3} {
		c, other := dial(t), f.dial(t)
		c.want("SET a b", "OK")
		c.send([]string{"GET", "a"}, []string{"SUBSCRIBE", "x", "y"})
		for _, want := range []string{"b", "[subscribe x 1]", "[subscribe y 2]"} {
			if got := c.next().String(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		other.want("PUBLISH y hello", "1")
		if got := c.next().String(); got != "[message y hello]" {
			t.Error(got)
		}
		c.want("UNSUBSCRIBE y", "[unsubscribe y 1]")
		c.want("SSUBSCRIBE s", "[ssubscribe s 1]")
		other.want("SPUBLISH s hi", "1")
		if got := c.next().String(); got != "[smessage s hi]" {
			t.Error(got)
		}
		c.want("UNSUBSCRIBE x", "[unsubscribe x 0]")
		c.want("SUNSUBSCRIBE s", "[sunsubscribe s 0]")
	}
	c := f.dial3(t)
	c.want("SUBSCRIBE x", "[subscribe x 1]")
	c.want("GET a", "b") // RESP3 goes on
}

func TestCluster(t *testing.T) {
	f := start(t, nil, "--cluster_mode=emulated")
	c := f.dial(t)
	id := c.do("CLUSTER MYID").text
	_, port, _ := strings.Cut(f.addr, ":")
	c.want("CLUSTER SLOTS", fmt.Sprintf("[[0 16383 [127.0.0.1 %s %s []]]]", port, id))
	c.want("CLUSTER SHARDS", fmt.Sprintf("[[slots [0 16383] nodes [[id %s endpoint 127.0.0.1 ip 127.0.0.1 port %s role master replication-offset 0 health online]]]]", id, port))
	c.want("CLUSTER NODES", fmt.Sprintf("%s 127.0.0.1:%s@%s myself,master - 0 0 0 connected 0-16383\n", id, port, port))
	c.want("CLUSTER KEYSLOT foo", "12182")
	c.want("CLUSTER KEYSLOT a{foo}b{c}", "12182")
	c.want("READONLY", "OK")
	c.want("MSET a 1 b 2", "OK") // across slots
	c.want("ASKING", "-ERR unknown command `ASKING`")
	if text := c.do("INFO server").text; !strings.Contains(text, "redis_mode:cluster") {
		t.Error(text)
	}
	whole := start(t, nil, "--cluster_mode=yes").dial(t)
	whole.want("CLUSTER SLOTS", "-ERR Cluster is not yet configured")
}

// TestScan: cursors are large, and lead to all keys.
func TestScan(t *testing.T) {
	c := start(t, nil).dial(t)
	for i := range 300 {
		c.want(fmt.Sprint("SET k", i, " v"), "OK")
	}
	found, large := map[string]bool{}, 0
	for cursor := "0"; ; {
		v := c.do("SCAN " + cursor + " MATCH k* TYPE string COUNT 20")
		for _, key := range v.items[1].items {
			found[key.text] = true
		}
		if cursor = v.items[0].text; cursor == "0" {
			break
		}
		if n, err := strconv.ParseUint(cursor, 10, 64); err == nil && n > 1<<32 {
			large++
		}
	}
	if len(found) != 300 || large < 5 {
		t.Errorf("%d keys, %d large cursors", len(found), large)
	}
	c.want("SCAN x", "-ERR invalid cursor")
	c.want("SCAN", "-ERR wrong number of arguments for 'scan' command")
}
