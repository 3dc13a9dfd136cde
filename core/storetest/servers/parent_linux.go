package servers

import "syscall"

// dieWithParent lets the kernel kill the server when a test run is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
