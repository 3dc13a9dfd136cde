package bodies

import (
	"fmt"
	"strings"
)

// CSS is the style sheet of a site, as UTF-8, not minified: about n bytes.
func CSS(n int) []byte {
	w := newWriter(n)
	w.WriteString(":root {\n")
	for _, name := range []string{"text", "accent", "border", "muted", "surface"} {
		fmt.Fprintf(w, "  --color-%s: ", name)
		w.colour()
		w.WriteString(";\n")
	}
	w.WriteString("}\n")
	const most = 900 // of a group of rules
	for w.room("") > most {
		w.rules(slug(w.title(1 + w.below(2))))
	}
	for w.room("") > 0 {
		fmt.Fprintf(w, "\n.%s {\n", w.stem())
		w.declarations(min(2, w.room("")/40))
		w.WriteString("}\n")
	}
	return w.Bytes()
}

// rules writes what one part of a page looks like.
func (w *writer) rules(block string) {
	indent := ""
	if w.oneIn(6) {
		fmt.Fprintf(w, "\n@media (min-width: %dpx) {", []int{480, 640, 768, 1024, 1280}[w.below(5)])
		indent = "  "
	} else if w.oneIn(3) {
		fmt.Fprintf(w, "\n/* %s: ", block)
		w.prose(20)
		w.WriteString(" */")
	}
	start := w.Len()
	fmt.Fprintf(w, "\n.%s {\n", block)
	w.declarations(2 + w.below(6))
	w.WriteString("}\n")
	for range w.below(4) {
		fmt.Fprintf(w, "\n.%s__%s%s {\n", block, w.stem(), w.of([]string{"", "", "", ":hover", ":focus-visible", "::before", " > a", ":last-child"}))
		w.declarations(1 + w.below(5))
		w.WriteString("}\n")
	}
	if indent != "" {
		text := string(w.Bytes()[start:])
		w.Truncate(start)
		w.WriteString(strings.ReplaceAll(text, "\n", "\n  "))
		w.Truncate(w.Len() - len(indent))
		w.WriteString("}\n")
	}
}

func (w *writer) colour() {
	w.WriteByte('#')
	w.hex(6)
}

// declarations writes n of them, of different properties.
func (w *writer) declarations(n int) {
	at := w.below(len(properties))
	for range n {
		at = (at + 1 + w.below(7)) % len(properties)
		name, values, _ := strings.Cut(properties[at], ": ")
		value := w.of(strings.Split(values, "|"))
		fmt.Fprintf(w, "  %s: ", name)
		switch {
		case value == "#":
			w.colour()
		case strings.Contains(value, "%d"):
			for strings.Contains(value, "%d") {
				value = strings.Replace(value, "%d", fmt.Sprint(1+w.below(64)), 1)
			}
			fallthrough
		default:
			w.WriteString(value)
		}
		w.WriteString(";\n")
	}
}

// properties are what a declaration may be: "%d" is a number, "#" a colour.
var properties = []string{
	"align-items: center|flex-start|stretch",
	"animation: fade-in 0.%ds ease-in-out",
	"background-color: #|var(--color-surface)|transparent",
	"background-image: url(\"/assets/img/sprite-%d.svg\")",
	"border: 1px solid #|1px solid var(--color-border)|0",
	"border-radius: %dpx|0.%drem|50%",
	"bottom: %dpx|0",
	"box-shadow: 0 %dpx %dpx rgba(0, 0, 0, 0.%d)",
	"box-sizing: border-box",
	"color: #|var(--color-text)|var(--color-accent)|inherit",
	"content: \"\"",
	"cursor: pointer|default|not-allowed",
	"display: flex|block|inline-block|grid|none",
	"flex: 1 1 auto|0 0 %d%|none",
	"flex-direction: column|row",
	"font-family: Inter, system-ui, sans-serif|inherit",
	"font-size: %dpx|1.%drem|0.%drem",
	"font-weight: 400|600|700",
	"gap: %dpx|0.%drem",
	"grid-template-columns: repeat(%d, minmax(0, 1fr))",
	"height: %dpx|auto|100%",
	"justify-content: space-between|center|flex-end",
	"left: %dpx|0|50%",
	"letter-spacing: 0.0%dem",
	"line-height: 1.%d",
	"list-style: none",
	"margin: 0 auto|%dpx %dpx|0",
	"margin-bottom: %dpx|1.%drem",
	"max-width: %d%|%d0px|100%",
	"min-height: %d0px|100vh",
	"opacity: 0.%d|1|0",
	"outline: 2px solid var(--color-accent)|none",
	"overflow: hidden|auto|visible",
	"padding: %dpx %dpx|0.%drem 1.%drem|0",
	"position: relative|absolute|fixed|sticky",
	"text-align: left|center|right",
	"text-decoration: none|underline",
	"text-transform: uppercase|none",
	"top: %dpx|0|50%",
	"transform: translate(-50%, %dpx)|rotate(%ddeg)|none",
	"transition: color 0.%ds ease, background-color 0.%ds ease|opacity %d0ms linear",
	"visibility: visible|hidden",
	"white-space: nowrap|normal",
	"width: %d%|%dpx|100%|auto",
	"z-index: %d|1|10",
}
