//go:build unix

package main

import (
	"net"
	"syscall"
)

// ownGroup keeps signals of a terminal from the child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// nonblocking undoes what giving a listener to a child has done to it.
func nonblocking(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.SetNonblock(int(fd), true) })
	if err == nil {
		err = failed
	}
	return err
}
