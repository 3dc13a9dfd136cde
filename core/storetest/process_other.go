//go:build !linux

package storetest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
