package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	graphql "github.com/graph-gophers/graphql-go"
	"pgregory.net/rapid"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	cachegraphql "github.com/cacheaside/cacheaside/core/graphql"
	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// stores are those that the service is tested on.
var stores = map[string]func(*testing.T) store.Store{
	"memory": func(t *testing.T) store.Store {
		s, err := memory.New(16 << 20)
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"server": func(t *testing.T) store.Store {
		addr := storetest.Server(t)
		s, err := storetest.Patiently(func() (*dragonfly.Store, error) { return dragonfly.Open(context.Background(), addr) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	},
}

// site is a service that listens.
type site struct {
	*httptest.Server
	db *database
}

func newSite(t *testing.T, open func(*testing.T) store.Store) site {
	t.Helper()
	p := policy()
	p.TTL = 30 * time.Second
	cache, err := cacheaside.New(cacheaside.Config{
		Store: open(t), Namespace: strings.ReplaceAll(storetest.Prefix(), ":", "-"), Policy: p,
		Timeouts: cacheaside.Timeouts{Lookup: time.Minute, Write: time.Minute, Purge: time.Minute}, // the machine may be busy
	})
	if err != nil {
		t.Fatal(err)
	}
	s := site{db: newDatabase()}
	h, err := routes(cache, s.db)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		s.Close()
		if err := cache.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// answer is a response, with what the cache says of it.
type answer struct {
	status      int
	cache, body string
	header      http.Header
}

func (s site) send(t *testing.T, method, path, content string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Cache-Status"), string(b), resp.Header}
}

// outcome is hit, stored, or why not.
func (a answer) outcome() string {
	switch {
	case strings.Contains(a.cache, "; hit"):
		return "hit"
	case strings.Contains(a.cache, "; stored"):
		return "stored"
	}
	_, detail, _ := strings.Cut(a.cache, "detail=")
	return detail
}

var (
	command = regexp.MustCompile(`^\$ curl -i localhost:8080(\S+)(?: -H 'Content-Type: application/json' -d '(.*)')?$`)
	digits  = regexp.MustCompile(`[0-9]+`)
)

// TestReadme sends what the README sends, and gets what it says.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, open)
			sent, checked := 0, 0
			var got string
			inside := false
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, "```") {
					inside = line == "```console"
					continue
				}
				switch {
				case !inside || strings.HasPrefix(line, "$ go run "):
				case strings.HasPrefix(line, "$"):
					m := command.FindStringSubmatch(line)
					if m == nil {
						t.Fatalf("this test cannot send %s", line)
					}
					method := http.MethodGet
					if m[2] != "" {
						method = http.MethodPost
					}
					a := s.send(t, method, m[1], m[2])
					got = "Cache-Status: " + a.cache + "\n" + a.body + "\n"
					sent++
				default:
					if !strings.Contains(digits.ReplaceAllString(got, "N"), digits.ReplaceAllString(line, "N")+"\n") {
						t.Errorf("the README says %q, and the service\n%s", line, got)
					}
					checked++
				}
			}
			if sent < 14 || checked < sent {
				t.Errorf("%d commands and %d lines of output are too few", sent, checked)
			}
		})
	}
}

func post(query string) string {
	b, _ := json.Marshal(map[string]string{"query": query})
	return string(b)
}

// TestMutations: whatever asks for one runs it each time, and all sees it at once.
func TestMutations(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, open)
			const users = `{user(id:1){name} other:user(id:2){name}}`
			for _, rename := range []string{
				`mutation{renameUser(id:1,name:"A"){name}}`,
				`mutation{renameUser(id:1,name:"B"){name}}`,
				`mutation M{renameUser(id:1,name:"C"){name}} query Q{user(id:1){name}}`,
				"# {user(id:1){name}}\nmutation{renameUser(id:1,name:\"D\"){name}}",
				`mutation{renameUser(id:1,name:"A"){name}}`,
			} {
				for range 2 {
					before := s.send(t, http.MethodPost, "/graphql", post(users))
					if before.status != http.StatusOK || s.send(t, http.MethodPost, "/graphql", post(users)).outcome() != "hit" {
						t.Fatalf("%+v", before)
					}
					if a := s.send(t, http.MethodGet, "/users/1", ""); a.status != http.StatusOK || s.send(t, http.MethodGet, "/users/1", "").outcome() != "hit" {
						t.Fatalf("%+v", a)
					}
					const another = "{user(id:3){name}}"
					s.send(t, http.MethodPost, "/graphql", post(another))
					content, _ := json.Marshal(map[string]string{"query": rename, "operationName": operation(rename)})
					a := s.send(t, http.MethodPost, "/graphql", string(content))
					if a.outcome() != "content-refused" || a.status != http.StatusOK || strings.Contains(a.body, "errors") {
						t.Fatalf("%s: %+v", rename, a)
					}
					if a := s.send(t, http.MethodPost, "/graphql", post(another)); a.outcome() != "stored" { // RFC 9111 section 4.4
						t.Errorf("after %s, something else: %+v", rename, a)
					}
					name := regexp.MustCompile(`name:"(.)"`).FindStringSubmatch(rename)[1]
					for _, see := range []answer{
						s.send(t, http.MethodPost, "/graphql", post(users)), s.send(t, http.MethodGet, "/users/1", ""),
						s.send(t, "QUERY", "/graphql", post(users)),
					} {
						if !strings.Contains(see.body, `"name":"`+name+`"`) {
							t.Errorf("after %s: %+v", rename, see)
						}
					}
				}
			}
		})
	}
}

