package prom_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/cacheaside/cacheaside/core/prom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMetrics(t testing.TB, reg prometheus.Registerer, opts ...prom.Option) *prom.Metrics {
	t.Helper()
	m, err := prom.New(reg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
