package doctor

import (
	"slices"
	"testing"
)

func TestExposed(t *testing.T) {
	got := exposed([]string{
		"127.0.0.1:6379", "127.9.9.9:1", "[::1]:6379", "localhost:6379", "LOCALHOST.:1", "cache.localhost:1", "/run/dragonfly.sock",
		"10.0.0.1:6379", "cache.internal:6379", "[2001:db8::1]:6379", "localhost.example.com:1", "0.0.0.0:1",
	})
	want := []string{"10.0.0.1:6379", "cache.internal:6379", "[2001:db8::1]:6379", "localhost.example.com:1", "0.0.0.0:1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	p := &patient{}
	p.transport(t.Context(), []string{"10.0.0.1:6379"})
	p.transport(t.Context(), []string{"127.0.0.1:6379"})
	if len(p.findings) != 2 || p.findings[0].Status != Warn || p.findings[0].Remedy == "" || p.findings[1].Status != OK {
		t.Errorf("%+v", p.findings)
	}
}

func TestOlder(t *testing.T) {
	for version, want := range map[string]bool{
		"df-v1.40.0": true, "df-v1.40.1": false, "v1.39.9": true, "1.41": false, "0.9.9": true, "2": false,
		"df-HEAD-HASH": false, "": false, "1.40": false, "1.40.0-rc1": true,
	} {
		if got := older(version, leastDragonfly); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
