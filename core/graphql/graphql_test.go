package graphql

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// asked is a request with a Content-Type.
func asked(contentType string) *adapter.Request {
	return &adapter.Request{Method: http.MethodPost, Path: "/graphql", Header: http.Header{"Content-Type": {contentType}}}
}

func post(t *testing.T, o Options, content string) (string, bool) {
	t.Helper()
	normal, ok := o.normalize(asked("application/json"), []byte(content))
	if !ok && normal != nil {
		t.Errorf("%s: refused, and %q", content, normal)
	}
	return string(normal), ok
}

// quoted is a request of a query.
func quoted(query string) string {
	b, _ := json.Marshal(query)
	return `{"query":` + string(b) + `}`
}

func TestNormalForm(t *testing.T) {
	for content, want := range map[string]string{
		`{"query":"{a}"}`: `json:{"query":"{ a }"}`,
		`{"query":"query A($x:Int=1){f(x:$x)...F}fragment F on T{a,b}","variables":{"z":[1, 1.0 , -0e+5,null,true,"é\u0041\n\"\\\/"],"a":{}},"operationName":"A","extensions":null}`: `json:{"extensions":null,"operationName":"A","query":"query A ( $ x : Int = 1 ) { f ( x : $ x ) ... F } fragment F on T { a b }","variables":{"a":{},"z":[1,1.0,-0e+5,null,true,"éA\u000a\"\\/"]}}`,
		` {  "query" : "{a(s:\"x # y,  z\",b:\"\"\"\n  # no\n\"\"\")}" } `: `json:{"query":"{ a ( s : \"x # y,  z\" b : \"\"\"\u000a  # no\u000a\"\"\" ) }"}`,
		`{"query":"{a}","variables":{"s":"\ud83d\ude00\u0000"}}`:           `json:{"query":"{ a }","variables":{"s":"😀\u0000"}}`,
		`{"query":"{a}# é\n#b\n"}`:                                         "json:{\"query\":\"{ a } # é\\u000a\"}",
	} {
		if got, ok := post(t, Options{}, content); !ok || got != want {
			t.Errorf("%s gives %v\n%s, not\n%s", content, ok, got, want)
		}
	}
	for content, want := range map[string]string{
		"query A { a }\r\n# end": "graphql:query A { a }",
		"{a}":                    "graphql:{ a }",
	} {
		if got, ok := Normalize(asked("application/graphql; charset=UTF-8"), []byte(content)); !ok || string(got) != want {
			t.Errorf("%s gives %q, %v", content, got, ok)
		}
	}
}

// TestSame: these are one request.
func TestSame(t *testing.T) {
	for _, same := range [][]string{
		{`{"query":"{a b}"}`, `{"query":"{a,b}"}`, `{"query":"\t{ a # x\r\n , b\n}\n\n"}`, "\n{ \"query\"\r:\t\"\\u007ba b\\u007d\" }", `{"query":",{a b} # \"\"\""}`},
		{`{"query":"{a(x:[1,-2.5e3],y:{k:\"v\"})@include(if:true)}"}`, `{"query":"{a ( x : [ 1 -2.5e3 ] y : { k : \"v\" } ) @ include ( if : true ) }"}`},
		{`{"query":"{a}","variables":{"a":1,"b":"\/"}}`, `{"variables":{"b":"/","a":1},"query":"{a}"}`},
		{`{"query":"{...on T{a}}"}`, `{"query":"{ ... on T { a } }"}`},
	} {
		want, ok := post(t, Options{}, same[0])
		if !ok {
			t.Fatal(same[0])
		}
		for _, s := range same[1:] {
			if got, ok := post(t, Options{}, s); !ok || got != want {
				t.Errorf("%s gives\n%s, and %s\n%s", s, got, same[0], want)
			}
		}
	}
}

