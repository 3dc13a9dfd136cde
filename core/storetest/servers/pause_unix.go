//go:build unix

package servers

import (
	"errors"
	"syscall"
)

var errNotRunning = errors.New("the server is not running")

// Pause stops the server in its tracks: it keeps its connections, takes new ones, and answers
// nothing until Resume. Not every system can.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errNotRunning
	}
	return s.cmd.Process.Signal(sig)
}