func operation(query string) string {
	if strings.Contains(query, "mutation M") {
		return "M"
	}
	return ""
}

// TestNothingIsStored of what is refused, or has errors.
func TestNothingIsStored(t *testing.T) {
	s := newSite(t, stores["memory"])
	for content, want := range map[string]string{
		`{"query":"{user(id:1){name}}","unknown":1}`:                       "content-refused",
		`{"query":"{user(id:1){name}}","Query":"{user(id:2){name}}"}`:      "content-refused",
		`{"query":"{user(id:1){name}}","operationName":"None"}`:            "content-refused",
		`{"query":"query A{user(id:1){name}} query B{user(id:2){name}}"}`:  "content-refused",
		`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}`: "content-refused",
		`{"query":"{user(id:1){nothing}}"}`:                                "decided",
		`{"query":"query($id:ID!){user(id:$id){name}}"}`:                   "decided",
		`[{"query":"{user(id:1){name}}"},{"query":"{nothing}"}]`:           "decided",
		`not JSON`: "content-refused",
		``:         "content-refused",
		`{"query":"{user(id:1){name}}","variables":{"long":"` + strings.Repeat("x", 64<<10) + `"}}`: "content-too-long",
	} {
		for range 2 {
			if a := s.send(t, http.MethodPost, "/graphql", content); a.outcome() != want {
				t.Errorf("%.100s: %+v", content, a)
			}
		}
	}
	if a := s.send(t, http.MethodPost, "/graphql?query=mutation{renameUser(id:1,name:\"X\"){name}}", post("{user(id:1){name}}")); a.outcome() != "content-refused" {
		t.Errorf("%+v", a)
	}
	if a := s.send(t, http.MethodPost, "/graphql", `{user(id:1){name}}`, "Content-Type", "application/graphql"); a.status != http.StatusUnsupportedMediaType || a.outcome() == "stored" || a.outcome() == "hit" {
		t.Errorf("%+v", a)
	}
}

// TestOneKey: what the cache takes for one request is one to the server.
func TestOneKey(t *testing.T) {
	db := newDatabase()
	schema := graphql.MustParseSchema(schemaText, &resolver{db: db})
	locations := regexp.MustCompile(`,"locations":\[[^]]*\]`)
	exec := func(r *rapid.T, content []byte) string {
		var one request
		if err := json.Unmarshal(content, &one); err != nil {
			r.Fatal(err)
		}
		b, err := json.Marshal(schema.Exec(context.Background(), one.Query, one.OperationName, one.Variables))
		if err != nil {
			r.Fatal(err)
		}
		return string(locations.ReplaceAll(b, nil))
	}
	header := http.Header{"Content-Type": {"application/json"}}
	pieces := []string{
		"{", "}", "(", ")", " ", ",", "\n", "# comment {\n", "#é\n", "\ufeff", "query", "query Q", "mutation", "fragment F on User{name}", "...F", "user", "user(id:1)", "{name}", "blogs", "blogs(first:2)", "{title author{name}}",
		"id:", "1", `"1"`, `"1 "`, `"""1"""`, "\"\"\" 1 \"\"\"", "$n", "($n:Int!)", "(first:$n)", "@include(if:true)", "@skip(if:false)", "a:", "__typename", "__schema{queryType{name}}", "\r\n", "\t",
	}
	taken := 0
	rapid.Check(t, func(r *rapid.T) {
		var query string
		if rapid.Bool().Draw(r, "sensible") {
			query = rapid.SampledFrom([]string{
				`query Q($n: Int!) { blogs(first: $n) { title, author { ...F } } } fragment F on User { id name }`, `{ user(id: 1) { name blogs { title } } }`,
				`{ a: user(id: "1 ") { name } b: blog(id: """2""") { text } }`, `query Q { __schema { queryType { name } } user(id: 9) @include(if: true) { name } }`,
			}).Draw(r, "query")
			i := rapid.IntRange(0, len(query)).Draw(r, "at")
			query = query[:i] + rapid.SampledFrom(pieces).Draw(r, "piece") + query[i:]
		} else {
			query = strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 12).Draw(r, "pieces"), "")
		}
		content, _ := json.Marshal(map[string]any{"query": query, "variables": map[string]any{"n": rapid.IntRange(0, 2).Draw(r, "n")}})
		normal, ok := cachegraphql.Normalize(&adapter.Request{Header: header}, content)
		if !ok {
			return
		}
		taken++
		if got, want := exec(r, bytes.TrimPrefix(normal, []byte("json:"))), exec(r, content); got != want {
			r.Fatalf("%q is\n%s, and as\n%s\n%s", query, want, normal, got)
		}
	})
	if taken == 0 {
		t.Error("nothing was taken")
	}
}
