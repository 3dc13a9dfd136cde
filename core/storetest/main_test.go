package storetest_test

import (
	"os"
	"testing"

	"github.com/cacheaside/cacheaside/core/storetest"
)

func TestMain(m *testing.M) {
	storetest.Waiting(6)
	os.Exit(m.Run())
}