// TestDifferent: no two of these are one request, and all are queries.
func TestDifferent(t *testing.T) {
	seen := map[string]string{}
	o := Options{Batches: true, Persisted: true}
	for _, content := range []string{
		`{"query":"{a b}"}`, `{"query":"{ab}"}`, `{"query":"{b a}"}`, `{"query":"query{a b}"}`, `{"query":"query Q{a b}"}`, `{"query":"{A b}"}`,
		`[{"query":"{a b}"}]`, `[{"query":"{a b}"},{"query":"{a b}"}]`, `{"query":"{a:b}"}`, `{"query":"{a{b}}"}`,
		`{"query":"{a(x:1)}"}`, `{"query":"{a(x:1.0)}"}`, `{"query":"{a(x:-1)}"}`, `{"query":"{a(x:\"1\")}"}`, `{"query":"{a(x:\"\"\"1\"\"\")}"}`,
		`{"query":"{a(x:\"1 2\")}"}`, `{"query":"{a(x:\"1  2\")}"}`, `{"query":"{a(x:\"1,2\")}"}`, `{"query":"{a(x:\"1\\t2\")}"}`, `{"query":"{a(x:\"1\\\\t2\")}"}`,
		`{"query":"{a(x:\"\\u0041\")}"}`, `{"query":"{a(x:\"\\\\u0041\")}"}`,
		`{"query":"{a(x:\"\"\"1\n2\"\"\")}"}`, `{"query":"{a(x:\"\"\"1\n 2\"\"\")}"}`, `{"query":"{a(x:\"\"\"1\r\n2\"\"\")}"}`, `{"query":"{a(x:\"\"\"1#2\"\"\")}"}`,
		`{"query":"{a(x:\"\ufeff\")}"}`, `{"query":"{a b}#\ufeff"}`, `{"query":"{a b}#é"}`, `{"query":"{a b}#è"}`,
		`{"query":"{a b}","variables":null}`, `{"query":"{a b}","variables":{}}`, `{"query":"{a b}","operationName":null}`, `{"query":"{a b}","operationName":""}`,
		`{"query":"{a b}","extensions":{}}`, `{"query":"{a b}","extensions":{"x":1}}`,
		`{"query":"{a b}","variables":{"x":1}}`, `{"query":"{a b}","variables":{"x":1.0}}`, `{"query":"{a b}","variables":{"x":10e-1}}`, `{"query":"{a b}","variables":{"x":"1"}}`,
		`{"query":"{a b}","variables":{"x":[1]}}`, `{"query":"{a b}","variables":{"x":true}}`, `{"query":"{a b}","variables":{"x":"true"}}`, `{"query":"{a b}","variables":{"x":null}}`,
		`{"query":"{a b}","variables":{"X":1}}`, `{"query":"{a b}","variables":{"x":9007199254740993}}`, `{"query":"{a b}","variables":{"x":9007199254740992}}`,
		`{"query":"{a b}","variables":{"x":0}}`, `{"query":"{a b}","variables":{"x":-0}}`, `{"query":"{a b}","variables":{"x":"é"}}`, `{"query":"{a b}","variables":{"x":"e\u0301"}}`,
		`{"query":"{a b}","variables":{"x":[]}}`, `{"query":"{a b}","variables":{"x":[[]]}}`, `{"query":"{a b}","variables":{"x":{}}}`, `{"query":"{a b}","variables":{"x":"\u0000"}}`, `{"query":"{a b}","variables":{"x":"\\u0000"}}`,
		`{"query":"query A{a} query B{b}","operationName":"A"}`, `{"query":"query A{a} query B{b}","operationName":"B"}`, `{"query":"query A{a} mutation B{b}","operationName":"A"}`,
		`{"documentId":"sha256:x"}`, `{"documentId":"sha256:y"}`, `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}`, `{"query":null,"documentId":"sha256:x"}`,
	} {
		normal, ok := post(t, o, content)
		if !ok {
			t.Errorf("%s is refused", content)
		}
		if other := seen[normal]; other != "" {
			t.Errorf("%s and %s are %s", content, other, normal)
		}
		seen[normal] = content
	}
	if normal, ok := Normalize(asked("application/graphql"), []byte("{a b}")); !ok || seen[string(normal)] != "" {
		t.Errorf("%q, %v", normal, ok)
	}
}

