package echoadapter_test

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/echoadapter"
)

func TestEntryOfNothing(t *testing.T) {
	if text := coretest.Panics(t, func() { echoadapter.Entry(nil) }); !strings.Contains(text, "echoadapter.Entry: the Echo is nil") {
		t.Errorf("the panic says %q", text)
	}
}
