package main

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// The simulation says what a real server does.
func TestAgainstARealServer(t *testing.T) {
	for _, policy := range []string{lru, lfu} {
		tr := newTrial()
		tr.policy, tr.requests, tr.oneOff, tr.room = policy, 12_000, 0.1, 2<<20
		if policy == lru { // whose clock has steps of a second: nothing is old before
			tr.pace = time.Millisecond
		}
		c, err := tr.run(t.Context())
		if missing := (*servers.MissingError)(nil); errors.As(err, &missing) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: hit ratio %.3f, simulated %.3f; %d keys, simulated %d", policy, c.measured, c.simulated, c.held, c.simulatedHeld)
		if math.Abs(c.measured-c.simulated) > 0.03 {
			t.Errorf("%s: hit ratio %.3f, simulated %.3f", policy, c.measured, c.simulated)
		}
		if ratio := float64(c.held) / float64(c.simulatedHeld); ratio < 0.8 || ratio > 1.25 {
			t.Errorf("%s: %d keys, simulated %d", policy, c.held, c.simulatedHeld)
		}
	}
}
