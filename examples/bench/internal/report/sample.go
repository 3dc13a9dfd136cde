package report

import (
	"fmt"
	"math"
	"slices"
)

// Sample is what several rounds have measured of one thing.
type Sample []float64

// Median is NaN without rounds.
func (s Sample) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Low is the least, High the most that a round has measured.
func (s Sample) Low() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	return slices.Min(s)
}

// High is the most that a round has measured.
func (s Sample) High() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	return slices.Max(s)
}

// Over is s by other, round by round: what slows the machine down for a round slows both.
func (s Sample) Over(other Sample) Sample {
	ratios := make(Sample, 0, len(s))
	for i := range min(len(s), len(other)) {
		if other[i] != 0 {
			ratios = append(ratios, s[i]/other[i])
		}
	}
	return ratios
}

// Spread is the median with the least and the most, "12 (11–14)", or the median alone
// where there was one round.
func (s Sample) Spread(format func(float64) string) string {
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 {
		return format(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", format(s.Median()), format(s.Low()), format(s.High()))
}

// Point is the sample as a point of a chart.
func (s Sample) Point(x float64) Point {
	return Point{X: x, Y: s.Median(), Low: s.Low(), High: s.High()}
}
