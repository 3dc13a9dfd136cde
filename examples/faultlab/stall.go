package main

import (
	"context"
	"sync/atomic"
	"time"
)

// stalls is what the load of the lab looks at.
var stalls stallWatch

// stallWatch is the time for which this process did not run although it wanted to: a
// machine that stands still is no fault of the cache's.
type stallWatch struct{ total atomic.Int64 } // nanoseconds

func (s *stallWatch) watch(ctx context.Context) {
	const tick = 10 * time.Millisecond
	for last := time.Now(); ctx.Err() == nil; {
		time.Sleep(tick)
		now := time.Now()
		if over := now.Sub(last) - tick; over > tick {
			s.total.Add(int64(over))
		}
		last = now
	}
}

// since is what has been added to an earlier total.
func (s *stallWatch) since(total int64) time.Duration { return time.Duration(s.total.Load() - total) }
