// Package docs checks the documents of the repository: that links lead somewhere,
// that the Go code in them compiles, and that what they name is there. Their shell
// commands are run by .ci/docs.
package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// document is a Markdown file, split into what is code and what is not.
type document struct {
	name   string   // from the root, with slashes
	text   []string // its lines; those of code blocks are empty
	blocks []block
}

type block struct {
	language, code string
	line           int    // where the code begins
	comment        string // of HTML, on the line before the block
}

func documents(t *testing.T) []document {
	t.Helper()
	var docs []document
	for _, name := range files(t) {
		if strings.HasSuffix(name, ".md") {
			docs = append(docs, read(t, name))
		}
	}
	return docs
}

// files are those of the repository.
func files(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !d.IsDir():
			rel, err := filepath.Rel(root, p)
			names = append(names, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) document {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	d := document{name: name, text: strings.Split(string(b), "\n")}
	in := -1 // the index of the block's first line
	var indent string
	for i, line := range d.text {
		trimmed := strings.TrimLeft(line, " ")
		switch fence := strings.HasPrefix(trimmed, "```"); {
		case fence && in < 0:
			in, indent = i+1, line[:len(line)-len(trimmed)]
			b := block{language: strings.TrimPrefix(trimmed, "```"), line: i + 2}
			if i > 0 {
				b.comment = strings.TrimSpace(d.text[i-1])
			}
			d.blocks = append(d.blocks, b)
		case fence:
			in = -1
		case in >= 0:
			last := &d.blocks[len(d.blocks)-1]
			last.code += strings.TrimPrefix(line, indent) + "\n"
		default:
			continue
		}
		d.text[i] = ""
	}
	if in >= 0 {
		t.Errorf("%s:%d: a code block does not end", name, in)
	}
	return d
}

func TestREADMEIsShort(t *testing.T) {
	const most = 250
	if n := len(read(t, "README.md").text) - 1; n > most {
		t.Errorf("README.md has %d lines, %d at most: put the rest next to what it describes", n, most)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inCode  = regexp.MustCompile("`[^`]*`")
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	inLink  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	aTest   = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]\w*$`)
	aGoFile = regexp.MustCompile(`^[\w./-]+\.go$`)
)

func TestLinks(t *testing.T) {
	docs := documents(t)
	anchors := map[string]map[string]bool{}
	for _, d := range docs {
		anchors[d.name] = d.anchors()
	}
	for _, d := range docs {
		for i, line := range d.text {
			for _, m := range link.FindAllStringSubmatch(inCode.ReplaceAllString(line, "``"), -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				file, anchor, _ := strings.Cut(m[1], "#")
				target := d.name
				if file != "" {
					target = path.Join(path.Dir(d.name), file)
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: %s: there is no %s", d.name, i+1, m[1], target)
				} else if anchor != "" && !anchors[target][anchor] {
					t.Errorf("%s:%d: %s: %s has no such heading", d.name, i+1, m[1], target)
				}
			}
		}
	}
}

// anchors are those that GitHub makes of the headings.
func (d document) anchors() map[string]bool {
	all := map[string]bool{}
	for _, line := range d.text {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		title = inLink.ReplaceAllString(title, "$1")
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		name := slug
		for i := 1; all[name]; i++ {
			name = fmt.Sprint(slug, "-", i)
		}
		all[name] = true
	}
	return all
}

// The tests and files that a document names are there. The changelog tells of what was.
func TestNames(t *testing.T) {
	names := files(t)
	tests := map[string]bool{}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "core/coretest/") && !strings.HasPrefix(name, "core/storetest/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
	}
	for _, d := range documents(t) {
		if d.name == "CHANGELOG.md" {
			continue
		}
		for i, line := range d.text {
			for _, code := range inCode.FindAllString(line, -1) {
				code = strings.Trim(code, "`")
				if aTest.MatchString(code) && !tests[code] {
					t.Errorf("%s:%d: there is no test %s", d.name, i+1, code)
				}
				if aGoFile.MatchString(code) && !hasSuffix(names, "/"+strings.TrimPrefix(code, "/")) {
					t.Errorf("%s:%d: there is no file %s", d.name, i+1, code)
				}
			}
		}
	}
}

func hasSuffix(names []string, suffix string) bool {
	for _, name := range names {
		if strings.HasSuffix("/"+name, suffix) {
			return true
		}
	}
	return false
}

