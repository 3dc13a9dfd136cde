package ginadapter_test

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/ginadapter"
)

func TestEntryOfNothing(t *testing.T) {
	if text := coretest.Panics(t, func() { ginadapter.Entry(nil) }); !strings.Contains(text, "ginadapter.Entry: the engine is nil") {
		t.Errorf("the panic says %q", text)
	}
}
