package httprules

import (
	"net/http"
	"testing"
	"time"
)

// fields makes a header of names and values in turn.
func fields(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

const second = time.Second

var noon = time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)

// httpDate gives noon plus d in the preferred format.
func httpDate(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
