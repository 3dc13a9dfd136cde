package keys

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// withContent is a request for /x whose content is part of its key.
func withContent(method, content string, declared int64, fields ...string) *Request {
	h := http.Header{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h[name] = append(h[name], value)
	}
	var r Request
	r.Enter(&adapter.Request{Method: method, Scheme: "https", Host: "h", Path: "/x", Header: h})
	r.SetContent(adapter.Content{Bytes: []byte(content), Declared: declared}, nil)
	return &r
}

func TestKeyOfContent(t *testing.T) {
	m := testMaker(Policy{})
	for _, method := range []string{"GET", "QUERY", "POST"} {
		k := keyOf(t, m, withContent(method, "secret", 6, "Content-Type: text/plain"))
		if !regexp.MustCompile(`^cacheaside:2:\{` + method + `:https://h/x\|b:[0-9a-f]{64}\}$`).MatchString(k.Wire) {
			t.Errorf("%s has the key %s", method, k.Wire)
		}
	}
	// All of these differ for a handler.
	all := []*Request{
		withContent("QUERY", "", 0), withContent("QUERY", "a", 1), withContent("QUERY", "b", 1), withContent("QUERY", "a", -1), withContent("POST", "a", 1), withContent("GET", "a", 1),
		withContent("QUERY", "a", 1, "Content-Type: "), withContent("QUERY", "a", 1, "Content-Type: a"), withContent("QUERY", "a", 1, "Content-Type: A"),
		withContent("QUERY", "a", 1, "Content-Type: a", "Content-Type: b"), withContent("QUERY", "a", 1, "Content-Type: b", "Content-Type: a"), withContent("QUERY", "a", 1, "Content-Type: ab"),
		withContent("QUERY", "a", 1, "content-type: a"), withContent("QUERY", "a", 1, "Content-Type: a", "content-type: b"), withContent("QUERY", "a", 1, "content-type: a", "CONTENT-TYPE: b"),
	}
	for _, name := range contentFields[1:] {
		all = append(all, withContent("QUERY", "a", 1, name+": a"), withContent("QUERY", "a", 1, name+": "))
	}
	for _, method := range []string{"GET", "QUERY", "POST"} {
		if m, rest, ok := CutMethod(keyOf(t, m, withContent(method, "a", 1)).Primary); !ok || m != method+":" || !strings.HasPrefix(rest, "https://h/x|b:") {
			t.Errorf("the method of a key of %s is %q, %t, before %q", method, m, ok, rest)
		}
	}
	if _, _, ok := CutMethod("PUT:https://h/x"); ok {
		t.Error("PUT has keys")
	}
	seen := map[string]int{}
	for i, r := range all {
		k := keyOf(t, m, r)
		if j, ok := seen[k.Wire]; ok {
			t.Errorf("%d and %d share %s", j, i, k.Wire)
		}
		seen[k.Wire] = i
		if again := keyOf(t, m, r.Keep()); again != k {
			t.Errorf("%d: a copy has the key %s, not %s", i, again.Wire, k.Wire)
		}
	}
	// A purge knows of them by a tag alone.
	for _, method := range []string{"QUERY", "POST"} {
		for _, policy := range []Policy{{}, {IgnoreScheme: true}, {IgnoreScheme: true, IgnoreHost: true}} {
			if url := URLOf(keyOf(t, testMaker(policy), withContent(method, "a", 1)).Primary); url != "" {
				t.Errorf("the URL of a key of %s is %q", method, url)
			}
		}
	}
}

// FuzzContent: two requests with content share a key exactly if they are the same.
func FuzzContent(f *testing.F) {
	f.Add("a", int64(1), "t", "", "", "", uint8(0), "b", int64(1), "t", "", "", "", uint8(0))
	f.Add("ab", int64(-1), "t", "c", "", "", uint8(1), "b", int64(-1), "t", "ca", "", "", uint8(1))
	f.Add("", int64(0), "a", "b", "", "l", uint8(2), "", int64(0), "ab", "", "b", "l", uint8(2))
	f.Add("x", int64(1), "a", "a", "a", "a", uint8(4), "x", int64(1), "a", "a", "a", "a", uint8(12))
	m := testMaker(Policy{})
	methods := []string{"QUERY", "POST", "GET"}
	f.Fuzz(func(t *testing.T, a string, na int64, typeA, moreA, codingA, languageA string, howA uint8, b string, nb int64, typeB, moreB, codingB, languageB string, howB uint8) {
		request := func(content string, n int64, typ, more, coding, language string, how uint8) (*Request, []string) {
			same := []string{methods[int(how)%3], content, strconv.FormatInt(n, 10)}
			name := "Content-Type"
			if how&4 != 0 {
				name = "content-type"
			}
			fields := []string{name + ": " + typ}
			if more != "" {
				fields = append(fields, "Content-Type: "+more)
			}
			if coding != "" {
				fields = append(fields, "Content-Encoding: "+coding)
			}
			if language != "" {
				fields = append(fields, "Content-Language: "+language)
			}
			r := withContent(methods[int(how)%3], content, n, fields...)
			for _, field := range contentFields {
				same = append(same, "field")
				same = append(append(same, r.Lines(field)...), "as")
				if r.folded != nil {
					same = append(same, r.folded.spelling(field)...)
				}
			}
			return r, same
		}
		ra, sameA := request(a, na, typeA, moreA, codingA, languageA, howA)
		rb, sameB := request(b, nb, typeB, moreB, codingB, languageB, howB)
		ka, kb := keyOf(t, m, ra), keyOf(t, m, rb)
		if same := slices.Equal(sameA, sameB); same != (ka == kb) {
			t.Errorf("same %t: %q and %q have %s and %s", same, sameA, sameB, ka.Wire, kb.Wire)
		}
	})
}
