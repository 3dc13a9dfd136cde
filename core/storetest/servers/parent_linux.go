package servers

import "syscall"

// DieWithParent has the kernel kill a process when the one that has started it is killed.
func DieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
