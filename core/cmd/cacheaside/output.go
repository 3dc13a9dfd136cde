package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// output is the standard output: buffered, and with the first error, after which nothing
// is written any more.
type output struct {
	w   io.Writer
	buf bytes.Buffer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, _ := o.buf.Write(p)
	if o.buf.Len() >= 32<<10 {
		return n, o.flush()
	}
	return n, nil
}

// flush writes what is buffered.
func (o *output) flush() error {
	if o.err == nil && o.buf.Len() > 0 {
		_, o.err = o.w.Write(o.buf.Bytes())
		o.buf.Reset()
	}
	return o.err
}

// color is of a cell. What is said by color alone is lost without it, so nothing is.
type color string

const (
	plain  color = ""
	bold   color = "\x1b[1m"
	dim    color = "\x1b[2m"
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
)

// colors reports whether the output is to be colored.
func (a *app) colors() bool {
	return !a.flags.noColor && a.getenv("TERM") != "dumb" && isTerminal(a.stdout)
}

// maxText is how much of one text is shown, in bytes.
const maxText = 2000

// paint makes s fit to be shown, and colors it on a terminal.
func (a *app) paint(c color, s string) string {
	s = redact.Clean(s, maxText)
	if c == plain || s == "" || !a.colors() {
		return s
	}
	return string(c) + s + "\x1b[0m"
}

// padded is painted, and at least width wide.
func (a *app) padded(c color, s string, width int) string {
	return a.paint(c, s) + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(redact.Clean(s, maxText))))
}

// cell is of a table.
type cell struct {
	text  string
	color color
	right bool // numbers are aligned there
}

func text(s string) cell             { return cell{text: s} }
func colored(c color, s string) cell { return cell{text: s, color: c} }
func number(s string) cell           { return cell{text: s, right: true} }

// table prints rows below a head, which may be nil. Put what may be long last.
func (a *app) table(head []string, rows [][]cell) {
	if head != nil {
		first := make([]cell, len(head))
		for i, h := range head {
			first[i] = cell{text: h, color: bold}
			if len(rows) > 0 && i < len(rows[0]) {
				first[i].right = rows[0][i].right
			}
		}
		rows = append([][]cell{first}, rows...)
	}
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(redact.Clean(c.text, maxText)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(redact.Clean(c.text, maxText)))
			if i > 0 {
				b.WriteString("  ")
			}
			switch {
			case c.right:
				b.WriteString(pad + a.paint(c.color, c.text))
			case i == len(r)-1:
				b.WriteString(a.paint(c.color, c.text))
			default:
				b.WriteString(a.paint(c.color, c.text) + pad)
			}
		}
		a.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
}

// printf prints text of our own; what others have made goes through paint first. The output
// keeps what goes wrong.
func (a *app) printf(format string, args ...any) { _, _ = fmt.Fprintf(a.stdout, format, args...) }

// printJSON prints v, indented. What a terminal would not show, or take for something
// else, is escaped, which is the same JSON.
func (a *app) printJSON(v any) error { return a.encode(v, "  ") }

// printJSONLine prints v in one line, for what goes on.
func (a *app) printJSONLine(v any) error { return a.encode(v, "") }

func (a *app) encode(v any, indent string) error {
	var raw, b bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	for _, r := range raw.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	_, err := a.stdout.Write(b.Bytes())
	return err
}
