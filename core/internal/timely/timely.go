// Package timely is the time that the numbers of purges on a server keep up with.
package timely

import "time"

// Now is the time. A test whose purges are to have numbers one after the other stops it,
// before any store is made.
var Now = time.Now
