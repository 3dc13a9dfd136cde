package main

import "testing"

func TestWords(t *testing.T) {
	for s, want := range map[float64]string{
		0: "0s", 41.4e-6: "41µs", 9.5e-6: "9.5µs", 0.00072: "720µs", 0.0009996: "1ms", 0.0123: "12ms", 0.9996: "1s", 1: "1s", 2.54: "2.5s", 59.4: "59s", 59.7: "1m",
		90: "1m30s", 3599.2: "59m59s", 3599.6: "1h", 5400: "1h30m", 86399: "1d", 90000: "1d1h", 31536000: "365d", -0.459: "-459ms",
	} {
		if got := span(s); got != want {
			t.Errorf("span(%v): %s, want %s", s, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d): %s, want %s", n, got, want)
		}
	}
	if got := listed(map[string]uint64{"timeout": 3, "ok": 1200, "error": 3, "none": 0}); got != "ok 1,200, error 3, timeout 3" {
		t.Error(got)
	}
	if listed(nil) != "none" || plural(1, "hit") != "1 hit" || plural(0, "hit") != "0 hits" {
		t.Error("plural")
	}
}
