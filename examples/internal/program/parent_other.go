//go:build !linux

package program

import "syscall"

// DieWithParent is for Linux.
func DieWithParent() *syscall.SysProcAttr { return nil }
