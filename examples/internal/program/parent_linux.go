package program

import "syscall"

// DieWithParent has the kernel end a process also where its parent is killed.
func DieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
