//go:build unix

package server

import (
	"os"
	"syscall"
)

// Pause stops the server as it stands, with its connections open.
func (p *StoreProcess) Pause() error { return Pause(p.cmd.Process) }

// Resume lets it go on.
func (p *StoreProcess) Resume() error { return Resume(p.cmd.Process) }

// Pause stops a process as it stands.
func Pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
