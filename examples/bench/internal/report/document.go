package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Document is the README of a program, which keeps its tables and charts up to date.
type Document struct {
	Places []Place
	Charts []Chart // written beside it
}

// Place is what is between two marks: see [Insert].
type Place struct{ Name, Text string }

// SourceDir is the folder of the caller's source, with its README.
func SourceDir() (string, error) {
	_, file, _, ok := runtime.Caller(1)
	dir := filepath.Dir(file)
	if _, err := os.Stat(filepath.Join(dir, "README.md")); !ok || err != nil {
		return "", errors.New("-docs: the program's README is not found: use `go run` in a clone")
	}
	return dir, nil
}

// Write renews the README in a folder.
func (d Document) Write(dir string) error {
	path := filepath.Join(dir, "README.md")
	b, err := os.ReadFile(path) //nolint:gosec // ours
	if err != nil {
		return err
	}
	text := strings.ReplaceAll(string(b), "\r\n", "\n") // as Git may have it on Windows
	for _, p := range d.Places {
		if text, err = Insert(text, p.Name, p.Text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, c := range d.Charts {
		if err := c.write(dir); err != nil {
			return err
		}
	}
	return write(path, []byte(text))
}

// Insert puts text between the lines "<!-- name: begin -->" and "<!-- name: end -->" of a
// document, so that a program keeps the tables of its README.
func Insert(document, name, text string) (string, error) {
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	before, rest, found := strings.Cut(document, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("there are no lines %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + strings.TrimRight(text, "\n") + "\n" + end + after, nil
}
