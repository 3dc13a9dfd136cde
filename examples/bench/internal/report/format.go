package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Count gives a number three digits that matter and its thousands commas: 1,240,000.
func Count(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "–"
	case a != 0 && a < 10:
		return strconv.FormatFloat(f, 'g', 2, 64)
	case a < 1000:
		return strconv.FormatFloat(f, 'f', 0, 64)
	default:
		unit := math.Pow(10, math.Floor(math.Log10(a))-2)
		return commas(int64(math.Round(f/unit) * unit))
	}
}

func commas(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Took gives a duration in nanoseconds two or three digits and the unit that fits.
func Took(ns float64) string {
	switch {
	case math.IsNaN(ns):
		return "–"
	case ns < float64(time.Microsecond):
		return digits(ns) + " ns"
	case ns < float64(time.Millisecond):
		return digits(ns/float64(time.Microsecond)) + " µs"
	case ns < float64(time.Second):
		return digits(ns/float64(time.Millisecond)) + " ms"
	}
	return digits(ns/float64(time.Second)) + " s"
}

func digits(f float64) string {
	if f < 10 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// Bytes gives a size the unit that fits, in powers of 1024.
func Bytes(n float64) string {
	if math.IsNaN(n) {
		return "–"
	}
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return digits(n) + " " + unit
		}
		n /= 1024
	}
	return digits(n) + " GiB"
}

// Ratio is "1.24×".
func Ratio(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "–"
	}
	return fmt.Sprintf("%.2f×", f)
}

// Share is a part of one in percent.
func Share(f float64) string {
	if math.IsNaN(f) {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*f)
}
