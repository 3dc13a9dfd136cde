package dragonfly

import "time"

// What tests need to know of the numbers of purges.
const (
	PerMS  = perMS
	MayLag = mayLag
)

var NumbersBegan = numbersBegan

// SetNow lets the store have another time than the machine's.
func (s *Store) SetNow(now func() time.Time) { s.now = now }
