package graphql

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive finds the tokens of a document, and what of the rest a server might see, without
// the code that is tested.
var naive = regexp.MustCompile(`"""(?s:.*?)"""|"(?:[^"\\\n\r]|\\.)*"|[_A-Za-z][_0-9A-Za-z]*|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|\.\.\.|[!$&():=@\[\]{|}]|#[^\n\r]*|[ \t\r\n,]+|(?s:.)`)

func naiveTokens(doc string) (tokens []string) {
	for _, t := range naive.FindAllString(doc, -1) {
		comment := t[0] == '#'
		if strings.Trim(t, " \t\r\n,") == "" || comment && strings.IndexFunc(t, func(r rune) bool { return r > '~' }) < 0 {
			continue
		}
		tokens = append(tokens, strings.TrimRight(t, "\r"))
	}
	return tokens
}

// naiveKinds are what the definitions of a document begin with.
func naiveKinds(tokens []string) (kinds, names []string) {
	depth, begin := 0, true
	for i, t := range tokens {
		if t[0] == '#' || begin && t[0] == '"' {
			continue
		}
		if begin {
			kinds, names, begin = append(kinds, t), append(names, ""), false
			for _, next := range tokens[i+1:] {
				if next[0] != '#' {
					names[len(names)-1] = next
					break
				}
			}
		}
		switch t {
		case "{", "(", "[":
			depth++
		case "}", ")", "]":
			depth--
			begin = depth == 0 && t == "}"
		}
	}
	return kinds, names
}

// decoded is what a server gets: the tree of the JSON, with the tokens of the queries.
func decoded(t *testing.T, content []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s is taken, and %v", content, err)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		if m := e.(map[string]any); m["query"] != nil {
			m["query"] = naiveTokens(m["query"].(string))
		}
	}
	return v
}

// sound checks what holds for all content that is taken: its normal form has all that a
// server gets, so that no two that differ in it have the same, and it asks for nothing but
// queries.
func sound(t *testing.T, content []byte) (string, any) {
	t.Helper()
	o := Options{Batches: true, Persisted: true}
	normal, ok := o.normalize(asked("application/json"), content)
	if !ok {
		return "", nil
	}
	body, ok := bytes.CutPrefix(normal, []byte(asJSON))
	if !ok {
		t.Fatalf("%s gives %s", content, normal)
	}
	want := decoded(t, content)
	if got := decoded(t, body); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s gives\n%s\n%q, not\n%q", content, normal, got, want)
	}
	if again, ok := o.normalize(asked("application/json"), body); !ok || !bytes.Equal(again, normal) {
		// A hash beside a query is that of the query as it was.
		if !bytes.Contains(body, []byte("persistedQuery")) {
			t.Fatalf("%s gives\n%s, and that\n%s, %v", content, normal, again, ok)
		}
	}
	list, ok := want.([]any)
	if !ok {
		list = []any{want}
	}
	for _, e := range list {
		m := e.(map[string]any)
		tokens, ok := m["query"].([]string)
		if !ok {
			continue
		}
		name, _ := m["operationName"].(string)
		kinds, names := naiveKinds(tokens)
		operations := 0
		for i, k := range kinds {
			selected := name == "" || names[i] == name
			switch k {
			case "fragment":
			case "{", "query":
				operations++
			case "mutation", "subscription":
				if operations++; selected {
					t.Fatalf("%s has a %s", content, k)
				}
			default:
				t.Fatalf("%s has a %q", content, k)
			}
		}
		if operations == 0 || operations > 1 && name == "" {
			t.Fatalf("%s has %d operations", content, operations)
		}
	}
	return string(normal), want
}

func seeds(f *testing.F, add func(string)) {
	f.Helper()
	for _, s := range []string{
		`{"query":"query A($x:Int=1){f(x:$x)@d(i:[1,-2.5e+3])...F}fragment F on T{a,b}","variables":{"z":[1,1.0,-0,null,"é\u0041\n"],"a":{}},"operationName":"A","extensions":{"a":1}}`,
		`[{"query":"{a}"},{"documentId":"x"}]`, `{"query":"{a(s:\"\"\"x # \" y\r\n\"\"\")}# é\n#b\n"}`, `{"query":"query A{a} mutation B{b}","operationName":"A"}`,
		`{"query":"\"\"\"about\"\"\" query{a(x:\"\\\"\\u0041\")}","variables":{"x":"\ud83d\ude00"}}`, `{"query":"#\r mutation{a}\n{a}"}`,
	} {
		add(s)
	}
	for _, q := range refusedQueries {
		if len(q) < 100 {
			add(quoted(q))
		}
	}
}

// FuzzNormalize: what is taken is sound, and two that are taken share a form only if a
// server gets the same.
func FuzzNormalize(f *testing.F) {
	seeds(f, func(s string) { f.Add([]byte(s), uint(3), byte(' ')) })
	f.Fuzz(func(t *testing.T, content []byte, at uint, with byte) {
		a, gets := sound(t, content)
		if a == "" {
			return
		}
		mutant := bytes.Clone(content)
		mutant[at%uint(len(mutant))] = with
		if b, gotten := sound(t, mutant); a == b && !reflect.DeepEqual(gets, gotten) {
			t.Fatalf("%s and %s are\n%s", content, mutant, a)
		}
	})
}

