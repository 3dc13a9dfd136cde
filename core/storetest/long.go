package storetest

import "os"

const longEnv = "CACHEASIDE_LONG"

// Long reports whether tests shall take their time: CACHEASIDE_LONG is 1. Else they try
// the same kinds of things, with fewer rounds of each.
func Long() bool { return os.Getenv(longEnv) == "1" }

// Rounds is brief, or long where [Long].
func Rounds(brief, long int) int {
	if Long() {
		return long
	}
	return brief
}
