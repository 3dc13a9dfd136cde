package purges

import (
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/store"
)

// Check is what one request knows of the purges of the entry that it has found. It is
// reused: see Reset.
type Check struct {
	// Soft is when a soft purge has made the entry stale, in microseconds since 1970; 0 if
	// none has.
	Soft uint64
	// Known is the tags last seen under the entry's key, and Stamps what was read along
	// with it under their keys.
	Known  *TagSet
	Stamps []store.Stamp
	// Why says, where the entry is not current, how that is known.
	Why Why
}

// Why is why an entry is not current.
type Why uint8

// The reasons.
const (
	Purged Why = iota + 1
	Lost       // whether it was purged cannot be told any more
	Failed     // the store could not be asked
)

// gone is false, for a reason.
func (c *Check) gone(why Why) bool {
	c.Why = why
	return false
}

// Reset empties c, but keeps its memory.
func (c *Check) Reset() { *c = Check{Stamps: c.Stamps[:0]} }

// outlives reports whether e was made after the last hard purge in s, and notes a soft
// one. Numbers of another epoch say nothing, and neither does a stamp that is missing.
func (c *Check) outlives(e *entry.Entry, s store.Stamp) bool {
	switch {
	case s.Hard == 0 || s.Epoch != e.Epoch:
		return c.gone(Lost)
	case s.Hard > e.Stamp:
		return c.gone(Purged)
	}
	if s.Soft > e.Stamp {
		c.noteSoft(max(s.SoftAt, 1))
	}
	return true
}

// StateOf says what the stamp of one of e's tags makes of it: "valid", "soft", "purged" or
// "lost".
func StateOf(e *entry.Entry, s store.Stamp) string {
	var c Check
	switch current := c.outlives(e, s); {
	case current && c.Soft > 0:
		return "soft"
	case current:
		return "valid"
	case c.Why == Lost:
		return "lost"
	}
	return "purged"
}

func (c *Check) outlivesAll(e *entry.Entry, stamps []store.Stamp) bool {
	for _, s := range stamps {
		if !c.outlives(e, s) {
			return false
		}
	}
	return true
}

// noteSoft notes when a soft purge was, 0 if there was none. The first one counts.
func (c *Check) noteSoft(at uint64) {
	if at != 0 && (c.Soft == 0 || at < c.Soft) {
		c.Soft = at
	}
}
