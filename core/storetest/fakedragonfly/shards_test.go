package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOrder: answers come in the order of the questions, and a key has one order, however
// many shards there are.
func TestOrder(t *testing.T) {
	f := start(t, []string{"FAKEDRAGONFLY_SHARDS=4"})
	var all sync.WaitGroup
	for j := range 4 {
		all.Go(func() {
			c := f.dial(t)
			var want []string
			var commands [][]string
			count := map[string]int{}
			for i := range 500 {
				key := fmt.Sprint("key:", j, ":", i%7)
				switch i % 9 {
				case 3:
					commands, want = append(commands, []string{"PING", fmt.Sprint(i)}), append(want, fmt.Sprint(i))
				case 5:
					commands = append(commands, []string{"MGET", key, fmt.Sprint("key:", j, ":", (i+1)%7)})
					want = append(want, fmt.Sprintf("[%s %s]", number(count[key]), number(count[fmt.Sprint("key:", j, ":", (i+1)%7)])))
				case 7:
					commands = append(commands, []string{"EVAL", "return redis.call('GET', KEYS[1])", "1", key})
					want = append(want, number(count[key]))
				default:
					count[key]++
					commands, want = append(commands, []string{"INCR", key}), append(want, fmt.Sprint(count[key]))
				}
			}
			go c.send(commands...) //nolint:staticcheck // a failure to send shows as one to receive
			for i, want := range want {
				if got := c.next().String(); got != want {
					t.Errorf("%v: %s, want %s", commands[i], got, want)
					return
				}
			}
		})
	}
	all.Wait()
}

func number(n int) string {
	if n == 0 {
		return "null"
	}
	return strconv.Itoa(n)
}

// TestUnordered: what a pipeline has written last may be seen before what it has written
// first, on another shard.
func TestUnordered(t *testing.T) {
	f := start(t, nil)
	var stop atomic.Bool
	var seen atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		c := f.dial(t)
		for !stop.Load() {
			// One shard at a time, in no order: so both ways must be looked at.
			v := c.do("MGET ordered:1 ordered:2 ordered:3 ordered:4")
			for i := range 3 {
				a, _ := strconv.Atoi(v.items[i].text)
				if b, _ := strconv.Atoi(v.items[i+1].text); b > a {
					seen.Add(1)
				}
			}
		}
	})
	c := f.dial(t)
	for i := 1; i <= 20_000 && seen.Load() == 0; i++ {
		n := strconv.Itoa(i)
		c.send([]string{"SET", "ordered:1", n}, []string{"SET", "ordered:2", n}, []string{"SET", "ordered:3", n}, []string{"SET", "ordered:4", n})
		for range 4 {
			c.next()
		}
	}
	stop.Store(true)
	all.Wait()
	if seen.Load() == 0 {
		t.Error("20,000 pipelines were seen in their order")
	}
	// A transaction is whole.
	c.want("MULTI", "OK")
	c.want("SET ordered:1 x", "QUEUED")
	c.want("SET ordered:2 x", "QUEUED")
	c.want("GET ordered:2", "QUEUED")
	if got := f.dial(t).do("GET ordered:2").text; got == "x" {
		t.Error("a transaction is seen before EXEC")
	}
	c.want("EXEC", "[OK OK x]")
}

// TestRefused: with FAKEDRAGONFLY_REFUSE writes of a burst fail, and not those that come
// one by one; a script fails at one of its writes.
func TestRefused(t *testing.T) {
	refused := func(seed string) (pattern string) {
		c := start(t, []string{"FAKEDRAGONFLY_REFUSE=0.2", "FAKEDRAGONFLY_SEED=" + seed}).dial(t)
		var commands [][]string
		for i := range 200 {
			commands = append(commands, []string{"SET", fmt.Sprint("k", i), "v"}, []string{"GET", fmt.Sprint("k", i)}, []string{"DEL", fmt.Sprint("k", i)})
		}
		c.send(commands...)
		for range 200 {
			got, read, deleted := c.next().String(), c.next().String(), c.next().String()
			switch got + read + deleted {
			case "OKv1":
				pattern += "."
			case "-ERR Out of memorynull0":
				pattern += "x"
			default:
				t.Fatal(got, read, deleted)
			}
		}
		for i := range 50 {
			c.want(fmt.Sprint("SET one:", i, " v"), "OK")
		}
		return pattern
	}
	one := refused("1")
	if n := strings.Count(one, "x"); n < 10 || n > 150 || !strings.HasPrefix(one, "...") {
		t.Errorf("%d refused: %s", n, one)
	}
	c := start(t, []string{"FAKEDRAGONFLY_REFUSE=1", "FAKEDRAGONFLY_REFUSE_DEPTH=1"}).dial(t)
	c.want("SET a b", "-ERR Out of memory")
	got := map[string]int{}
	for range 100 {
		c.want("DEL a b c", fmt.Sprint(c.do("EXISTS a b c").text))
		v := c.do("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1) redis.call('DEL', KEYS[3]) redis.call('SET', KEYS[3], 1)", "3", "a", "b", "c").String()
		if !strings.HasPrefix(v, "-ERR Error running script") || !strings.HasSuffix(v, "Out of memory") {
			t.Fatal(v)
		}
		got[c.do("EXISTS a b c").text]++
	}
	if got["0"] == 0 || got["1"] == 0 || got["2"] == 0 || len(got) != 3 {
		t.Errorf("keys written before a script was stopped: %v", got)
	}
}

// TestBursts: a cache that is full refuses some writes of bursts, without a word about it
// in the environment, and none that come one by one. One with room refuses nothing.
func TestBursts(t *testing.T) {
	c := start(t, nil).dial(t)
	value := strings.Repeat("v", 1000)
	n := 0
	bad := func(bursts int) (bad int) {
		for range bursts {
			var commands [][]string
			for range 30 {
				n++
				commands = append(commands, []string{"SET", fmt.Sprint("key:", n), value, "PX", "600000"})
			}
			c.send(commands...)
			refused := 0
			for range commands {
				switch got := c.next().String(); got {
				case "OK":
				case "-ERR Out of memory":
					refused++
				default:
					t.Fatal(got)
				}
			}
			if refused > 0 {
				bad++
			}
		}
		return bad
	}
	if got := bad(300); got > 0 {
		t.Errorf("%d bursts were refused where there was room", got)
	}
	c.want("CONFIG SET maxmemory 8mb", "OK")
	for ; infoOf(c.do("INFO stats").text)["evicted_keys"] == "0"; n++ {
		if got := c.do("SET", fmt.Sprint("key:", n), value).String(); got != "OK" {
			t.Fatal(got)
		}
	}
	if got := bad(300); got < 15 || got > 150 {
		t.Errorf("of 300 bursts at a full server %d were refused", got)
	}
	for i := range 300 {
		if got := c.do("SET", fmt.Sprint("one:", i), value).String(); got != "OK" {
			t.Fatal(got)
		}
	}
}

// TestFull: where there is no room and no eviction, writes are refused in the same words.
func TestFull(t *testing.T) {
	c := start(t, nil, "--cache_mode=false").dial(t)
	c.want("CONFIG SET maxmemory 1b", "OK")
	c.want("SET a b", "-ERR Out of memory")
	if v := c.do("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "a").String(); !strings.HasSuffix(v, "Out of memory") {
		t.Error(v)
	}
	c.want("GET a", "null")
	c.want("CONFIG SET maxmemory 512mb", "OK")
	c.want("SET a b", "OK")
}
