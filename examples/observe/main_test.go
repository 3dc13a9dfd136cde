// Package observe tests the stack for seeing what the cache does: its configuration, and
// the trace of a miss over two processes.
package observe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/examples/internal/program"
)

// bin is where TestMain puts the programs: they run as a user runs them.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "cacheaside-observe-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(bin) }()
		out, err := exec.Command("go", "build", "-ldflags=-w", "-o", bin+string(filepath.Separator),
			"./load", "./traced", "../gin", "../fiber").CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// limit is how long something may take that takes no time: the machine may be busy.
const limit = time.Minute

// process is a program that runs until the test ends.
type process struct {
	*program.Process
	t *testing.T
}

// start runs a program, without what of the test's own environment its flags would read.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), "STORE_TIMEOUT=10s"}
	running, err := program.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{running, t}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s %q wrote:\n%s", filepath.Base(path), args, p.Output())
		}
	})
	return p
}

// says waits until the program has written what the pattern finds, and returns its groups.
func (p *process) says(pattern string) []string {
	p.t.Helper()
	m, err := p.Says(pattern, limit)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// stop asks the program to end, and waits until it has.
func (p *process) stop() {
	p.t.Helper()
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(limit):
		_ = p.Cmd.Process.Kill()
		<-p.Done
		p.t.Errorf("%s does not end", p.Cmd.Path)
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", limit, what)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func programAt(name string) string { return filepath.Join(bin, name) }

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
