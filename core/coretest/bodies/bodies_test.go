package bodies

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestKinds(t *testing.T) {
	for _, k := range Kinds {
		for _, n := range append([]int{0, 1, 2000, 3999, 4000, 5000, 8191, 100_000}, Sizes...) {
			body := k.Make(n)
			if len(body) < n || n >= 1<<10 && len(body) > n+slack {
				t.Errorf("%s(%d) has %d bytes", k.Name, n, len(body))
			}
			if !utf8.Valid(body) {
				t.Errorf("%s(%d) is no UTF-8", k.Name, n)
			}
			if again := k.Make(n); !bytes.Equal(again, body) {
				t.Errorf("%s(%d) is another every time", k.Name, n)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	var doc struct {
		Data []struct {
			ID      int
			UUID    string
			Excerpt string
			Author  struct{ Name string }
		}
	}
	if err := json.Unmarshal(JSON(30<<10), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Data) < 20 {
		t.Errorf("%d posts", len(doc.Data))
	}
	uuids := map[string]bool{}
	for _, p := range doc.Data {
		uuids[p.UUID] = true
		if p.ID == 0 || len(p.UUID) != 36 || p.Author.Name == "" || len(p.Excerpt) < 20 {
			t.Errorf("post %+v", p)
		}
	}
	if len(uuids) != len(doc.Data) {
		t.Error("UUIDs come twice")
	}
	for _, n := range Sizes {
		if !json.Valid(JSON(n)) {
			t.Errorf("JSON(%d) is none", n)
		}
	}
}

// Elements are closed in the order in which they are opened.
func TestHTML(t *testing.T) {
	for _, n := range Sizes {
		page := string(HTML(n))
		var open []string
		for rest := page; ; {
			i := strings.IndexByte(rest, '<')
			if i < 0 {
				break
			}
			tag, after, ok := strings.Cut(rest[i+1:], ">")
			if !ok {
				t.Fatalf("HTML(%d): no end of <%s", n, tag)
			}
			rest = after
			name, _, _ := strings.Cut(tag, " ")
			switch name {
			case "!DOCTYPE", "meta", "link", "img":
			case "script":
				_, rest, _ = strings.Cut(rest, "</script>")
			default:
				if closes, ok := strings.CutPrefix(name, "/"); ok {
					if len(open) == 0 || open[len(open)-1] != closes {
						t.Fatalf("HTML(%d): </%s> within %v", n, closes, open)
					}
					open = open[:len(open)-1]
				} else {
					open = append(open, name)
				}
			}
		}
		if len(open) != 0 || !strings.HasSuffix(page, "</html>\n") {
			t.Errorf("HTML(%d): %v are not closed", n, open)
		}
	}
}

func TestCSS(t *testing.T) {
	for _, n := range Sizes {
		sheet := string(CSS(n))
		depth := 0
		for _, c := range sheet {
			switch c {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth < 0 || depth > 2 {
				t.Fatalf("CSS(%d): blocks %d deep", n, depth)
			}
		}
		if depth != 0 || strings.Contains(sheet, "%d") || !strings.HasSuffix(sheet, "}\n") {
			t.Errorf("CSS(%d) ends within a block, or in none", n)
		}
	}
}

func TestVocabulary(t *testing.T) {
	if n := len(vocabulary); n < 2000 || n > 6000 {
		t.Errorf("%d words", n)
	}
}
