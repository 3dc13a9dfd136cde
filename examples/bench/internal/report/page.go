package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Page is a report in one HTML file, which needs nothing else.
type Page struct {
	Title    string
	Lead     string
	Facts    []Fact // where and when it was measured
	Sections []Section
}

// Section has what it says, a table and charts, each of which may be missing.
type Section struct {
	Title  string
	Text   string // paragraphs, with an empty line between them
	Table  *Table
	Charts []Chart
}

// Fact is a line such as "processor: …".
type Fact struct{ Name, Value string }

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"paragraphs": func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n\n") },
	"svg": func(c Chart) (template.HTML, error) {
		drawn, err := c.SVG()
		if err != nil {
			return "", err
		}
		_, drawn2, _ := strings.Cut(string(drawn), "<svg")
		return template.HTML("<svg" + drawn2), nil //nolint:gosec // drawn by us
	},
}).Parse(pageHTML))

// Write writes report.html, and each chart as an SVG file, to a directory, which it makes.
func (p Page) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // others may look at it
		return err
	}
	for _, s := range p.Sections {
		for _, c := range s.Charts {
			if err := c.write(dir); err != nil {
				return err
			}
		}
	}
	var html strings.Builder
	if err := page.Execute(&html, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return write(filepath.Join(dir, "report.html"), []byte(html.String()))
}

// write writes the chart as an SVG file to a directory.
func (c Chart) write(dir string) error {
	drawn, err := c.SVG()
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, c.Name+".svg"), drawn)
}

func write(path string, data []byte) error {
	return os.WriteFile(path, data, 0o644) //nolint:gosec // others may look at it
}

// Today is the date of the report.
func Today() Fact { return Fact{"date", time.Now().Format(time.DateOnly)} }
