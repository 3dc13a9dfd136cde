package transparency

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page core/MIDDLEWARE.md, line by line. Its first table is rows, its second one is
// the uses of the houses, its third one is remarks. TestMiddlewarePage compares the
// texts; what they say is what the other tests here show.

// order is the line of the page that begins the chain.
var order = []string{"recover", "logger", "request id", "CORS", "limiter", "static", "basic auth", "cache", "etag", "timeout"}

func TestPlacing(t *testing.T) {
	if os.Getenv(panicInFront) != "" {
		fiberHouse().under(t, skipPanics, "cache", "recover").get("/page")
		return
	}
	for _, r := range rows() {
		t.Run(r.middleware, func(t *testing.T) {
			for _, h := range houses() {
				t.Run(h.name, func(t *testing.T) {
					play := func(name string, test func(*testing.T, house)) {
						if test != nil {
							t.Run(name, func(t *testing.T) { test(t, h) })
						}
					}
					right, wrong := r.right, r.wrong
					for i, m := range remarks() {
						if !m.isFor(h, r.middleware) {
							continue
						}
						play(fmt.Sprint("remark", i, "right"), m.right)
						play(fmt.Sprint("remark", i, "wrong"), m.wrong)
						if m.instead && m.right != nil {
							right = nil
						}
						if m.instead && m.wrong != nil {
							wrong = nil
						}
					}
					if r.middleware == "etag" && !h.ownETag {
						wrong = nil
					}
					play("right", right)
					play("wrong", wrong)
				})
			}
		})
	}
}

// TestPlacedTogether is the order that the page begins with.
func TestPlacedTogether(t *testing.T) {
	for _, h := range houses() {
		t.Run(h.name, func(t *testing.T) {
			layers := slices.Clone(order)
			if !h.ownETag {
				layers = slices.DeleteFunc(layers, func(name string) bool { return name == "etag" })
			}
			s := h.under(t, authorizedAndCompressed, layers...)
			ask := func() got {
				return s.get("/page", "Authorization", basic("jack"), "Origin", origins[0], "Accept-Encoding", "gzip")
			}
			first := ask().is(t, 200, miss).coded(t, "").allows(t, origins[0])
			s.log.take()
			second := ask().is(t, 200, hit).coded(t, "gzip").allows(t, origins[0])
			s.logged(t, 1)
			if first.id(t) == second.id(t) {
				t.Errorf("the same id again: %s", first.id(t))
			}
			s.get("/page").is(t, 401, miss)
			s.get("/page", "Authorization", basic("jack")).is(t, 429, miss)
		})
	}
}

// TestMiddlewarePage compares the page with what is tested.
func TestMiddlewarePage(t *testing.T) {
	b, err := os.ReadFile("../../core/MIDDLEWARE.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|-") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{"| middleware | where | because | otherwise |"}
	for _, r := range rows() {
		want = append(want, cells(r.middleware, r.where, r.because, r.otherwise))
	}
	all := houses()
	names := []string{""}
	for _, h := range all {
		names = append(names, h.name)
	}
	want = append(want, cells(names...))
	for _, r := range rows() {
		of := []string{r.middleware}
		for _, h := range all {
			of = append(of, h.uses[r.middleware])
		}
		want = append(want, cells(of...))
	}
	want = append(want, "| framework | middleware | |")
	for _, m := range remarks() {
		want = append(want, cells(m.frameworks, m.middleware, m.text))
	}
	for i := range max(len(lines), len(want)) {
		switch {
		case i >= len(lines):
			t.Errorf("tested, but not on the page:\n%s", want[i])
		case i >= len(want):
			t.Errorf("on the page, but not tested:\n%s", lines[i])
		case lines[i] != want[i]:
			t.Errorf("the page:\n%s\nthe tests:\n%s", lines[i], want[i])
		}
	}
	if chain := strings.Join(order, " → ") + " → handler"; !strings.Contains(string(b), chain) {
		t.Errorf("the page has no %q", chain)
	}
	for _, h := range all {
		if len(h.uses) != len(rows()) {
			t.Errorf("%s: %d of %d rows", h.name, len(h.uses), len(rows()))
		}
	}
	example, err := os.ReadFile("placing_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if !strings.Contains(strings.ReplaceAll(string(example), "\n\t", "\n"), "\n"+code[1]) {
			t.Errorf("nobody runs this:\n%s", code[1])
		}
	}
}

// cells is a line of a table.
func cells(of ...string) string {
	var b strings.Builder
	for _, c := range of {
		b.WriteString("| ")
		b.WriteString(c)
		if c != "" {
			b.WriteByte(' ')
		}
	}
	return b.String() + "|"
}
