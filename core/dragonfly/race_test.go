//go:build race

package dragonfly_test

const raceEnabled = true
