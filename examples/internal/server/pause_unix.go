//go:build unix

package server

import (
	"os"
	"syscall"
)

// Pause stops a process as it stands.
func Pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
