//go:build !linux

package examples

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
