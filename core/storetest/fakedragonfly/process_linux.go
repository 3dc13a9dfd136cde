package main

import "syscall"

// dieWithParent lets the kernel kill the server behind when this program is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