// refusedQueries are documents of which nobody may be given a stored answer.
var refusedQueries = []string{
	"", " ", "#", "# {a}", "a", "{", "}", "{a", "{a}}", "{a)}", "{a(]}", "query", "query A", "query A {a", "{a}{b}", "{a} query B{b}", "query A{a} query B{b}",
	"mutation{a}", "mutation A{a}", "subscription{a}", "subscription A{a}", "fragment F on T{a}", "{a} mutation B{b}", "mutation B{b} {a}", "query A{a} mutation B{b}",
	"# x\nmutation{a}", "\ufeffmutation{a}", "\ufeff{a}", " \ufeff{a}", "{a\ufeff}", "{a}\ufeff", "\"\"\"about\"\"\" mutation{a}", "#\u2028 mutation{a}\n{a}", "#\rmutation{a}\n{a}", "#\x00\n{a}", "#\u0085\n{a}", "{a}\r",
	"Mutation{a}", "QUERY{a}", "type T{a:Int}", "schema{query:Q}", "extend type T{a:Int}", "query A B{a}", "query A mutation{a}", "query (mutation){a}mutation{b}", "query 1{a}", "query @{a}",
	"query A($x:Int{a}", "query{a} fragment on on T{b}", "query{a} fragment F T{b}", "query{a} fragment F on T", "query{a} fragment F($x:Int) on T{b}", "\"a\" \"b\" query{a}", "\"a\" {a}", "query{a} \"a\"",
	"{a(x:\"b)}", "{a(x:[\"b\"\"c\"])}", "{a(x:[\"\"\"\"])}", "{a(x:\"b\n\")}", "{a(x:\"\\x\")}", "{a(x:\"\\", "{a(x:\"\"\"b)}", "{a(x:\"\"\"b\\\"\"\"c\"\"\")}", "{a(x:\"\"\"b\"\"\"\")}", "{a(x:[\"\"\"b\"\"\"\"c\"])}", "{a(x:\"\"\"b\\\"c\"\"\")}", "{a(x:\"\"\"b\\\"\"\")}", "{a(x:\"\"\"b\rc\"\"\")}", "{a(x:\"\x00\")}", "{a(x:\"\"\"\x00\"\"\")}", "{a(x:\"\x7f\")}",
	"{a(x:1a)}", "{a(x:01)}", "{a(x:1.)}", "{a(x:.5)}", "{a(x:1.2.3)}", "{a(x:1.5...b)}", "{a(x:-)}", "{a(x:1e)}", "{a(x:0x1F)}", "{a(x:1_0)}", "{a(x:+1)}", "{a..b}", "{a....b}", "{a;b}", "{a?}", "{a<b}", "{é}", "{a\u00a0b}", "{a\u2028b}", "{a\x00b}", "{a\vb}", "{a'b'}", "{a`b`}", "{a/b}", "{a\\b}",
	strings.Repeat("{a", maxDepth+1) + strings.Repeat("}", maxDepth+1), strings.Repeat("{", 1<<16), strings.Repeat("[", 1<<16), "{a(x:" + strings.Repeat("[", 1<<16),
}

func TestRefusesQueries(t *testing.T) {
	for _, q := range refusedQueries {
		for _, content := range []string{quoted(q), "[" + quoted("{a}") + "," + quoted(q) + "]"} {
			if normal, ok := post(t, Options{Batches: true, Persisted: true}, content); ok {
				t.Errorf("%.100q is taken: %.100s", q, normal)
			}
		}
		if normal, ok := Normalize(asked("application/graphql"), []byte(q)); ok {
			t.Errorf("%.100q is taken: %.100s", q, normal)
		}
	}
	deep := strings.Repeat("{a", maxDepth) + strings.Repeat("}", maxDepth)
	if _, ok := post(t, Options{}, quoted(deep)); !ok {
		t.Error("the depth that is allowed is refused")
	}
}