// What code in the documents may use without importing it.
var packages = map[string]string{
	"cacheaside":   "github.com/cacheaside/cacheaside/core",
	"adapter":      "github.com/cacheaside/cacheaside/core/adapter",
	"cachetest":    "github.com/cacheaside/cacheaside/core/cachetest",
	"chiadapter":   "github.com/cacheaside/cacheaside/chiadapter",
	"coretest":     "github.com/cacheaside/cacheaside/core/coretest",
	"dragonfly":    "github.com/cacheaside/cacheaside/core/dragonfly",
	"echoadapter":  "github.com/cacheaside/cacheaside/echoadapter",
	"fiberadapter": "github.com/cacheaside/cacheaside/fiberadapter",
	"ginadapter":   "github.com/cacheaside/cacheaside/ginadapter",
	"graphql":      "github.com/cacheaside/cacheaside/core/graphql",
	"inspect":      "github.com/cacheaside/cacheaside/core/inspect",
	"memory":       "github.com/cacheaside/cacheaside/core/memory",
	"nethttp":      "github.com/cacheaside/cacheaside/core/nethttp",
	"observe":      "github.com/cacheaside/cacheaside/core/observe",
	"prom":         "github.com/cacheaside/cacheaside/core/prom",
	"cacheotel":    "github.com/cacheaside/cacheaside/core/otel",
	"store":        "github.com/cacheaside/cacheaside/core/store",
	"storetest":    "github.com/cacheaside/cacheaside/core/storetest",

	"chi":       "github.com/go-chi/chi/v5",
	"cors":      "github.com/gin-contrib/cors", // of examples/transparency, as are the next two
	"gzip":      "github.com/gin-contrib/gzip",
	"requestid": "github.com/gin-contrib/requestid",
	"echo":      "github.com/labstack/echo/v4",
	"fiber":     "github.com/gofiber/fiber/v2",
	"gin":       "github.com/gin-gonic/gin",
	"rueidis":   "github.com/redis/rueidis",

	"otelhttp":   "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
	"prometheus": "github.com/prometheus/client_golang/prometheus",
	"trace":      "go.opentelemetry.io/otel/trace",
	"promhttp":   "github.com/prometheus/client_golang/prometheus/promhttp",

	"atomic":   "sync/atomic",
	"context":  "context",
	"errors":   "errors",
	"fmt":      "fmt",
	"bytes":    "bytes",
	"http":     "net/http",
	"json":     "encoding/json",
	"httptest": "net/http/httptest",
	"log":      "log",
	"os":       "os",
	"rand":     "crypto/rand",
	"slog":     "log/slog",
	"strings":  "strings",
	"testing":  "testing",
	"time":     "time",
	"tls":      "crypto/tls",
	"x509":     "crypto/x509",
}

// The Go code of the documents compiles, and has the form of gofmt. A block that begins with a package clause is a
// file. Any other is the body of a function, in which cache is one, and so is what a
// comment before the block declares:
//
//	<!-- go: ctx context.Context; app *fiber.App -->
//
// It need not use all that it declares.
func TestGo(t *testing.T) {
	lookup := exports(t)
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language != "go" {
				continue
			}
			where := fmt.Sprintf("%s:%d", d.name, b.line)
			if formatted, err := format.Source([]byte(b.code)); err == nil && string(formatted) != b.code {
				t.Errorf("%s: gofmt would have:\n%s", where, formatted)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "", b.file(where), parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			check := types.Config{
				Importer: importer.ForCompiler(fset, "gc", lookup),
				Error: func(err error) {
					var e types.Error
					if !errors.As(err, &e) || !e.Soft || b.whole() {
						t.Error(err)
					}
				},
			}
			_, _ = check.Check("doc", fset, []*ast.File{file}, nil)
		}
	}
}

var (
	qualified = regexp.MustCompile(`^(\w+)\.([A-Z]\w*)`)
	field     = regexp.MustCompile(`^(\w+)((?:\.[A-Z]\w+)+)$`)
)

