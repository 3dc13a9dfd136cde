//go:build !unix

package server

import (
	"errors"
	"os"
)

var errNoPause = errors.New("this system cannot stop a process and let it go on")

// Pause is not possible here.
func Pause(*os.Process) error { return errNoPause }

// Resume is not possible here.
func Resume(*os.Process) error { return errNoPause }