func TestRefusesContent(t *testing.T) {
	nested := func(n int) string {
		return `{"query":"{a}","variables":` + strings.Repeat(`{"x":`, n-1) + "1" + strings.Repeat("}", n-1) + "}"
	}
	for _, content := range []string{
		``, ` `, `null`, `1`, `"{a}"`, `{a}`, `[]`, `[[{"query":"{a}"}]]`, `[{"query":"{a}"},null]`, `[{"query":"{a}"},]`, `[{"query":"{a}"}`, `{"query":"{a}"`, `{"query":"{a}"}}`, `{"query":"{a}"} {}`, `{"query":"{a}",}`, `{"query" "{a}"}`, `{query:"{a}"}`, `{'query':'{a}'}`,
		`{}`, `{"query":null}`, `{"query":1}`, `{"query":["{a}"]}`, `{"query":{}}`, `{"operationName":"A"}`,
		`{"query":"{a}","query":"{a}"}`, `{"query":"{a}","Query":"mutation{a}"}`, `{"Query":"{a}"}`, `{"QUERY":"{a}"}`, `{"query":"{a}","OperationName":"A"}`, `{"query":"{a}","other":1}`, `{"query":"{a}","id":"1"}`, `{"query":"{a}","queryId":"1"}`, `{"query":"{a}","documentId":"1"}`, `{"query":"{a}","documentId":null}`, `{"query":"{a}","":1}`,
		`{"query":"{a}","variables":{"a":1,"a":1}}`, `{"query":"{a}","variables":{"a":1,"A":2}}`, `{"query":"{a}","variables":{"a":1,"B":2,"A":3}}`, `{"query":"{a}","variables":{"k":1,"\u212a":2}}`, `{"query":"{a}","variables":{"s":{"s":1,"ſ":2}}}`, `{"query":"{a}","variables":{"a":1,"\u0061":1}}`,
		`{"query":"{a}","variables":[]}`, `{"query":"{a}","variables":"{}"}`, `{"query":"{a}","variables":1}`, `{"query":"{a}","extensions":[]}`, `{"query":"{a}","extensions":true}`, `{"query":"{a}","operationName":1}`, `{"query":"{a}","operationName":{}}`,
		`{"query":"{a}","operationName":"A"}`, `{"query":"query A{a}","operationName":"B"}`, `{"query":"subscription A{a}","operationName":"A"}`, `{"query":"query null{a} mutation B{b}","operationName":null}`, `{"query":"query A{a} query A{b}","operationName":"A"}`, `{"query":"query A{a} mutation A{b}","operationName":"A"}`, `{"query":"query A{a} mutation B{b}","operationName":"B"}`, `{"query":"query A{a} query B{b}","operationName":""}`, `{"query":"query A{a} {b}","operationName":"A"}`,
		`{"query":"{a}","variables":{"x":01}}`, `{"query":"{a}","variables":{"x":+1}}`, `{"query":"{a}","variables":{"x":.5}}`, `{"query":"{a}","variables":{"x":5.}}`, `{"query":"{a}","variables":{"x":1e}}`, `{"query":"{a}","variables":{"x":-}}`, `{"query":"{a}","variables":{"x":NaN}}`, `{"query":"{a}","variables":{"x":Infinity}}`, `{"query":"{a}","variables":{"x":nul}}`, `{"query":"{a}","variables":{"x":nulls}}`, `{"query":"{a}","variables":{"x":True}}`, `{"query":"{a}","variables":{"x":0x1}}`,
		`{"query":"{a}","variables":{"x":"\ud800"}}`, `{"query":"{a}","variables":{"x":"\udc00\ud800"}}`, `{"query":"{a}","variables":{"x":"\ud800\u0041"}}`, `{"query":"{a}","variables":{"x":"\ud800x"}}`, `{"query":"{a}","variables":{"x":"\x41"}}`, `{"query":"{a}","variables":{"x":"\u12g4"}}`, `{"query":"{a}","variables":{"x":"\u+123"}}`, `{"query":"{a}","variables":{"x":"\u12"}}`, `{"query":"{a}","variables":{"x":"\`, `{"query":"{a}","variables":{"x":"`,
		"{\"query\":\"{a}\",\"variables\":{\"x\":\"\n\"}}", "{\"query\":\"{a}\",\"variables\":{\"x\":\"\nn\"}}", "{\"query\":\"{a}\",\"variables\":{\"x\":\"\x00\"}}", "{\"query\":\"{a}\",\"variables\":{\"x\":\"\xff\"}}", "{\"query\":\"{a}\",\"variables\":{\"\xff\":1}}", "{\"query\":\"{a}\",\"variables\":{\"x\":\"\xed\xa0\x80\"}}",
		"\ufeff{\"query\":\"{a}\"}", "{\"query\":\"{a}\"}\x00", "{\"query\":\"{a}\",\u00a0\"variables\":{}}", "{\"query\":\"{a}\",\v\"variables\":{}}", `{"query":"{a}"/**/}`,
		`{"query":"{a}","extensions":{"persistedQuery":1}}`, `{"query":"{a}","extensions":{"persistedQuery":{"version":1}}}`, `{"query":"{a}","extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, `{"query":"{a}","extensions":{"persistedQuery":null}}`,
		`{"documentId":""}`, `{"documentId":1}`, `{"documentId":"x","extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, `{"extensions":{"persistedQuery":{}}}`, `{"extensions":{"persistedQuery":{"sha256Hash":1}}}`, `{"extensions":{"persistedQuery":"x"}}`,
		nested(maxDepth + 1), strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<20), strings.Repeat(`[{"query":`, 1<<18),
	} {
		if normal, ok := post(t, Options{Batches: true, Persisted: true}, content); ok {
			t.Errorf("%.100s is taken: %.100s", content, normal)
		}
	}
	if _, ok := post(t, Options{}, nested(maxDepth)); !ok {
		t.Error("the depth that is allowed is refused")
	}
}

// TestOptions: without them, neither batches nor hashes are answered.
func TestOptions(t *testing.T) {
	sum := sha256.Sum256([]byte("{a }"))
	hash := `{"persistedQuery":{"sha256Hash":"` + hex.EncodeToString(sum[:]) + `","version":1}}`
	for _, c := range []struct {
		content string
		by      Options
		always  bool
	}{
		{content: `[{"query":"{a}"},{"query":"{b}"}]`, by: Options{Batches: true}},
		{content: `[{"query":"{a}"},{"documentId":"x"}]`, by: Options{Batches: true, Persisted: true}},
		{content: `{"documentId":"x","variables":{"a":1},"operationName":"A"}`, by: Options{Persisted: true}},
		{content: `{"extensions":` + hash + `}`, by: Options{Persisted: true}},
		{content: `{"query":"{a }","extensions":` + hash + `}`, always: true},
	} {
		for _, o := range []Options{{}, {Batches: true}, {Persisted: true}, {Batches: true, Persisted: true}} {
			_, ok := post(t, o, c.content)
			if want := c.always || (o.Batches || !c.by.Batches) && (o.Persisted || !c.by.Persisted) && c.by != (Options{}); ok != want {
				t.Errorf("%s with %+v: %v", c.content, o, ok)
			}
		}
	}
	// The hash is that of the query as it is sent.
	if _, ok := post(t, Options{Persisted: true}, `{"query":"{ a}","extensions":`+hash+`}`); ok {
		t.Error("the hash of another query is taken")
	}
}

func TestRefusesRequests(t *testing.T) {
	content := []byte(`{"query":"{a}"}`)
	with := func(change func(*adapter.Request, http.Header)) *adapter.Request {
		r := asked("application/json")
		change(r, r.Header.(http.Header))
		return r
	}
	query := func(q string) *adapter.Request {
		return with(func(r *adapter.Request, _ http.Header) { r.RawQuery = q })
	}
	for name, c := range map[string]struct {
		r    *adapter.Request
		want bool
	}{
		"plain":         {asked("application/json"), true},
		"charset":       {asked(`Application/JSON ; Charset="UTF-8"`), true},
		"another one":   {asked("application/json; charset=utf-16"), false},
		"parameter":     {asked("application/json; profile=x"), false},
		"form":          {asked("application/x-www-form-urlencoded"), false},
		"response":      {asked("application/graphql-response+json"), false},
		"text":          {asked("text/plain"), false},
		"empty":         {asked(""), false},
		"malformed":     {asked("application/json;;x"), false},
		"two types":     {with(func(_ *adapter.Request, h http.Header) { h.Add("Content-Type", "application/json") }), false},
		"no type":       {with(func(_ *adapter.Request, h http.Header) { h.Del("Content-Type") }), false},
		"coding":        {with(func(_ *adapter.Request, h http.Header) { h.Set("Content-Encoding", "gzip") }), false},
		"query":         {query("op=A&x=%20"), true},
		"query of it":   {query("query=mutation{a}"), false},
		"escaped":       {query("a&%71uery"), false},
		"in other case": {query("OperationName=B"), false},
		"as an array":   {query("variables[a]=1"), false},
		"hash":          {query("extensions={}"), false},
		"id":            {query("documentId=1"), false},
		"semicolon":     {query("a;query=mutation{a}"), false},
		"malformed url": {query("a=%zz"), false},
		"as received":   {with(func(r *adapter.Request, _ http.Header) { r.Target = "/graphql?query={a}" }), false},
	} {
		if _, ok := Normalize(c.r, content); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

// TestNormalizeLeavesContent: it writes to nothing, and may run concurrently.
func TestNormalizeLeavesContent(t *testing.T) {
	content := []byte(`{"variables":{"b":1,"a":2},"query":"{a, b}"}`)
	before := string(content)
	normalize := Normalizer(Options{Batches: true})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				normal, ok := normalize(asked("application/json"), content)
				if !ok || string(normal) != `json:{"query":"{ a b }","variables":{"a":2,"b":1}}` {
					t.Errorf("%q, %v", normal, ok)
				}
				clear(normal)
			}
		})
	}
	wg.Wait()
	if string(content) != before {
		t.Errorf("%s", content)
	}
}

func TestHasErrors(t *testing.T) {
	for body, want := range map[string]bool{
		`{"data":{"a":1,"A":2}}`: false, ` {"data":{"errors":[1]},"extensions":{}}`: false, `{"data":null,"errors":null}`: false, `[{"data":1},{"data":2}]`: false,
		`{"data":null,"errors":[{"message":"x"}]}`: true, `{"errors":[]}`: true, `[{"data":1},{"errors":[{}]}]`: true, `[null]`: true, `null`: true, ``: true, `{`: true,
		"--a\r\nContent-Type: application/json\r\n\r\n{}": true, `[]`: false, `{"Errors":[]}`: false,
	} {
		if got := HasErrors([]byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func BenchmarkNormalize(b *testing.B) {
	content := []byte(quoted("query Blogs($n: Int!, $after: ID) {\n  blogs(first: $n, after: $after) {\n    id\n    title\n    author { ...Author }\n  }\n}\n\nfragment Author on User { id name email }\n"))
	content = append(content[:len(content)-1], `,"operationName":"Blogs","variables":{"n":20,"after":"YmxvZzoxMDA="}}`...)
	r := asked("application/json")
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if _, ok := Normalize(r, content); !ok {
			b.Fatal("refused")
		}
	}
}
