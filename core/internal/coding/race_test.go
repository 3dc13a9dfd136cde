//go:build race

package coding

const raceEnabled = true // sync.Pool drops some of what it is given
