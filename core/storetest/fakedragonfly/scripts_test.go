package main

import (
	"strings"
	"testing"
)

func TestScripts(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	eval := func(script string, rest ...string) string {
		return c.do("EVAL", append([]string{script}, rest...)...).String()
	}
	for script, want := range map[string]string{
		"return redis.call('GET', 'x')":                        "-ERR Error running script (call to %s): @user_script:1: script tried accessing undeclared key, key: x",
		"return redis.pcall('SET', 'x', 1)":                    "-ERR script tried accessing undeclared key, key: x",
		"return server.call('GET', 'x')":                       "-ERR Error running script (call to %s): @user_script:1: script tried accessing undeclared key, key: x",
		"return redis.call('DEL', KEYS[1], 'x')":               "-ERR Error running script (call to %s): @user_script:1: script tried accessing undeclared key, key: x",
		"return redis.call('MSET', KEYS[1], 1, 'x', 2)":        "-ERR Error running script (call to %s): @user_script:1: script tried accessing undeclared key, key: x",
		"return redis.call('RENAME', KEYS[1], 'x')":            "-ERR Error running script (call to %s): @user_script:1: script tried accessing undeclared key, key: x",
		"return redis.pcall('OBJECT', 'FREQ', KEYS[1])":        "-ERR unknown command",
		"return redis.call('SET', KEYS[1], ARGV[1])":           "OK",
		"return redis.call('GET', KEYS[1])":                    "v",
		"return #ARGV":                                         "1",
		"return 3.7":                                           "3.7",
		"return {1, 2.5, {-0.25, 'a'}}":                        "[1 2.5 [-0.25 a]]",
		"return 4":                                             "4",
		"return {err='mine'}":                                  "-mine",
		"return redis.status_reply('fine')":                    "fine",
		"return nil":                                           "null",
		"return redis.call('TIME')[1] ~= nil":                  "1",
		"return redis.sha1hex('')":                             "da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"return redis.call('MGET', unpack(KEYS)) -- a comment": "[v]",
		"local s = 0 for i = 1, 3 do s = s + i end return s":   "6",
		"return redis.call('LPUSH', KEYS[1], 'x')":             "-ERR Error running script (call to %s): @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
	} {
		if strings.Contains(script, "GET', KEYS") || strings.Contains(script, "MGET") || strings.Contains(script, "LPUSH") {
			c.do("SET k v")
		}
		want = strings.ReplaceAll(want, "%s", sha(script))
		if got := eval(script, "1", "k", "v"); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	for _, script := range []string{"#!lua flags=no-writes\nreturn 1", "return ("} {
		if got := eval(script, "0"); !strings.HasPrefix(got, "-ERR Error compiling script") {
			t.Errorf("%s: %s", script, got)
		}
	}
	if got := c.do("EVAL_RO", "return redis.call('SET', KEYS[1], 1)", "1", "k").String(); !strings.Contains(got, "Write commands are not allowed") {
		t.Error(got)
	}
}

// TestSHA: clients name scripts as they sent them.
func TestSHA(t *testing.T) {
	f := start(t, nil)
	c, other := f.dial(t), f.dial(t)
	const script = "return ARGV[1]"
	name := sha(script)
	c.want("EVALSHA "+name+" 0 a", "-NOSCRIPT No matching script. Please use EVAL.")
	c.want("SCRIPT EXISTS "+name, "[0]")
	if got := c.do("EVAL", script, "0", "a").String(); got != "a" {
		t.Error(got)
	}
	other.want("EVALSHA "+strings.ToUpper(name)+" 0 b", "b")
	c.want("SCRIPT EXISTS "+name, "[1]")
	c.want("SCRIPT FLUSH", "OK")
	other.want("EVALSHA "+name+" 0 b", "-NOSCRIPT No matching script. Please use EVAL.")
	if got := c.do("SCRIPT LOAD", script).String(); got != name {
		t.Error(got)
	}
	other.want("EVALSHA_RO "+name+" 0 b", "b")
	// In a transaction they are what they are elsewhere.
	c.want("MULTI", "OK")
	c.want("EVALSHA "+name+" 0 c", "QUEUED")
	c.want("EXEC", "[c]")
}
