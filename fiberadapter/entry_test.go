package fiberadapter_test

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/coretest"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

func TestEntryOfNothing(t *testing.T) {
	if text := coretest.Panics(t, func() { fiberadapter.Entry(nil) }); !strings.Contains(text, "fiberadapter.Entry: the app is nil") {
		t.Errorf("the panic says %q", text)
	}
}