// FuzzDocument is FuzzNormalize for queries, without the JSON around them.
func FuzzDocument(f *testing.F) {
	seeds(f, func(s string) {
		var m struct{ Query, OperationName string }
		if json.Unmarshal([]byte(s), &m) == nil {
			f.Add(m.Query, m.OperationName)
		}
	})
	f.Fuzz(func(t *testing.T, query, name string) {
		content, err := json.Marshal(map[string]string{"query": query, "operationName": name})
		if err != nil {
			t.Skip()
		}
		sound(t, content)
	})
}

// TestWhatIsIgnored: whatever is ignored between the tokens of whatever document, and
// however its JSON is written, it is one request; and another one with another token.
func TestWhatIsIgnored(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		tokens := drawDocument(r)
		spaces := rapid.SampledFrom([]string{" ", ",", "\n", "\t", "\r\n", " # x, \"{}\"\"\"\n", "#\r\n", ", ,\n "})
		write := func() string {
			var b strings.Builder
			for _, token := range tokens {
				b.WriteString(token)
				b.WriteString(spaces.Draw(r, "ignored"))
			}
			return b.String()
		}
		request := func(query string, order bool) string {
			q, _ := json.Marshal(query)
			if order {
				return `{"operationName":null,"variables":{"b":[1,2],"a":"\u0062"},"query":` + string(q) + `}`
			}
			return "{\n\"query\" :" + string(q) + ` , "variables":{"a":"b", "b":[ 1,2 ] }, "operationName" : null}`
		}
		one, ok := Options{}.normalize(asked("application/json"), []byte(request(write(), true)))
		other, also := Options{}.normalize(asked("application/json"), []byte(request(write(), false)))
		if !ok || !also || !bytes.Equal(one, other) {
			r.Fatalf("%v\n%s, %v\n%s", ok, one, also, other)
		}
		i := rapid.IntRange(0, len(tokens)-1).Draw(r, "token")
		another := rapid.SampledFrom([]string{"a", "1", `"1"`, "2", "{", "}", "...", "mutation", "b", "$", "@", ":"})
		tokens[i] = another.Filter(func(s string) bool { return s != tokens[i] }).Draw(r, "by")
		if changed, ok := (Options{}).normalize(asked("application/json"), []byte(request(write(), true))); ok && bytes.Equal(one, changed) {
			r.Fatalf("another %q is still\n%s", tokens[i], one)
		}
	})
}

// drawDocument draws the tokens of a query.
func drawDocument(r *rapid.T) []string {
	var tokens []string
	add := func(t ...string) { tokens = append(tokens, t...) }
	name := rapid.SampledFrom([]string{"a", "b", "query", "mutation", "fragment", "on", "_1", "null", "true"})
	var input, selection func(depth int)
	input = func(depth int) {
		switch n := rapid.IntRange(0, 6).Draw(r, "input"); {
		case n == 0 && depth > 0:
			add("[")
			for range rapid.IntRange(0, 3).Draw(r, "items") {
				input(depth - 1)
			}
			add("]")
		case n == 1 && depth > 0:
			add("{")
			for range rapid.IntRange(0, 2).Draw(r, "fields") {
				add(name.Draw(r, "field"), ":")
				input(depth - 1)
			}
			add("}")
		case n == 2:
			add(rapid.SampledFrom([]string{`""`, `"x # y"`, `"\"\\\u0041"`, `""""""`, "\"\"\"x\n \"y\" # z\"\"\"", `"é"`}).Draw(r, "string"))
		case n == 3:
			add("$", name.Draw(r, "variable"))
		case n == 4:
			add(name.Draw(r, "enum"))
		default:
			add(rapid.SampledFrom([]string{"0", "-1", "1.5", "1e3", "-0.1E-7"}).Draw(r, "number"))
		}
	}
	arguments := func() {
		if rapid.Bool().Draw(r, "arguments") {
			add("(", name.Draw(r, "argument"), ":")
			input(2)
			add(")")
		}
	}
	selection = func(depth int) {
		add("{")
		for range rapid.IntRange(1, 3).Draw(r, "selections") {
			if rapid.IntRange(0, 3).Draw(r, "spread") == 0 {
				add("...")
			}
			add(name.Draw(r, "name"))
			arguments()
			if rapid.Bool().Draw(r, "directive") {
				add("@", name.Draw(r, "name"))
				arguments()
			}
			if depth > 0 && rapid.Bool().Draw(r, "deeper") {
				selection(depth - 1)
			}
		}
		add("}")
	}
	if rapid.Bool().Draw(r, "keyword") {
		add("query")
		if rapid.Bool().Draw(r, "named") {
			add(name.Draw(r, "operation"))
		}
		if rapid.Bool().Draw(r, "variables") {
			add("(", "$", name.Draw(r, "variable"), ":", "[", "T", "!", "]", "!", "=")
			input(2)
			add(")")
		}
	}
	selection(2)
	if rapid.Bool().Draw(r, "fragment") {
		add("fragment", "F", "on", "T")
		selection(1)
	}
	return tokens
}
