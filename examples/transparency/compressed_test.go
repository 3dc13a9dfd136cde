package transparency

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/storetest"
)

// TestCompressed plays the script once more, with a cache that compresses: what a client
// has when it has decoded an answer is what it has without the cache, whatever compression
// there is in front or behind. It takes every fourth stack, and those with compression.
func TestCompressed(t *testing.T) {
	for framework, stacks := range frameworks() {
		t.Run(framework, func(t *testing.T) {
			for i, st := range stacks {
				if i%4 != 1 && !codes(st.name) || i%16 != 1 && !storetest.Long() {
					continue
				}
				t.Run(st.name, func(t *testing.T) {
					t.Parallel()
					before := st.config
					st.config = func(p *cacheaside.Policy) {
						if before != nil {
							before(p)
						}
						p.Compression = cacheaside.CompressionPolicy{Codings: []string{"gzip"}, MinBytes: 1}
					}
					for place, build := range map[string]builder{"front": st.front, "behind": st.behind} {
						if build != nil {
							t.Run(place, func(t *testing.T) { compareDecoded(t, framework+"/"+st.name+"/"+place, st, build) })
						}
					}
				})
			}
		})
	}
}

// codes reports whether a stack has compression.
func codes(stack string) bool {
	return strings.Contains(stack, "gzip") || strings.Contains(stack, "compress") || stack == "gzhttp" || stack == "popular"
}

func compareDecoded(t *testing.T, where string, st stack, build builder) {
	with, without := start(t, st, build, true), start(t, st, build, false)
	given := map[string]answer{}
	found := 0
	for _, p := range script {
		plain, _ := without.ask(t, st, p)
		coded, status := with.ask(t, st, p)
		if c := coded["header Content-Encoding"]; c != "" && c != "gzip" || strings.HasPrefix(coded["decoded"], "not gzip") && coded["decoded"] != plain["decoded"] {
			t.Errorf("%s: Content-Encoding %q of %s: %s", p.name, c, excerpt(coded["decoded"], ""), status)
		}
		want, got := plain, coded
		if plain["header Content-Encoding"] != "" || coded["header Content-Encoding"] != "" || plain["header Vary"] != coded["header Vary"] {
			want, got = decodedOnly(plain), decodedOnly(coded)
			if want["header Etag"] != "" && got["header Etag"] != "" {
				got["header Etag"] = want["header Etag"] // of middleware in front that makes it of the bytes that it sees
			}
		}
		key := p.path + http.CanonicalHeaderKey(strings.Join(p.header, "\n"))
		if p.method == http.MethodGet {
			given[key] = want
		}
		both := pair{want, got, given[key], p.method, fromStore(status)}
		if differsByCoding(where, p.name, both) {
			continue
		}
		if text := findings(where, st, p, both); text != "" {
			if found++; found <= *most {
				t.Errorf("%s: %s\n%s", p.name, status, text)
			}
		}
	}
	if found > *most {
		t.Errorf("%d requests more (-findings)", found-*most)
	}
}

// differsByCoding reports whether two answers may differ since the cache compresses.
func differsByCoding(where, request string, p pair) bool {
	switch {
	case like("*/footer/front", where):
		// What middleware in front appends to a coded body cannot be read: it belongs behind,
		// as without a cache in front of handlers that code their bodies themselves.
		return p.hit
	case like("**/behind", where) && codes(strings.Split(where, "/")[1]):
		// Compression behind the cache has nothing to do. Without the cache it codes again what
		// the handler has coded, takes Accept-Ranges away, and holds the header back.
		return like("encoded/gzip*", request) || like("static/unknown/gzip", request) || p.with["header Accept-Ranges"] != "" && p.without["header Accept-Ranges"] == "" ||
			p.without["header X-Late"] != "" || p.method == http.MethodHead
	case where == "nethttp/timeout-handler/front":
		return like("hints*", request) // it sends the 103 with the fields of what comes after
	}
	return false
}

// decodedOnly leaves out of an answer what depends on its coding.
func decodedOnly(a answer) answer {
	out := maps.Clone(a)
	out["body"] = a["decoded"]
	out["header Etag"] = strings.NewReplacer(`-gzip"`, `"`, `-identity"`, `"`).Replace(a["header Etag"])
	vary := slices.DeleteFunc(strings.FieldsFunc(a["header Vary"], func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }),
		func(name string) bool { return name == "Accept-Encoding" })
	out["header Vary"] = strings.Join(vary, ", ")
	for _, name := range []string{"header Content-Encoding", "header Content-Length", "framing", "log"} {
		delete(out, name)
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}
