package echoadapter

import (
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
)

// TestHasHooks: this Echo shows where it keeps them.
func TestHasHooks(t *testing.T) {
	if hooksAt == nil {
		t.Fatal("Response.beforeFuncs is gone: each Response counts as one with hooks, and no timer sends what is held back")
	}
	res := echo.NewResponse(httptest.NewRecorder(), echo.New())
	if hasHooks(res) {
		t.Error("a new response has hooks")
	}
	res.Before(func() {})
	if !hasHooks(res) {
		t.Error("the hook is not found")
	}
}
