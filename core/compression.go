package cacheaside

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// CompressionPolicy says what is compressed, once, when it is stored. A client gets the
// coding it prefers (RFC 9110 section 12.5.3): the one that is stored without any work,
// another of Codings made from that and kept for a while in this process, or the response
// as the handler gave it. Handlers see Accept-Encoding: identity and run once for all
// clients. Coded responses have Vary: Accept-Encoding and, if their ETag is strong, an
// ETag of their own. The client of a miss is not kept waiting: it gets the response as it
// came.
//
// It is off by default: compression tells the length of secrets that stand beside what an
// attacker may choose in one body (BREACH), and nobody but the service knows where they
// do. A response with Cache-Control: no-transform is left as it is.
type CompressionPolicy struct {
	// Codings are the codings to use, of "zstd", "br" and "gzip". The first is the one
	// that is stored. Nil: nothing is compressed.
	Codings []string
	// MinBytes is the length of the shortest body that is compressed. Zero: 1 KiB.
	MinBytes int
	// MediaTypes are the types that are compressed: "text/html", "text/*", or "*+json" for
	// a suffix, in any case and without parameters. Nil: [CompressibleTypes].
	MediaTypes []string
	// Levels are the levels of codings: 1 to 9 for gzip, 1 to 11 for br, 1 to 22 for
	// zstd. One that is not mentioned has a level good for what is compressed once and
	// sent many times.
	Levels map[string]int
}

// CompressibleTypes are the media types of text, structured data and such fonts and images
// as are not compressed by themselves.
func CompressibleTypes() []string {
	return []string{
		"text/*", "*+json", "*+xml", "*+text", "*+yaml",
		"application/json", "application/json-seq", "application/jsonlines", "application/ndjson", "application/x-ndjson",
		"application/javascript", "application/x-javascript", "application/ecmascript", "application/typescript",
		"application/xml", "application/xml-dtd", "application/yaml", "application/x-yaml", "application/toml",
		"application/graphql", "application/sql", "application/rtf", "application/postscript", "application/wasm",
		"application/x-sh", "application/x-httpd-php", "application/x-www-form-urlencoded", "application/vnd.api+json",
		"application/vnd.apple.mpegurl", "application/x-mpegurl", "application/dash+xml",
		"application/vnd.ms-fontobject", "application/x-font-ttf", "application/x-font-opentype", "application/x-font-truetype",
		"font/ttf", "font/otf", "font/collection", "font/eot",
		"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
		"model/gltf+json", "model/obj", "application/x-protobuf", "application/protobuf",
	}
}

func (p *CompressionPolicy) clone() {
	p.Codings, p.MediaTypes, p.Levels = slices.Clone(p.Codings), slices.Clone(p.MediaTypes), maps.Clone(p.Levels)
}

