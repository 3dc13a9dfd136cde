package cacheaside

import (
	"time"

	"github.com/cacheaside/cacheaside/core/internal/freshness"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// decide says what v.entry is good for.
func (v *visit) decide(now time.Time) httprules.Decision {
	d := freshness.Decide(&v.entry, v.Soft, now, v.control)
	if !v.entry.Whole() {
		d = v.incomplete(d)
	}
	return d
}

// age is that of the entry found.
func (f *found) age(now time.Time) time.Duration { return freshness.Age(&f.entry, now) }
