//go:build !linux

package main

import "syscall"

// Elsewhere the child that outlives this program does it.
func dieWithParent() *syscall.SysProcAttr { return nil }
