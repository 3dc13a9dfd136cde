package report

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is drawn with lines, or with bars where it has Groups.
type Chart struct {
	Name           string // of its file, without the ending
	Title          string
	XLabel, YLabel string // with the unit
	LogX, LogY     bool
	FromZero       bool     // the Y axis begins at 0, which bars on a linear axis do anyway
	Groups         []string // of bars; each series has a point for each of them, in their order; NaN draws none. With LogY they are dots, since a logarithmic bar has no length
	Series         []Series
}

// Series is a line, or the bars of one color.
type Series struct {
	Name   string
	Points []Point
}

// Point is a median with its spread, which is not drawn where Low and High are Y or 0.
type Point struct{ X, Y, Low, High float64 }

// Colors that people tell apart who see few colors (Okabe and Ito), darkest first.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{86, 180, 233, 255}, {230, 159, 0, 255}, {90, 90, 90, 255}, {150, 75, 30, 255}, {0, 0, 0, 255},
}

const (
	chartWidth  = 22.5 * vg.Centimeter
	legendWidth = 7.1 * vg.Centimeter // beside the plot, at least
	chartHeight = 10 * vg.Centimeter
	margin      = 0.4 * vg.Centimeter
)

// SVG draws the chart.
func (c Chart) SVG() ([]byte, error) {
	p, err := c.plot()
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", c.Name, err)
	}
	canvas := vgsvg.New(chartWidth, chartHeight)
	whole := draw.Crop(draw.New(canvas), margin, -margin, margin, -margin)
	legend, beside := p.Legend, c.legendWidth(p)
	p.Legend = plot.NewLegend()
	p.Draw(draw.Crop(whole, 0, -beside, 0, 0))
	legend.Draw(draw.Crop(whole, chartWidth-2*margin-beside+margin, 0, 0, -vg.Centimeter))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("chart %s: %w", c.Name, err)
	}
	return b.Bytes(), nil
}

// legendWidth has room for the longest name, in letters of browsers, which are wider.
func (c Chart) legendWidth(p *plot.Plot) vg.Length {
	width := legendWidth
	for _, s := range c.Series {
		width = max(width, p.Legend.TextStyle.Width(s.Name)*1.3+p.Legend.ThumbnailWidth+vg.Centimeter)
	}
	return width
}

func (c Chart) plot() (*plot.Plot, error) {
	if len(c.Series) == 0 || len(c.Series) > len(palette) {
		return nil, fmt.Errorf("%d series, want 1 to %d", len(c.Series), len(palette))
	}
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.Title.Padding, p.X.Padding = vg.Points(6), vg.Points(4)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(3)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{225}, color.Gray{240}
	if c.Groups != nil {
		grid.Vertical.Width = 0
	}
	p.Add(grid)
	add := c.lines
	if c.Groups != nil {
		add = c.bars
	}
	if err := add(p); err != nil {
		return nil, err
	}
	return p, c.axes(p)
}

func (c Chart) axes(p *plot.Plot) error {
	p.Y.Tick.Marker = readable{plot.DefaultTicks{}}
	if c.Groups == nil {
		p.X.Tick.Marker = readable{plot.DefaultTicks{}}
	} else {
		p.X.Min, p.X.Max = -0.5, float64(len(c.Groups))-0.5
	}
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, readable{plot.LogTicks{Prec: -1}}
	}
	if c.FromZero && !c.LogY {
		p.Y.Min = 0
	}
	if c.LogY {
		if p.Y.Min <= 0 {
			return errors.New("a logarithmic axis needs values above 0")
		}
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, readable{plot.LogTicks{Prec: -1}}
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
		p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	}
	return nil
}

// readable gives ticks the labels of the tables.
type readable struct{ plot.Ticker }

func (r readable) Ticks(low, high float64) []plot.Tick {
	ticks := r.Ticker.Ticks(low, high)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = Count(t.Value)
		}
	}
	return ticks
}

