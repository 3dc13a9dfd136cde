package prom

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

var layouts = map[string]*layout{"durations": durations, "ages": ages}

// Each bound belongs to the bucket below it, as in Prometheus.
func TestLayout(t *testing.T) {
	for name, l := range layouts {
		check := func(d int64) {
			if d < 0 {
				return
			}
			cell := l.cell(d)
			if d > l.upper[cell] || cell > 0 && d <= l.upper[cell-1] {
				t.Fatalf("%s: %d ns is in the cell up to %d", name, d, l.upper[cell])
			}
		}
		for _, upper := range l.upper {
			check(upper - 1)
			check(upper)
			if upper < math.MaxInt64 {
				check(upper + 1)
			}
		}
		for d := range int64(64) {
			check(d)
		}
		for range 10_000 {
			check(rand.Int64N(1 << (1 + rand.IntN(62))))
		}
		if last := len(l.upper) - 1; int(l.bucket[last]) != len(l.classic) || l.bucket[0] != 0 {
			t.Errorf("%s: the first and last cells are in buckets %d and %d of %d", name, l.bucket[0], l.bucket[last], len(l.classic))
		}
	}
}

func write(t testing.TB, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	h := out.GetHistogram()
	h.CreatedTimestamp = nil
	return h
}

// What is exported is what client_golang would export.
func TestHistogramIsThatOfClientGolang(t *testing.T) {
	desc := prometheus.NewDesc("h", "", nil, nil)
	for name, l := range layouts {
		observations := map[string]func() float64{ // in seconds
			"none":   nil,
			"spread": func() float64 { return math.Exp2(rand.Float64()*(math.Log2(1000)+19.9) - 19.9) },
			"narrow": func() float64 { return 0.1 + rand.Float64()/5 },
			"bounds": func() float64 { return l.classic[rand.IntN(len(l.classic))] },
			"apart":  func() float64 { return []float64{0.07, 0.2, 70, 80, 86400}[rand.IntN(5)] },
			"gaps": func() float64 { // of all lengths between buckets
				return math.Exp2((float64([]int{0, 1, 3, 6, 10, 15, 21}[rand.IntN(7)]) - 0.5) / perTwo)
			},
			"powers": func() float64 { return math.Ldexp(1, rand.IntN(10)-3) },
		}
		for kind, next := range observations {
			ours := newHistogram(desc, nil, l)
			theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "h", Buckets: l.classic, NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: math.Ldexp(1, l.lowest),
			})
			if name == "durations" && kind == "apart" {
				continue // a day is beyond its native buckets
			}
			for range 5000 {
				if next == nil {
					break
				}
				d := time.Duration(next() * 1e9)
				ours.observe(d, nil)
				theirs.Observe(d.Seconds())
			}
			got, want := write(t, ours), write(t, theirs)
			if math.Abs(got.GetSampleSum()-want.GetSampleSum()) > 1e-6*want.GetSampleSum() {
				t.Errorf("%s, %s: the sum is %v, not %v", name, kind, got.GetSampleSum(), want.GetSampleSum())
			}
			got.SampleSum, want.SampleSum = nil, nil
			if len(got.GetPositiveDelta()) == 0 && len(want.GetPositiveDelta()) == 0 {
				got.PositiveDelta, want.PositiveDelta = nil, nil
			}
			if !proto.Equal(got, want) {
				t.Errorf("%s, %s: is\n%v\nnot\n%v", name, kind, got, want)
			}
		}
	}
}

// native sums the native buckets.
func native(h *dto.Histogram) (count uint64, highest int32) {
	n, key, i := int64(0), int32(0), 0
	count = h.GetZeroCount()
	for _, span := range h.GetPositiveSpan() {
		key += span.GetOffset()
		for range span.GetLength() {
			n += h.GetPositiveDelta()[i]
			count += uint64(n)
			i++
			key++
		}
	}
	return count, key - 1
}

// What lies outside all bounds is counted all the same.
func TestHistogramBeyondBounds(t *testing.T) {
	h := newHistogram(nil, nil, durations)
	for _, d := range []time.Duration{math.MinInt64, -1, 0, 1, time.Hour, math.MaxInt64} {
		h.observe(d, nil)
	}
	got := write(t, h)
	count, highest := native(got)
	if got.GetSampleCount() != 6 || count != 6 || got.GetZeroCount() != 4 || highest != 10*perTwo+1 {
		t.Errorf("it is %v", got)
	}
	if got.GetSampleSum() < float64(math.MaxInt64)/1e9 || got.GetBucket()[0].GetCumulativeCount() != 4 || got.GetBucket()[16].GetCumulativeCount() != 4 {
		t.Errorf("it is %v", got)
	}
}

// Prometheus refuses a native histogram whose buckets are not all that it has counted.
func TestHistogramAgreesWithItselfAtAnyTime(t *testing.T) {
	h := newHistogram(nil, nil, durations)
	var writers sync.WaitGroup
	const each = 20_000
	for range 4 {
		writers.Go(func() {
			for n := range each {
				h.observe(time.Duration(n)*time.Microsecond, nil)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for last := uint64(0); ; {
		ended := false
		select {
		case <-done:
			ended = true
		default:
		}
		got := write(t, h)
		if count, _ := native(got); count != got.GetSampleCount() || count < last {
			t.Fatalf("%d in native buckets, %d in all, %d before", count, got.GetSampleCount(), last)
		}
		last = got.GetSampleCount()
		if ended {
			if last != 4*each {
				t.Errorf("%d were counted", last)
			}
			return
		}
	}
}

func BenchmarkHistogram(b *testing.B) {
	opts := prometheus.HistogramOpts{Name: "h", Buckets: durations.classic}
	classic := prometheus.NewHistogram(opts)
	opts.NativeHistogramBucketFactor = 1.1
	both := prometheus.NewHistogram(opts)
	ours := newHistogram(nil, nil, durations)
	for _, bench := range []struct {
		name    string
		observe func(time.Duration)
	}{
		{"ours", func(d time.Duration) { ours.observe(d, nil) }},
		{"client_golang/classic", func(d time.Duration) { classic.Observe(d.Seconds()) }},
		{"client_golang/classic and native", func(d time.Duration) { both.Observe(d.Seconds()) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for n := time.Duration(0); b.Loop(); n++ {
				bench.observe(50*time.Microsecond + n%1000*time.Microsecond)
			}
		})
	}
}
