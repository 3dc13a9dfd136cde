package prom

import (
	"fmt"
	"sync/atomic"

	"github.com/cacheaside/cacheaside/core/observe"
)

// values are those of a label, by the number of the enum. The first is for an event that
// has none, or one that this version does not know.
type values []string

var (
	results  = valuesOf[observe.Result](observe.Other)
	tiers    = valuesOf[observe.Tier](observe.TierNone.String())
	causes   = valuesOf[observe.Cause](observe.Other)
	reasons  = valuesOf[observe.Reason](observe.Other)
	waits    = valuesOf[observe.Wait](observe.Other)
	ops      = valuesOf[observe.Op](observe.Other)
	outcomes = valuesOf[observe.Outcome](observe.Other)
	triggers = valuesOf[observe.Trigger](observe.Other)
	purges   = valuesOf[observe.Purge](observe.Other)

	modes = values{"foreground", "background"}
	bools = values{"false", "true"}
	one   = values{""} // of a label that is not there
)

// valuesOf returns the names of an enum: from 1 on, as long as there are any.
func valuesOf[E interface {
	~uint8
	fmt.Stringer
}](zero string) values {
	all := values{zero}
	for n := E(1); n.String() != ""; n++ {
		all = append(all, n.String())
	}
	return all
}

// index is where the value with that number is.
func (v values) index(n uint8) int {
	if int(n) < len(v) {
		return int(n)
	}
	return 0
}

// table has the metrics of a vector by the values of up to two labels. A metric is made,
// and exported from then on, when it is first asked for; later that takes no more than
// an atomic load, while the vector itself would hash the labels.
type table[M any] struct {
	with   func(...string) M // the vector's WithLabelValues
	labels [2]values
	cells  []atomic.Pointer[M]
}

func newTable[M any](with func(...string) M, first, second values) *table[M] {
	return &table[M]{with: with, labels: [2]values{first, second}, cells: make([]atomic.Pointer[M], len(first)*len(second))}
}

// at returns the metric with the i-th value of the first label and the j-th of the second.
func (t *table[M]) at(i, j int) M {
	cell := &t.cells[i*len(t.labels[1])+j]
	if m := cell.Load(); m != nil {
		return *m
	}
	return t.create(cell, i, j)
}

func (t *table[M]) create(cell *atomic.Pointer[M], i, j int) M {
	labels := make([]string, 0, 2)
	for n, at := range [2]int{i, j} {
		if name := t.labels[n][at]; name != "" {
			labels = append(labels, name)
		}
	}
	m := t.with(labels...) // gives the same metric to whoever comes at the same time
	cell.Store(&m)
	return m
}
