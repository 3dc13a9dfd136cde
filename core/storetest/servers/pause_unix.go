//go:build unix

package servers

import (
	"errors"
	"syscall"
	"time"
)

var errNotRunning = errors.New("the server is not running")

// Pause stops the server in its tracks: it keeps its connections, takes new ones, and answers
// nothing until Resume. Not every system can.
func (s *Server) Pause() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// A process of many threads takes a moment to stand still.
	for end := time.Now().Add(endTimeout); s.answersWithin(20 * time.Millisecond); {
		if time.Now().After(end) {
			return errors.New("the server was stopped, and answers")
		}
	}
	return nil
}

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errNotRunning
	}
	return s.cmd.Process.Signal(sig)
}
