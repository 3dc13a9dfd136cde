//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a command on a pseudo terminal.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func onTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := command(ctx, append(env, "TERM=xterm"), args...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, cmd: cmd, tty: tty, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			x.mu.Lock()
			x.out.Write(b[:n])
			x.mu.Unlock()
			if err != nil { // on Linux EIO, once nobody has it open any more
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		tty.Close()
	})
	return x
}

func (x *terminal) shown() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

// sees waits until the terminal has shown text n times.
func (x *terminal) sees(text string, n int) {
	x.t.Helper()
	for end := time.Now().Add(patience); strings.Count(x.shown(), text) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%q is not shown %d times: %s", text, n, x.shown())
		}
	}
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.tty.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// ends waits for the end of the command.
func (x *terminal) ends() ran {
	x.t.Helper()
	_ = x.cmd.Wait() // its status is looked at
	<-x.done
	return ran{code: x.cmd.ProcessState.ExitCode(), out: x.shown()}
}

func TestPurgeAsks(t *testing.T) {
	s := newService(t)
	x := onTerminal(t, s.env(), "purge", "tag", "blog-0")
	x.sees("[y/N]", 1)
	x.types("n\n")
	x.ends().wants(t, 1, "To be purged:", "tag blog-0", "nothing was purged")

	x = onTerminal(t, s.env(), "purge", "tag", "blog-0")
	x.sees("[y/N]", 1)
	x.types("\n")
	x.ends().wants(t, 1, "nothing was purged")

	x = onTerminal(t, s.env(), "purge", "tag", "blog-0")
	x.sees("[y/N]", 1)
	x.types("\x03") // Ctrl-C
	x.ends().wants(t, 1, "interrupted: nothing was purged")

	x = onTerminal(t, s.env(), "purge", "all")
	x.sees("Type everything", 1)
	x.types("y\n")
	x.ends().wants(t, 1, "nothing was purged")
	run(t, s.env(), "get", s.front+"/blogs/0").wants(t, 0, "hit")

	x = onTerminal(t, s.env(), "purge", "url", s.front+"/blogs/0?q=query-sEcReT")
	x.sees("[y/N]", 1)
	x.types("y\n")
	x.ends().wants(t, 0, "q=…")

	x = onTerminal(t, s.env(), "purge", "all", "--soft")
	x.sees("Type everything", 1)
	x.types("everything\n")
	x.ends().wants(t, 0, "To be made stale:", "made stale:")
	run(t, s.env(), "get", s.front+"/blogs/0").wants(t, 0, "stale")

	x = onTerminal(t, s.env(), "purge", "all", "--yes")
	x.ends().wants(t, 0, "purged:")
	run(t, s.env(), "get", s.front+"/blogs/0").wants(t, 0, "it was purged")
}

// TestBodyOnTerminal: what a terminal would obey is not written to it.
func TestBodyOnTerminal(t *testing.T) {
	s := newService(t)
	env := append(s.env(), "CACHEASIDE_STORE="+s.store)
	onTerminal(t, env, "get", s.front+"/blogs/0", "--body").ends().wants(t, 0, "blog 0")
	s.get(t, "/binary")
	r := onTerminal(t, env, "get", s.front+"/binary", "--body").ends()
	r.wants(t, 1, "is binary")
	if strings.Contains(r.out, "\x1b") {
		t.Errorf("%q", r.out)
	}
}

// TestStatsWatch: on a terminal it is redrawn, and Ctrl-C ends it.
func TestStatsWatch(t *testing.T) {
	s := newService(t)
	x := onTerminal(t, s.env(), "stats", "--watch", "--every", "20ms")
	x.sees("\x1b[H\x1b[2J", 3)
	x.types("\x03")
	x.ends().wants(t, 0, "hit share", "\x1b[1m")
}

func TestTailFollows(t *testing.T) {
	s := newService(t)
	x := onTerminal(t, s.env(), "tail", "--every", "20ms")
	x.sees("/blogs/0", 1)
	s.get(t, "/blogs/0") // somebody looks now, so hits are shown
	x.sees("\x1b[32mhit", 1)
	s.get(t, "/blogs/1?k=query-sEcReT")
	x.sees("/blogs/1?k=…", 1)
	x.types("\x03")
	x.ends().wants(t, 0)
}

func TestColors(t *testing.T) {
	s := newService(t)
	colored := func(env []string, args ...string) bool {
		r := onTerminal(t, append(s.env(), env...), args...).ends()
		r.wants(t, 0, "hit share")
		return strings.Contains(r.out, "\x1b[")
	}
	if !colored(nil, "stats") {
		t.Error("no colors on a terminal")
	}
	if colored([]string{"NO_COLOR=1"}, "stats") || colored(nil, "stats", "--no-color") {
		t.Error("colors though nobody wants any")
	}
	if r := run(t, s.env(), "stats"); strings.Contains(r.out, "\x1b") {
		t.Error("colors in a pipe")
	}
}
