//go:build unix

package storetest

import "syscall"

// Pause stops the server in its tracks: it keeps its connections, takes new
// ones, and answers nothing until Resume.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) {
	p.tb.Helper()
	if p.cmd == nil {
		p.tb.Fatal("storetest: the server is not running")
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Fatalf("storetest: signal to the server: %v", err)
	}
}