func (c Chart) lines(p *plot.Plot) error {
	for i, s := range c.Series {
		points := make(plotter.XYs, len(s.Points))
		for j, at := range s.Points {
			points[j] = plotter.XY{X: at.X, Y: at.Y}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		line.Color, line.Width = palette[i], vg.Points(1.6)
		dots.Color, dots.Shape, dots.Radius = palette[i], draw.CircleGlyph{}, vg.Points(2.2)
		p.Add(line, dots)
		p.Legend.Add(s.Name, line, dots)
		if err := spreads(p, s.Points, palette[i], 0); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

func (c Chart) bars(p *plot.Plot) error {
	room := (chartWidth - c.legendWidth(p) - 3*vg.Centimeter) / vg.Length(len(c.Groups))
	width := min(room*0.8/vg.Length(len(c.Series)), vg.Points(28))
	for i, s := range c.Series {
		if len(s.Points) != len(c.Groups) {
			return fmt.Errorf("%s: %d bars for %d groups", s.Name, len(s.Points), len(c.Groups))
		}
		values := make(plotter.Values, len(s.Points))
		for j, at := range s.Points {
			values[j] = at.Y
			if c.LogY && at.Y <= 0 {
				return fmt.Errorf("%s: %v cannot be drawn", s.Name, at.Y)
			}
		}
		offset := width * (vg.Length(i) - vg.Length(len(c.Series)-1)/2)
		drawn, legend, err := c.column(values, width, offset, palette[i])
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		p.Add(drawn)
		p.Legend.Add(s.Name, legend)
		if err := spreads(p, at(s.Points), color.RGBA{60, 60, 60, 255}, offset); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	p.NominalX(c.Groups...)
	return nil
}

// column draws what a series has in all groups.
func (c Chart) column(values plotter.Values, width, offset vg.Length, fill color.Color) (plot.Plotter, plot.Thumbnailer, error) {
	if !c.LogY {
		for i, v := range values {
			if math.IsNaN(v) {
				values[i] = 0
			}
		}
		bars, err := plotter.NewBarChart(values, width)
		if err != nil {
			return nil, nil, err
		}
		bars.Color, bars.LineStyle.Width, bars.Offset = fill, 0, offset
		return bars, bars, nil
	}
	points := make(plotter.XYs, 0, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			points = append(points, plotter.XY{X: float64(i), Y: v})
		}
	}
	if len(points) == 0 {
		return nil, nil, errors.New("it has no values")
	}
	dots, err := plotter.NewScatter(points)
	if err != nil {
		return nil, nil, err
	}
	dots.Color, dots.Shape, dots.Radius = fill, draw.CircleGlyph{}, vg.Points(4)
	return shifted{dots, offset}, dots, nil
}

// at gives bars their places.
func at(bars []Point) []Point {
	placed := make([]Point, len(bars))
	for i, b := range bars {
		b.X = float64(i)
		placed[i] = b
	}
	return placed
}

// spreads draws from the least to the most that was measured.
func spreads(p *plot.Plot, points []Point, c color.Color, offset vg.Length) error {
	var e spread
	for _, at := range points {
		if at.Low < at.Y || at.High > at.Y {
			if at.Low == 0 && at.High == 0 {
				continue
			}
			e.XYs = append(e.XYs, plotter.XY{X: at.X, Y: at.Y})
			e.YErrors = append(e.YErrors, struct{ Low, High float64 }{at.Y - at.Low, at.High - at.Y})
		}
	}
	if len(e.XYs) == 0 {
		return nil
	}
	bars, err := plotter.NewYErrorBars(e)
	if err != nil {
		return err
	}
	bars.Color, bars.CapWidth = c, vg.Points(4)
	p.Add(shifted{bars, offset})
	return nil
}

type spread struct {
	plotter.XYs
	plotter.YErrors
}

// measured is what has a range of values.
type measured interface {
	plot.Plotter
	plot.DataRanger
}

// shifted draws beside the place of a group, as bars are that share it.
type shifted struct {
	measured
	by vg.Length
}

func (s shifted) Plot(c draw.Canvas, p *plot.Plot) {
	c.Min.X += s.by
	c.Max.X += s.by
	s.measured.Plot(c, p)
}
