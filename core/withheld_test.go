package core_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// TestCookiesAreToldOfOnce: the log says how to have such responses shared, and
// nothing of what is in a cookie.
func TestCookiesAreToldOfOnce(t *testing.T) {
	var log bytes.Buffer
	cache := core.Must(core.New(core.Config{TTL: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	h := nethttp.New(cache)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "user=alice")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Cache-Status"); !strings.Contains(got, "detail=cookie") {
			t.Errorf("Cache-Status %q", got)
		}
	}
	if got := log.String(); strings.Count(got, "Config.Cookies") != 1 || strings.Contains(got, "alice") {
		t.Errorf("the log: %s", got)
	}
}
