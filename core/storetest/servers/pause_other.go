//go:build !unix

package servers

import "errors"

var errNoPause = errors.New("this system cannot stop a process and let it go on")

// Pause is not possible here.
func (*Server) Pause() error { return errNoPause }

// Resume is not possible here.
func (*Server) Resume() error { return errNoPause }
