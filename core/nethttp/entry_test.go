package nethttp_test

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

func TestEntryOfNothing(t *testing.T) {
	if text := coretest.Panics(t, func() { nethttp.Entry(nil) }); !strings.Contains(text, "nethttp.Entry: the handler is nil") {
		t.Errorf("the panic says %q", text)
	}
}
