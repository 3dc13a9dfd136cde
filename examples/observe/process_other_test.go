//go:build !linux

package observe

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
