//go:build unix

package server

import "syscall"

// Pause stops the server as it stands, with its connections open.
func (p *StoreProcess) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (p *StoreProcess) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
