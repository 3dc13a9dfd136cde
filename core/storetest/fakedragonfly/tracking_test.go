package main

import (
	"strings"
	"testing"
	"time"
)

const long = "a:key:of:more:than:16"

// TestTracking: writes are told, and the one-write pipeline of rueidis works.
func TestTracking(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial3(t), f.dial(t)
	c.want("CLIENT TRACKING ON OPTIN", "OK")
	for _, key := range []string{"short", long, "ключ"} {
		for _, write := range []string{"SET " + key + " v", "SET " + key + " w PX 60000", "PEXPIRE " + key + " 60000", "DEL " + key, "EVAL return(redis.call('SET',KEYS[1],1)) 1 " + key, "UNLINK " + key, "MSET " + key + " x"} {
			c.send([]string{"CLIENT", "CACHING", "YES"}, []string{"MULTI"}, []string{"PTTL", key}, []string{"GET", key}, []string{"EXEC"})
			for _, want := range []string{"OK", "OK", "QUEUED", "QUEUED"} {
				if got := c.next().String(); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			}
			if got := c.next(); len(got.items) != 2 {
				t.Fatalf("EXEC: %v", got)
			}
			if v := other.do(write); v.kind == '-' {
				t.Fatal(v)
			}
			if got := c.next().String(); got != "[invalidate ["+key+"]]" {
				t.Errorf("%s: %s", write, got)
			}
		}
	}
	// What is not asked for is not told.
	c.want("GET short", "x")
	other.want("SET short y", "OK")
	c.quiet("a push that nobody has asked for")
	// A read of an absent key is tracked as well; FLUSHALL tells all.
	c.want("CLIENT CACHING YES", "OK")
	c.want("GET absent:and:long:enough", "null")
	other.want("SET absent:and:long:enough v", "OK")
	if got := c.next().String(); got != "[invalidate [absent:and:long:enough]]" {
		t.Error(got)
	}
	other.want("FLUSHALL", "OK")
	if got := c.next().String(); got != "[invalidate null]" {
		t.Error(got)
	}
}

// TestPlainTracking: without OPTIN every read counts, the writer is told as well.
func TestPlainTracking(t *testing.T) {
	f := start(t, nil)
	c := f.dial3(t)
	c.want("CLIENT TRACKING ON", "OK")
	c.want("GET k", "null")
	c.send([]string{"SET", "k", "v"})
	got := []string{c.next().String(), c.next().String()}
	if all := strings.Join(got, " "); !strings.Contains(all, "OK") || !strings.Contains(all, "[invalidate [k]]") {
		t.Error(all)
	}
	c.want("CLIENT TRACKING OFF", "OK")
	c.want("GET k", "v")
	f.dial(t).want("SET k w", "OK")
	c.quiet("a push after TRACKING OFF")
}

// TestNoLoop: the answer is OK, and no push ever comes.
func TestNoLoop(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial3(t), f.dial(t)
	c.want("CLIENT TRACKING ON OPTIN NOLOOP", "OK")
	c.want("CLIENT CACHING YES", "OK")
	c.want("GET "+long, "null")
	other.want("SET "+long+" v", "OK")
	other.want("FLUSHALL", "OK")
	c.quiet("a push in spite of NOLOOP")
}

// TestLostExpiry: nobody is told that a short key, or one that is not ASCII, has expired;
// of others not before something else happens.
func TestLostExpiry(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial3(t), f.dial(t)
	c.want("CLIENT TRACKING ON", "OK")
	for _, key := range []string{"ab", "sixteen:bytes:ab", "ключ:длиннее:16:байт", long} {
		other.want("SET "+key+" v PX 60", "OK")
		c.want("GET "+key, "v")
	}
	time.Sleep(100 * time.Millisecond) // they expire
	c.quiet("a push of an idle server")
	other.want("GET something:else", "null") // here at last
	if got := c.next().String(); got != "[invalidate ["+long+"]]" {
		t.Error(got)
	}
	for _, key := range []string{"ab", "sixteen:bytes:ab", "ключ:длиннее:16:байт"} {
		other.want("GET "+key, "null")
	}
	c.quiet("a push for a short key")
	// Written again they are told of.
	c.want("GET ab", "null")
	other.want("SET ab v", "OK")
	if got := c.next().String(); got != "[invalidate [ab]]" {
		t.Error(got)
	}
}

// TestLostEviction: that goes for keys that were evicted as well, if they had a TTL.
func TestLostEviction(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial3(t), f.dial(t)
	c.want("CLIENT TRACKING ON", "OK")
	for _, key := range []string{"ab", "sixteen:bytes:ab", "ключ:длиннее:16:байт", long} {
		other.want("SET "+key+" v PX 60000", "OK")
		c.want("GET "+key, "v")
	}
	other.want("SET endless v", "OK")
	c.want("GET endless", "v")
	other.want("CONFIG SET maxmemory 1b", "OK") // nothing has room
	for other.do("DBSIZE").text != "0" {
		other.do("GET something:else")
	}
	other.want("CONFIG SET maxmemory 300mb", "OK")
	other.want("GET something:else", "null") // what waits goes out
	told := map[string]bool{}
	for range 2 {
		told[c.next().String()] = true
	}
	if !told["[invalidate ["+long+"]]"] || !told["[invalidate [endless]]"] {
		t.Error(told)
	}
	c.quiet("a push for a short key")
}

// TestWritesAreTold: however reads and writes of short keys come together, the last
// value that was read is right, or a push says that it is not.
func TestWritesAreTold(t *testing.T) {
	f := start(t, nil)
	c := f.dial3(t)
	c.want("CLIENT TRACKING ON", "OK")
	done := make(chan string)
	go func() {
		w := f.dial(t)
		last := ""
		for i := range 300 {
			last = strings.Repeat("x", i%7+1)
			w.do("SET ab", last)
		}
		done <- last
	}()
	held, ok := "", false
	read := func() {
		c.send([]string{"GET", "ab"})
		for {
			v := c.next()
			if v.kind == '>' {
				ok = false
				continue
			}
			held, ok = v.String(), true
			return
		}
	}
	for {
		read()
		select {
		case last := <-done:
			for end := time.Now().Add(10 * time.Second); ok && held != last && time.Now().Before(end); {
				_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
				if v, err := parse(c.r); err == nil && v.kind == '>' {
					ok = false
				}
			}
			if ok && held != last {
				t.Errorf("%s is held, and %s was written", held, last)
			}
			return
		default:
		}
	}
}
