//go:build !linux

package servers

import "syscall"

// DieWithParent is for Linux.
func DieWithParent() *syscall.SysProcAttr { return nil }