// What documents call by its Go name in running text is there: cacheaside.New, and the
// fields of a Config and its groups, as in Timeouts.Lookup.
func TestIdentifiers(t *testing.T) {
	imports := importer.ForCompiler(token.NewFileSet(), "gc", exports(t))
	core, err := imports.Import(packages["cacheaside"])
	if err != nil {
		t.Fatal(err)
	}
	exported := func(name string) types.Type {
		if o := core.Scope().Lookup(name); o != nil {
			return o.Type()
		}
		t.Fatalf("there is no %s", name)
		return nil
	}
	for _, d := range documents(t) {
		if d.name == "CHANGELOG.md" {
			continue
		}
		for i, line := range d.text {
			for _, code := range inCode.FindAllString(line, -1) {
				code = strings.Trim(code, "`")
				where := fmt.Sprintf("%s:%d: %s", d.name, i+1, code)
				if m := qualified.FindStringSubmatch(code); m != nil && strings.HasPrefix(packages[m[1]], "github.com/cacheaside/") {
					p, err := imports.Import(packages[m[1]])
					if err != nil {
						t.Fatal(err)
					}
					if p.Scope().Lookup(m[2]) == nil {
						t.Errorf("%s: %s has no %s", where, p.Path(), m[2])
					}
				}
				m := field.FindStringSubmatch(code)
				if m == nil {
					continue
				}
				path := strings.Split(code, ".")
				switch m[1] {
				case "Config", "Policy", "Stats", "Purge":
					if !selects(exported(m[1]), path[1:]) {
						t.Errorf("%s: there is no such field", where)
					}
				case "Key", "Storing", "Stale", "Coalescing", "Requests":
					if !selects(exported("Policy"), path) {
						t.Errorf("%s: Policy has no such field", where)
					}
				case "Timeouts", "Breaker", "Background":
					if !selects(exported("Config"), path) {
						t.Errorf("%s: Config has no such field", where)
					}
				}
			}
		}
	}
}

// selects reports whether of has the fields that path leads through.
func selects(of types.Type, path []string) bool {
	for _, name := range path {
		o, _, _ := types.LookupFieldOrMethod(of, true, nil, name)
		if o == nil {
			return false
		}
		of = o.Type()
	}
	return true
}

func (b block) whole() bool { return strings.HasPrefix(b.code, "package ") }

// file is the block as a Go file, whose lines are those of the document.
func (b block) file(where string) string {
	line := "//line " + where + "\n"
	if b.whole() {
		return line + b.code
	}
	declared := "cache *cacheaside.Cache"
	if list, ok := strings.CutPrefix(b.comment, "<!-- go: "); ok {
		declared += "; " + strings.TrimSuffix(list, " -->")
	}
	var out strings.Builder
	out.WriteString("package doc\n")
	for name, path := range packages {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(declared + b.code) {
			fmt.Fprintf(&out, "import %s %q\n", name, path)
		}
	}
	for _, v := range strings.Split(declared, ";") {
		fmt.Fprintf(&out, "var %s\n", v)
	}
	fmt.Fprintf(&out, "func _() error {\n%s%s\npanic(0)\n}\n", line, b.code)
	return out.String()
}

// exports finds the export data of all packages that a document may import.
func exports(t *testing.T) importer.Lookup {
	t.Helper()
	args := []string{"list", "-e", "-export", "-deps", "-json=ImportPath,Export"}
	for _, path := range packages {
		args = append(args, path)
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatal("go list:", err)
	}
	found := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		found[p.ImportPath] = p.Export
	}
	return func(path string) (io.ReadCloser, error) {
		if found[path] == "" {
			return nil, fmt.Errorf("there is no package %s, or it is not among packages in docs_test.go", path)
		}
		return os.Open(found[path])
	}
}

// The tests in the documents pass: each file of them as one of this folder.
func TestTests(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			tests := testName.FindAllStringSubmatch(b.code, -1)
			if b.language != "go" || !b.whole() || tests == nil {
				continue
			}
			found = true
			var names []string
			for _, m := range tests {
				names = append(names, m[1])
			}
			code := b.file(fmt.Sprintf("%s:%d", d.name, b.line))
			code = packageClause.ReplaceAllString(code, "package docs_test")
			runTests(t, here, code, names)
		}
	}
	if !found {
		t.Error("there are none")
	}
}

var (
	testName      = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	packageClause = regexp.MustCompile(`(?m)^package \w+$`)
)

func runTests(t *testing.T, here, code string, names []string) {
	t.Helper()
	dir := t.TempDir()
	file, list := filepath.Join(dir, "doc_test.go"), filepath.Join(dir, "overlay.json")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "in_doc_test.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{file: code, list: string(overlay)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("go", "test", "-v", "-overlay", list, "-run", "^("+strings.Join(names, "|")+")$", ".").CombinedOutput()
	for _, name := range names {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			err = fmt.Errorf("%s did not pass: %w", name, err)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
