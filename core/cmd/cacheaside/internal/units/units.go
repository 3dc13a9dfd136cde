// Package units writes quantities for people.
package units

import "strconv"

// Bytes is a number of bytes in words: 1.5 MiB.
func Bytes[T int64 | uint64](n T) string {
	if n < 1024 {
		return strconv.FormatInt(int64(n), 10) + " B"
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if f /= 1024; f < 1023.95 {
			break
		}
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
}
