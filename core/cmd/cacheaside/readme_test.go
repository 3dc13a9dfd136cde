package main

import (
	"flag"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

var update = flag.Bool("update", false, "write what the commands say into README.md")

var block = regexp.MustCompile("(?s)```text\n\\$ cacheaside ([^\n]*)\n(.*?)```\n")

// What differs from one run to the next.
var (
	aNumber  = regexp.MustCompile(`\d[\d.,:-]*((µs|ms|[smhd])(\d+[smh])?)?`)
	aUnit    = regexp.MustCompile(`N ([KMGT]i)?B`)
	aVersion = regexp.MustCompile(`\bv(\d)`)
	spaces   = regexp.MustCompile(` +`)
	aDate    = regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4}`)
	name     = regexp.MustCompile(`Redis|Valkey|Dragonfly|redis`)
)

func normal(s string) []string {
	s = aDate.ReplaceAllString(s, "a date")
	s = aVersion.ReplaceAllString(s, "$1") // of Dragonfly's
	s = name.ReplaceAllString(s, "Server")
	s = spaces.ReplaceAllString(aUnit.ReplaceAllString(aNumber.ReplaceAllString(s, "N"), "N B"), " ")
	lines := strings.Split(strings.TrimSpace(s), "\n")
	slices.Sort(lines) // keys come in any order, and so may events of what goes on at the same time
	return lines
}

// looked is at what a doctor has looked.
func looked(lines []string) (names []string) {
	for _, l := range lines {
		if f := strings.Fields(l); len(f) > 1 && slices.Contains([]string{"ok", "warn", "fail"}, f[0]) {
			names = append(names, f[1])
		}
	}
	slices.Sort(names)
	return names
}

// TestReadme: what README.md shows is what the commands say. go test -run TestReadme -update
// has it so.
func TestReadme(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	s := newServiceOf(t, demo(), cacheaside.Policy{TTL: 5 * time.Minute})
	for _, path := range []string{"/blogs/1?page=2", "/blogs/1?page=2", "/blogs/1?page=2", "/blogs/2", "/blogs/2", "/me"} {
		s.get(t, path, "Host", "example.com")
	}
	shown := block.ReplaceAllStringFunc(text, func(found string) string {
		m := block.FindStringSubmatch(found)
		env, args := s.env(), strings.Fields(m[1])
		for i := range args {
			args[i] = strings.Replace(args[i], "localhost:6379", s.store, 1)
		}
		r := run(t, env, args...)
		if strings.Contains(r.out+r.err, secret) || r.code == exitUsage || r.code == exitFailure && args[0] != "doctor" {
			t.Errorf("%s: %+v", m[1], r)
		}
		said, want := normal(r.out), normal(m[2])
		if args[0] == "doctor" { // how it is doing depends on the machine
			said, want = looked(said), looked(want)
		}
		if !slices.Equal(said, want) {
			if !*update {
				t.Errorf("%s: it says\n%s\nnot\n%s", m[1], r.out, m[2])
			}
			return "```text\n$ cacheaside " + m[1] + "\n" + r.out + "```\n"
		}
		return found
	})
	if *update {
		if err := os.WriteFile("README.md", []byte(shown), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	// Each command, and each global flag, is told of.
	out := run(t, nil, "--help").out
	_, commands, _ := strings.Cut(out, "Available Commands:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	for line := range strings.Lines(commands) {
		if c := strings.Fields(line)[0]; c != "help" && !strings.Contains(text, "| `"+c) {
			t.Errorf("README.md says nothing of %s", c)
		}
	}
	// Each flag in the table is one of the command.
	for row := range strings.Lines(text) {
		m := regexp.MustCompile("^\\| `([a-z]+)").FindStringSubmatch(row)
		if m == nil {
			continue
		}
		help := run(t, nil, m[1], "--help").out
		for _, f := range regexp.MustCompile(`--[a-z]+`).FindAllString(row, -1) {
			if !strings.Contains(help, f+" ") {
				t.Errorf("%s has no %s", m[1], f)
			}
		}
	}
}

// demo is a service of blogs.
func demo() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blogs/{id}", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // it has work to do
		cacheaside.AddTags(r.Context(), "blogs", "blog-"+r.PathValue("id"))
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "blog "+r.PathValue("id"))
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private")
		io.WriteString(w, "me")
	})
	return mux
}