func (p *CompressionPolicy) validate(wrong *problems) {
	seen := map[coding.Coding]bool{}
	for _, name := range p.Codings {
		c, ok := coding.Parse(name)
		switch {
		case !ok:
			wrong.add("Compression.Codings", `%q: use "zstd", "br" and "gzip"`, name)
		case seen[c]:
			wrong.add("Compression.Codings", "%q is there twice: name it once", name)
		}
		seen[c] = true
	}
	wrong.number("Compression.MinBytes", &p.MinBytes, 1<<10)
	if p.MediaTypes == nil {
		p.MediaTypes = CompressibleTypes()
	}
	for _, t := range p.MediaTypes {
		if !validMediaType(t) {
			wrong.add("Compression.MediaTypes", `%q: use a type without parameters, as "text/html", "text/*" or "*+json"`, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Levels)) {
		if c, ok := coding.Parse(name); !ok {
			wrong.add("Compression.Levels", `%q: use "zstd", "br" and "gzip"`, name)
		} else if err := coding.CheckLevel(c, p.Levels[name]); err != nil {
			wrong.add("Compression.Levels", "%s: %v", name, err)
		}
	}
}

// validMediaType reports whether t is a type, or a pattern of types.
func validMediaType(t string) bool {
	if suffix, ok := strings.CutPrefix(t, "*+"); ok {
		return httprules.IsToken(suffix)
	}
	kind, sub, ok := strings.Cut(t, "/")
	return ok && httprules.IsToken(kind) && kind != "*" && (sub == "*" || httprules.IsToken(sub))
}

// compression is the policy in the form in which it is asked.
type compression struct {
	codings  []coding.Coding // the first is stored; none: off
	levels   [coding.Count]int
	minBytes int
	types    map[string]bool // in lower case, also "text/*" and "*+json"
}

func (p *CompressionPolicy) prepared() compression {
	c := compression{minBytes: p.MinBytes, types: make(map[string]bool, len(p.MediaTypes))}
	for _, name := range p.Codings {
		one, _ := coding.Parse(name)
		c.codings = append(c.codings, one)
	}
	for name, level := range p.Levels {
		one, _ := coding.Parse(name)
		c.levels[one] = level
	}
	for _, t := range p.MediaTypes {
		c.types[strings.ToLower(t)] = true
	}
	return c
}

func (c *compression) on() bool { return len(c.codings) > 0 }

// compresses reports whether a Content-Type is one of those that are compressed.
func (c *compression) compresses(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(httprules.TrimOWS(mediaType))
	kind, sub, ok := strings.Cut(mediaType, "/")
	if !ok {
		return false
	}
	if c.types[mediaType] || c.types[kind+"/*"] {
		return true
	}
	i := strings.LastIndexByte(sub, '+')
	return i >= 0 && c.types["*"+sub[i:]]
}

// best is the policy's coding of highest weight, among equals the first; [coding.Identity]
// where there is none.
func (c *compression) best(accepted *coding.Accepted) coding.Coding {
	best := coding.Identity
	for i, one := range c.codings {
		if i == 0 || accepted[one] > accepted[best] {
			best = one
		}
	}
	return best
}

// recoding is what is to be done with a body before it is stored.
type recoding struct {
	to          coding.Coding // Identity: nothing
	own         bool          // it has that coding already, by the handler
	contentType string        // which the server would have guessed, and cannot of a coded body; "": there is one
}

// base is the coding in which the handler gave the response.
func (r *recoding) base() coding.Coding {
	if r.own {
		return r.to
	}
	return coding.Identity
}

// recodes says what the policy makes of a response of the handler, whose body has that
// length; -1: that is not known. Of what middleware in front says only no-transform and
// the type count: its coding is not that of the body.
func (c *compression) recodes(resp *adapter.Response, length int64, targets []string) (r recoding) {
	if !c.on() || !adapter.BodyAllowed(resp.Status) || resp.Status == http.StatusPartialContent ||
		httprules.NoTransform(resp.Effective, targets) {
		return recoding{}
	}
	if codings := resp.Header.Values("Content-Encoding"); len(codings) > 0 {
		own, known := coding.Parse(httprules.TrimOWS(codings[0]))
		if len(codings) > 1 || !known {
			return recoding{}
		}
		return recoding{to: own, own: true}
	}
	if length >= 0 && length < int64(c.minBytes) {
		return recoding{}
	}
	contentType, ok := typeOf(resp)
	if !ok && len(resp.Body) > 0 {
		contentType = http.DetectContentType(resp.Body)
		r.contentType = contentType
	}
	if !c.compresses(contentType) {
		return recoding{}
	}
	r.to = c.codings[0]
	return r
}

// typeOf is the Content-Type of a response; false: the server will guess it.
func typeOf(resp *adapter.Response) (string, bool) {
	for i := range resp.Header {
		if resp.Header[i].Name == "Content-Type" { // also if there is to be none
			return resp.Header[i].Value, true
		}
	}
	if resp.Effective != nil {
		if lines := resp.Effective.Values("Content-Type"); len(lines) > 0 {
			return lines[0], true
		}
	}
	return "", false
}

// plainly makes the handler answer without a coding, which the cache adds by itself: one
// run for all that clients accept.
func (v *visit) plainly(set http.Header) http.Header {
	if !v.c.compression.on() || v.leaves {
		return set
	}
	if set == nil {
		return plainly
	}
	set["Accept-Encoding"] = plainly["Accept-Encoding"]
	return set
}

// plainly is not written to.
var plainly = http.Header{"Accept-Encoding": {"identity"}}

// negotiated adds to the stored fields of a response that is sent in several codings what
// it needs for that.
func (r *recoding) negotiated(fields []entry.Field) []entry.Field {
	if r.to == coding.Identity {
		return fields
	}
	if r.contentType != "" {
		fields = append(fields, entry.Field{Name: "Content-Type", Value: r.contentType})
	}
	for i := range fields {
		if fields[i].Name == "Vary" && namesCoding(fields[i].Value) {
			return fields
		}
	}
	return append(fields, entry.Field{Name: "Vary", Value: "Accept-Encoding", Op: uint8(adapter.OpAdd)})
}

// namesCoding reports whether a line of Vary has Accept-Encoding among its names.
func namesCoding(vary string) bool { return httprules.Lists(vary, "Accept-Encoding") }
