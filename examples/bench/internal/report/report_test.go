package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
)

func TestSample(t *testing.T) {
	s := Sample{3, 1, 2, 10}
	if s.Median() != 2.5 || s.Low() != 1 || s.High() != 10 {
		t.Errorf("median %v, %v to %v", s.Median(), s.Low(), s.High())
	}
	if got := s.Spread(Count); got != "2.5 (1–10)" {
		t.Errorf("%q", got)
	}
	if got := (Sample{}).Spread(Count); got != "–" || !math.IsNaN(Sample{}.Median()) {
		t.Errorf("nothing measured is %q", got)
	}
	if got := (Sample{2, 9, 8}).Over(Sample{1, 3, 4}).Median(); got != 2 {
		t.Errorf("the median of the ratios is %v, want 2", got)
	}
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		Count(0): "0", Count(0.012): "0.012", Count(12.4): "12", Count(1_239_999): "1,240,000", Count(-1234): "-1,230", Count(math.NaN()): "–",
		Took(950): "950 ns", Took(1.3e3): "1.3 µs", Took(4.2e7): "42 ms", Took(2.5e9): "2.5 s",
		Bytes(100): "100 B", Bytes(1536): "1.5 KiB", Bytes(3 << 30): "3.0 GiB", Ratio(1.238): "1.24×", Share(0.8471): "84.7 %",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func chart() Chart {
	return Chart{
		Name: "hits", Title: "a < b", XLabel: "entries", YLabel: "µs", LogX: true, FromZero: true,
		Series: []Series{
			{"memory", []Point{{1000, 1.3, 1.2, 1.5}, {1e6, 3.9, 3.8, 4.4}}},
			{"server", []Point{{X: 1000, Y: 69}, {X: 1e6, Y: 70}}},
		},
	}
}

func bars() Chart {
	return Chart{
		Name: "bars", Title: "bars", YLabel: "req/s", LogY: true, Groups: []string{"1 KiB", "16 KiB"},
		Series: []Series{{"memory", []Point{{0, 100, 90, 110}, {0, 50, 0, 0}}}, {"floor", []Point{{Y: 120}, {Y: 60}}}},
	}
}

// parses reads a document to its end.
func parses(t *testing.T, document string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(document)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	table := &Table{Head: []string{"store", "hit"}}
	table.Add("memory | <b>", "1.3 µs")
	p := Page{
		Title: "Side by side", Lead: "What it costs.", Facts: append(Machine(), Today()),
		Sections: []Section{{Title: "Hits", Text: "One.\n\nTwo.", Table: table, Charts: []Chart{chart(), bars()}}},
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(html), "<svg"); n != 2 {
		t.Errorf("%d charts in the page, want 2", n)
	}
	for _, want := range []string{"<p>Two.</p>", "memory | &lt;b&gt;", "<dt>cores</dt>"} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(html), "src=") || strings.Contains(string(html), "href=\"http") {
		t.Error("the page loads something from elsewhere")
	}
	for _, name := range []string{"hits.svg", "bars.svg"} {
		svg, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		parses(t, string(svg))
	}
	if got := table.Markdown(); got != "| store | hit |\n|---|---|\n| memory \\| <b> | 1.3 µs |\n" {
		t.Errorf("%q", got)
	}
	if got := table.Text(); got != "store         hit\nmemory | <b>  1.3 µs\n" {
		t.Errorf("%q", got)
	}
}

// TestLegendWidth: a name that is longer than others gets more room, and takes it from the
// plot.
func TestLegendWidth(t *testing.T) {
	for _, c := range []Chart{chart(), bars()} {
		width := func() vg.Length {
			p, err := c.plot()
			if err != nil {
				t.Fatal(err)
			}
			return c.legendWidth(p)
		}
		usual := width()
		c.Series[0].Name = strings.Repeat("long ", 9)
		if got := width(); usual != legendWidth || got < 1.3*usual || got > chartWidth*0.6 {
			t.Errorf("%v with short names, %v with a long one", usual, got)
		}
	}
}

func TestChartErrors(t *testing.T) {
	none, short, negative := chart(), bars(), chart()
	none.Series = nil
	short.Series[0].Points = short.Series[0].Points[:1]
	negative.LogY, negative.Series[0].Points[0].Y = true, -1
	for name, c := range map[string]Chart{"no series": none, "too few bars": short, "below zero": negative} {
		if _, err := c.SVG(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestInsert(t *testing.T) {
	const document = "# A\n<!-- hits: begin -->\nold\n<!-- hits: end -->\nrest\n"
	got, err := Insert(document, "hits", "new\n")
	if want := "# A\n<!-- hits: begin -->\nnew\n<!-- hits: end -->\nrest\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Insert(document, "misses", ""); err == nil {
		t.Error("no error for a part that is not there")
	}
}
