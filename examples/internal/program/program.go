// Package program runs programs for tests, as a user runs them.
package program

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// Process is a program that runs. Its methods may be called concurrently.
type Process struct {
	Cmd  *exec.Cmd
	Done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer
}

// Start starts a program, whose standard error is kept. It ends with the caller, should
// that be killed.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = servers.DieWithParent()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Cmd: cmd, Done: make(chan struct{})}
	go func() {
		defer close(p.Done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		_ = cmd.Wait()
	}()
	return p, nil
}

// Output is what it has written to its standard error.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Says waits until it has written what the pattern finds, and returns its groups.
func (p *Process) Says(pattern string, within time.Duration) ([]string, error) {
	re, end := regexp.MustCompile(pattern), time.Now().Add(within)
	for ended := false; ; time.Sleep(5 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.Output()); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("%s has ended, %v, and has not said %s:\n%s", p.Cmd.Path, p.Cmd.ProcessState, pattern, p.Output())
		}
		select {
		case <-p.Done:
			ended = true // it has said all
		default:
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%s has not said %s in %v:\n%s", p.Cmd.Path, pattern, within, p.Output())
		}
	}
}
