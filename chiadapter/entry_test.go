package chiadapter_test

import (
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/chiadapter"
	"github.com/cacheaside/cacheaside/core/coretest"
)

func TestEntryOfNothing(t *testing.T) {
	if text := coretest.Panics(t, func() { chiadapter.Entry(nil) }); !strings.Contains(text, "chiadapter.Entry: the router is nil") {
		t.Errorf("the panic says %q", text)
	}
}
