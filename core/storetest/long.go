package storetest

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
)

const longEnv = "CACHEASIDE_LONG"

// Long reports whether tests shall take their time: CACHEASIDE_LONG is 1. Else they try
// the same kinds of things, with fewer rounds of each.
func Long() bool { return os.Getenv(longEnv) == "1" }

// LongOnly skips a test that takes its time, unless [Long].
func LongOnly(tb testing.TB) {
	tb.Helper()
	if !Long() {
		tb.Skip("it takes its time: " + longEnv + "=1 runs it")
	}
}

// Rounds is brief, or long where [Long].
func Rounds(brief, long int) int {
	if Long() {
		return long
	}
	return brief
}

// Waiting lets n tests that call t.Parallel run at once, for a TestMain of tests that
// mostly wait. A long run has more to do, and keeps to a third of them. What the command
// line says counts more.
func Waiting(n int) {
	_ = flag.Set("test.parallel", strconv.Itoa(max(Rounds(n, n/3), runtime.GOMAXPROCS(0))))
}
