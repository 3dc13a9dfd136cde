//go:build race

package cacheaside_test

const raceEnabled = true
