//go:build unix

package main

import (
	"syscall"
	"time"
)

// ownCPU is how long this process has had a processor, and whether the system says so.
func ownCPU() (time.Duration, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
