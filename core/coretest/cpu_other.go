//go:build !unix

package coretest

import "time"

var started = time.Now()

// processCPU is wall time, where nothing better is to be had.
func processCPU() time.Duration { return time.Since(started) }
