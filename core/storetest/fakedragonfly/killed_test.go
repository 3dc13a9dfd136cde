//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilled: a killed server takes connections for a moment and its port is free after
// that. What is behind it is gone.
func TestKilled(t *testing.T) {
	f := start(t, []string{"FAKEDRAGONFLY_LINGER_MS=300"})
	c := f.dial(t)
	c.want("SET a b", "OK")
	behind := children(t, f.cmd.Process.Pid)
	if len(behind) != 2 {
		t.Skipf("the children are not known: %v", behind)
	}
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(c.r); err == nil {
		t.Error("an answer of a killed server")
	}
	if nc, err := net.Dial("tcp", f.addr); err != nil {
		t.Errorf("at once: %v", err)
	} else {
		_ = nc.Close()
	}
	gone := func() bool {
		if nc, err := net.Dial("tcp", f.addr); err == nil {
			_ = nc.Close()
			return false
		}
		for _, pid := range behind {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(10 * time.Second); !gone(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("something is left of a killed server")
		}
	}
	if err := f.start(nil); err != nil {
		t.Fatal(err)
	}
	f.dial(t).want("GET a", "null")

	// In good order the port is free when the program has ended.
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); syscall.Kill(f.cmd.Process.Pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
	if nc, err := net.Dial("tcp", f.addr); err == nil {
		_ = nc.Close()
		t.Error("a server that has stopped takes connections")
	}
}

// children are the processes of a parent, where /proc tells.
func children(t *testing.T, parent int) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return nil
	}
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestFaultKilled: a test took it that nobody can connect any more as soon as the process of
// a killed server has ended.
func TestFaultKilled(t *testing.T) {
	f := start(t, nil)
	f.dial(t).want("PING", "PONG") // it has started in full
	kill(t, f.cmd.Process.Pid)
	if err := connect(f.addr); err != nil {
		t.Errorf("fake: nobody can connect when its process has ended: %v", err)
	}
	s := redis(t)
	pid, err := strconv.Atoi(infoOf(dial(t, s).do("INFO server").text)["process_id"])
	if err != nil {
		t.Fatal(err)
	}
	kill(t, pid)
	if err := connect(s.Addr); err == nil {
		t.Error("redis: somebody can connect when its process has ended")
	}
	// What is done now: who kills a server waits for that as well.
	s = dragonfly(t)
	s.Kill()
	if err := connect(s.Addr); err == nil {
		t.Error("fake: somebody can connect after Kill")
	}
}

// kill ends a process, which somebody else waits for, and returns when it has ended.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(100 * time.Microsecond)
	}
}

func connect(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return c.Close()
}
