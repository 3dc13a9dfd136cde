package rfc9111

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// TestCodings plays scripts of a cache that makes content codings: it stores zstd, and
// makes br and gzip of it for who accepts only these.
func TestCodings(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler))
	policy := cacheaside.RFC9111()
	policy.Compression.Codings = []string{"zstd", "br", "gzip"}
	playAll(t, codings(), policy)
}

// page is a body that is worth compressing.
var page = func() string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<title>Numbers</title>\n<ul>\n")
	for i := range 40 {
		fmt.Fprintf(&b, "<li class=\"item\" id=\"n%d\">The square of %d is %d.</li>\n", i, i, i*i)
	}
	b.WriteString("</ul>\n")
	return b.String()
}()

const html = "Content-Type: text/html"

// paged is a GET that the origin answers with the page.
var paged = get.text(page)

// zipped is the page in gzip, as an origin sends it that has not been asked for it.
var zipped = func() string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, page)
	_ = w.Close()
	return b.String()
}()

// measured is the length of the page.
var measured = fmt.Sprint("Content-Length: ", len(page))

func accepting(codings string) step { return get.with("Accept-Encoding: " + codings) }

// decodes expects the answer in a content coding, and what is within as expected otherwise.
func (s step) decodes(coding string) step {
	s.coding = coding
	return s.shows("Content-Encoding: " + coding)
}

// coded expects that of a resource that others get in other codings.
func (s step) coded(coding string) step { return s.decodes(coding).shows("Vary: ~Accept-Encoding") }

// uncoded expects an answer without one, where another client would get one.
func (s step) uncoded() step { return s.shows("!Content-Encoding", "Vary: ~Accept-Encoding") }

// untouched expects what the origin sent, which is the same for all clients.
func (s step) untouched() step { return s.shows("!Content-Encoding", "!Vary") }

// decoded undoes the coding that a step expects, and says what is wrong with it.
func (s *step) decoded(a answer) (body string, problem string) {
	if a.body == "" && (s.method == "HEAD" || a.status == 304) {
		return "", ""
	}
	var r io.Reader
	var err error
	switch src := strings.NewReader(a.body); s.coding {
	case "gzip":
		r, err = gzip.NewReader(src)
	case "br":
		r = brotli.NewReader(src)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err == nil {
			defer d.Close()
		}
		r = d
	}
	if err != nil {
		return a.body, fmt.Sprintf("the body is no %s: %v", s.coding, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return a.body, fmt.Sprintf("the body is no %s: %v", s.coding, err)
	}
	if len(a.body) > len(plain)/2 {
		return string(plain), fmt.Sprintf("%d bytes of %s are no compression of %d", len(a.body), s.coding, len(plain))
	}
	return string(plain), ""
}

// chosen is what a client gets that accepts codings: from the origin, identity where that
// is acceptable, then from the cache "zstd", "br", "gzip" or "" for identity.
func chosen(section, name, accept, coding string) script {
	hit := accepting(accept).hits()
	if coding == "" {
		hit = hit.uncoded()
	} else {
		hit = hit.coded(coding)
	}
	return script{section, name, []step{paged.gives(minute, html), hit, hit}}
}

// codes is a response that is compressed, and leaves one that is not.
func codes(section, name string, origin step, fields ...string) script {
	return script{section, name, []step{
		origin.gives(fields...).uncoded(), accepting("gzip").hits().coded("gzip"), get.hits().uncoded(),
	}}
}

func leaves(section, name string, origin step, fields ...string) script {
	return script{section, name, []step{
		origin.gives(fields...).untouched(), accepting("gzip").hits().untouched(), accepting("gzip, identity;q=0").hits().untouched(), get.hits().untouched(),
	}}
}

// matched is a conditional request for what has been compressed, with the ETag of its
// 304; "": it gets 200, in the coding given.
func matched(name, etag, accept, condition, match, coding string) script {
	asks := get
	if accept != "" {
		asks = accepting(accept)
	}
	asks = asks.with(condition).hits().shows("Vary: ~Accept-Encoding")
	switch {
	case match != "":
		asks = asks.as(304).shows("ETag: "+match, "!Content-Encoding")
	case coding != "":
		asks = asks.coded(coding)
	default:
		asks = asks.uncoded()
	}
	return script{"RFC 9110 13.1.2", name, []step{paged.gives(minute, html, "ETag: "+etag), asks}}
}

const (
	acceptEncoding = "RFC 9110 12.5.3"
	contentCoding  = "RFC 9110 8.4"
	entityTag      = "RFC 9110 8.8.3"
	codedRange     = "RFC 9110 14.2"
	ifRange        = "RFC 9110 13.1.5"
	transform      = "RFC 9110 7.7"
	digest         = "RFC 9530 2"
)

// codings are scripts about content codings that the cache makes.
func codings() []script {
	return slices.Concat(choices(), compressible(), tagged(), conditional(), coded())
}

func choices() []script {
	return []script{
		chosen(acceptEncoding, "the coding stored", "zstd", "zstd"),
		chosen(acceptEncoding, "another coding", "gzip", "gzip"),
		chosen(acceptEncoding, "a third coding", "br", "br"),
		chosen(acceptEncoding, "the coding stored among equals", "gzip, br, zstd", "zstd"),
		chosen(acceptEncoding, "the order does not matter", "zstd, br, gzip", "zstd"),
		chosen(acceptEncoding, "the highest weight", "gzip;q=0.9, br;q=0.8, zstd;q=0.7", "gzip"),
		chosen(acceptEncoding, "the highest weight, last", "zstd;q=0.1, br;q=0.2, gzip;q=0.201", "gzip"),
		chosen(acceptEncoding, "no weight is 1", "zstd;q=0.999, br", "br"),
		chosen(acceptEncoding, "any weight is acceptable", "gzip;q=0.001", "gzip"),
		chosen(acceptEncoding, "the weight 0 is not acceptable", "gzip;q=0", ""),
		chosen(acceptEncoding, "the weight 0.000 is not acceptable", "gzip;q=0.000, br;q=0.0, zstd;q=0.", ""),
		chosen(acceptEncoding, "not acceptable beside acceptable", "zstd;q=0, br;q=0, gzip", "gzip"),
		chosen(acceptEncoding, "empty", "", ""),
		chosen(acceptEncoding, "empty members", ", ,gzip,,", "gzip"),
		chosen(acceptEncoding, "identity", "identity", ""),
		chosen(acceptEncoding, "identity of a higher weight", "gzip;q=0.5, identity", ""),
		chosen(acceptEncoding, "identity of a weight, the other of the least", "identity;q=0.1, gzip;q=0.001", ""),
		chosen(acceptEncoding, "identity of a lower weight", "gzip;q=0.5, identity;q=0.4", "gzip"),
		chosen(acceptEncoding, "identity not acceptable", "gzip, identity;q=0", "gzip"),
		chosen(acceptEncoding, "nothing else acceptable", "br, *;q=0", "br"),
		chosen(acceptEncoding, "nothing else but identity", "identity;q=0.5, *;q=0", ""),
		chosen(acceptEncoding, "nothing acceptable", "*;q=0", ""),
		chosen(acceptEncoding, "nothing acceptable by name", "gzip;q=0, br;q=0, zstd;q=0, identity;q=0", ""),
		chosen(acceptEncoding, "anything", "*", "zstd"),
		chosen(acceptEncoding, "anything but", "*, zstd;q=0, br;q=0, identity;q=0", "gzip"),
		chosen(acceptEncoding, "anything less than one", "*;q=0.5, br", "br"),
		chosen(acceptEncoding, "anything more than one", "zstd;q=0.5, identity;q=0, gzip;q=0, *", "br"),
		chosen(acceptEncoding, "unknown codings", "deflate, compress, dcb, exi", ""),
		chosen(acceptEncoding, "unknown beside known", "deflate, dcz, gzip;q=0.1", "gzip"),
		chosen(acceptEncoding, "unknown and no identity", "deflate, identity;q=0", ""),
		chosen(acceptEncoding, "names have no case", "GZip", "gzip"),
		chosen(acceptEncoding, "Q has no case", "gzip;Q=0.5, br;Q=0.4", "gzip"),
		chosen(acceptEncoding, "x-gzip is gzip", "x-gzip", "gzip"),
		chosen(acceptEncoding, "x-br is nothing", "x-br", ""),
		chosen(acceptEncoding, "whitespace", " br\t;\tq=0.5 ,\tgzip ; q=0.4", "br"),
		chosen(acceptEncoding, "a weight above 1", "gzip;q=1.001", ""),
		chosen(acceptEncoding, "a weight of 2 beside a good one", "zstd;q=2, br;q=0.1", "br"),
		chosen(acceptEncoding, "a weight below 0", "gzip;q=-1", ""),
		chosen(acceptEncoding, "a weight of four digits", "gzip;q=0.1234", ""),
		chosen(acceptEncoding, "a weight that is no number", "gzip;q=high", ""),
		chosen(acceptEncoding, "no weight after q", "gzip;q=", ""),
		chosen(acceptEncoding, "another parameter", "gzip;level=9", ""),
		chosen(acceptEncoding, "a parameter behind the weight", "gzip;q=1;level=9", ""),
		chosen(acceptEncoding, "no token", `"gzip", gz ip, br/1`, ""),
		chosen(acceptEncoding, "twice", "gzip;q=0.1, br;q=0.2, gzip;q=0.3", "gzip"),
		chosen(acceptEncoding, "twice, and against itself", "gzip, gzip;q=0", ""),
		chosen(acceptEncoding, "hundreds of members", strings.Repeat("a;q=0.5, ", 400)+"gzip", "gzip"),

		{acceptEncoding, "the field is absent", []step{paged.gives(minute, html).uncoded(), get.hits().uncoded(), get.hits().uncoded()}},
		{acceptEncoding, "several lines", []step{
			paged.gives(minute, html), get.with("Accept-Encoding: gzip;q=0.5", "Accept-Encoding: br").hits().coded("br"),
			get.with("Accept-Encoding: br;q=0", "Accept-Encoding: br, gzip").hits().coded("gzip"),
		}},
		{acceptEncoding, "what a miss gets is not coded", []step{
			paged.with("Accept-Encoding: gzip, br, zstd").gives(minute, html).uncoded(), accepting("gzip, br, zstd").hits().coded("zstd"),
		}},
		{acceptEncoding, "a miss without identity", []step{
			paged.with("Accept-Encoding: gzip, identity;q=0").gives(minute, html).coded("gzip"), get.hits().uncoded(), accepting("gzip").hits().coded("gzip"),
		}},
		{acceptEncoding, "a miss without anything else", []step{
			paged.with("Accept-Encoding: br, *;q=0").gives(minute, html).coded("br"), accepting("zstd").hits().coded("zstd"), get.hits().uncoded(),
		}},
		{acceptEncoding, "a miss without anything", []step{
			paged.with("Accept-Encoding: *;q=0").gives(minute, html).uncoded(), accepting("br").hits().coded("br"),
		}},
		{acceptEncoding, "a miss without identity, and of the highest weight", []step{
			paged.with("Accept-Encoding: zstd;q=0.4, br;q=0.5, identity;q=0").gives(minute, html).coded("br"), accepting("zstd").hits().coded("zstd"),
		}},
		{acceptEncoding, "the spellings of five browsers ask the origin once", []step{
			paged.with("Accept-Encoding: gzip, deflate, br, zstd").gives(minute, html).uncoded(),
			accepting("gzip, deflate, br, zstd").hits().coded("zstd"), accepting("gzip, deflate, br").hits().coded("br"),
			accepting("gzip,deflate").hits().coded("gzip"), accepting("br;q=1.0, gzip;q=0.8, *;q=0.1").hits().coded("br"),
			accepting("identity").hits().uncoded(), get.hits().uncoded(), accepting("gzip, deflate, br, zstd").hits().coded("zstd"),
		}},
		{acceptEncoding, "the origin is asked for identity", []step{
			paged.with("Accept-Encoding: gzip, br").gives(ten, html).asks("Accept-Encoding: identity"),
			paged.with("Accept-Encoding: zstd").after(10).gives(ten, html).asks("Accept-Encoding: identity"),
			paged.after(10).gives(ten, html).asks("Accept-Encoding: identity"),
		}},
		{"4.1", "Accept-Encoding in Vary of the origin is no variant", []step{
			paged.with("Accept-Encoding: gzip").gives(minute, html, "Vary: Accept-Encoding").shows("Vary: Accept-Encoding"),
			accepting("br").hits().coded("br").shows("Vary: Accept-Encoding"), get.hits().uncoded().shows("Vary: Accept-Encoding"),
		}},
		{"4.1", "vary: accept-encoding in any case", []step{
			paged.gives(minute, html, "Vary: accept-ENCODING").shows("Vary: accept-ENCODING"), accepting("gzip").hits().decodes("gzip").shows("Vary: accept-ENCODING"),
		}},
		{"4.1", "variants are compressed each", []step{
			paged.with("X: 1").gives(minute, html, "Vary: X").shows("Vary: ~X").uncoded(), get.text(page+"2").with("X: 2").gives(minute, html, "Vary: X").uncoded(),
			accepting("gzip").with("X: 1").hits().coded("gzip").shows("Vary: ~X"), accepting("gzip").with("X: 2").hits(2).coded("gzip"), get.with("X: 3").gives(minute),
		}},
		{"4.1", "Vary: * stays", []step{
			paged.with("Accept-Encoding: gzip").gives(minute, html, "Vary: *").shows("Vary: ~*", "!Content-Encoding"), paged.with("Accept-Encoding: gzip").gives(),
		}},
	}
}

// compressible are scripts of what is compressed at all.
func compressible() []script {
	return slices.Concat(
		each([]string{
			"text/html", "text/html; charset=utf-8", "TEXT/HTML", "text/css", "text/plain", "text/javascript", "application/json",
			"application/json;charset=utf-8", "application/javascript", "application/xml", "image/svg+xml", "application/ld+json", "application/problem+json",
		}, func(kind string) script {
			return codes(contentCoding, kind+" is compressed", paged, minute, "Content-Type: "+kind)
		}),
		each([]string{
			"image/png", "image/jpeg", "image/webp", "video/mp4", "audio/mpeg", "font/woff2", "application/zip", "application/gzip",
			"application/octet-stream", "application/pdf", "multipart/mixed; boundary=text/html", "nonsense", "text",
		}, func(kind string) script {
			return leaves(contentCoding, fmt.Sprintf("%q is not compressed", kind), paged, minute, "Content-Type: "+kind)
		}),
		[]script{
			codes(contentCoding, "a body of 1,024 bytes", get.text(page[:1024]), minute, html),
			leaves(contentCoding, "a body of 1,023 bytes", get.text(page[:1023]), minute, html),
			codes(contentCoding, "a large body", get.text(strings.Repeat(page, 40)), minute, html),
			codes(contentCoding, "Content-Length is given", paged, minute, html, measured),
			codes(contentCoding, "an error is compressed", paged.code(404), minute, html),
			codes(contentCoding, "an error of the server is compressed", paged.code(500), minute, html),
			codes(contentCoding, "an answer that is not authoritative is compressed", paged.code(203), minute, html),
			leaves(contentCoding, "no type", paged, minute, "Content-Type: (none)"),
			{contentCoding, "a coding of the origin is kept as it came", []step{
				get.text(zipped).gives(minute, html, "Content-Encoding: gzip", tag).shows("Content-Encoding: gzip", "Vary: ~Accept-Encoding", tag),
				accepting("gzip").hits().shows("Content-Encoding: gzip", "Vary: ~Accept-Encoding", tag), accepting("gzip;q=0.1, br;q=0.1").hits().shows("Content-Encoding: gzip", tag),
			}},
			{contentCoding, "a coding of the origin is undone for who does not accept it", []step{
				get.text(zipped).gives(minute, html, "Content-Encoding: gzip", tag),
				get.hits().reads(page).uncoded().shows(`ETag: "a-identity"`), accepting("zstd").hits().reads(page).coded("zstd").shows(`ETag: "a-zstd"`),
				accepting("br, gzip;q=0.9").hits().reads(page).coded("br").shows(`ETag: "a-br"`), accepting("gzip").hits().shows("Content-Encoding: gzip", tag),
			}},
			{contentCoding, "x-gzip of the origin is gzip", []step{
				get.text(zipped).gives(minute, html, "Content-Encoding: x-gzip"), get.hits().reads(page).uncoded(), accepting("br").hits().reads(page).coded("br"),
			}},
			{contentCoding, "two members of gzip of the origin", []step{
				get.text(zipped+zipped).gives(minute, html, "Content-Encoding: gzip"), get.hits().reads(page + page).uncoded(), accepting("br").hits().reads(page + page).coded("br"),
			}},
			{contentCoding, "a coding of the origin that is none", []step{
				paged.gives(minute, html, "Content-Encoding: gzip", tag).shows("Content-Encoding: gzip", tag), accepting("gzip").hits().shows("Content-Encoding: gzip", tag),
				get.hits().shows("Content-Encoding: gzip", tag), accepting("zstd, identity;q=0").hits().shows("Content-Encoding: gzip", tag),
			}},
			{contentCoding, "a coding of the origin that is cut short", []step{
				get.text(zipped[:len(zipped)-5]).gives(minute, html, "Content-Encoding: gzip", tag), get.hits().shows("Content-Encoding: gzip", tag),
			}},
			{contentCoding, "unknown codings of the origin stay", []step{
				paged.gives(minute, html, "Content-Encoding: x-mine").shows("!Vary"), accepting("gzip").hits().shows("Content-Encoding: x-mine", "!Vary"), get.hits().shows("Content-Encoding: x-mine"),
			}},
			{contentCoding, "identity of the origin, which is no coding, stays", []step{
				paged.gives(minute, html, "Content-Encoding: identity"), accepting("gzip").hits().shows("Content-Encoding: identity"), get.hits().shows("Content-Encoding: identity"),
			}},
			{contentCoding, "two codings of the origin stay", []step{
				paged.gives(minute, html, "Content-Encoding: x-mine, gzip"), accepting("gzip").hits().shows("Content-Encoding: x-mine, gzip"), get.hits().shows("Content-Encoding: x-mine, gzip"),
			}},
			{contentCoding, "two lines of codings of the origin stay", []step{
				paged.gives(minute, html, "Content-Encoding: gzip", "Content-Encoding: gzip"), get.hits().shows("Content-Encoding: gzip | gzip"),
			}},
			{contentCoding, "what must not be stored is not coded", []step{
				paged.with("Accept-Encoding: gzip").gives(control("no-store"), html).shows("!Content-Encoding"),
				paged.with("Accept-Encoding: gzip").gives(control("private"), html).shows("!Content-Encoding"),
			}},
			{contentCoding, "the answer to POST is not coded", []step{
				send("POST").posting("x").text(page).with("Accept-Encoding: gzip").gives(minute, html).shows("!Content-Encoding"),
			}},
			{contentCoding, "the type stays", []step{
				paged.gives(minute, html, "Content-Language: de", "Content-Location: /x", "X-A: 1", "X-A: 2"),
				accepting("gzip").hits().coded("gzip").shows(html, "Content-Language: de", "Content-Location: /x", "X-A: 1 | 2"),
			}},
			leaves(transform, "no-transform of the origin", paged, control("max-age=60, no-transform"), html),
			leaves(transform, "No-Transform has no case", paged, control("max-age=60"), control("No-Transform"), html),
			{transform, "no-transform of a request", []step{
				paged.gives(minute, html, tag), accepting("gzip").with(control("no-transform")).hits().shows("!Content-Encoding", tag), accepting("gzip").hits().coded("gzip"),
			}},
			{transform, "no-transform of a request without identity", []step{
				paged.gives(minute, html), accepting("gzip, identity;q=0").with(control("no-transform")).hits().shows("!Content-Encoding"),
			}},
			{transform, "no-transform of a request that misses", []step{
				paged.with("Accept-Encoding: gzip, identity;q=0", control("no-transform")).gives(minute, html).shows("!Content-Encoding"), accepting("gzip").hits().coded("gzip"),
			}},
		},
		each([]string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"}, func(name string) script {
			return script{digest, name + " is that of identity", []step{
				paged.gives(minute, html, name+": sha-256=:AAAA:").shows(name + ": sha-256=:AAAA:"),
				accepting("gzip").hits().coded("gzip").shows("!" + name), accepting("zstd").hits().coded("zstd").shows("!" + name),
				get.hits().uncoded().shows(name + ": sha-256=:AAAA:"),
			}}
		}),
		[]script{
			{digest, "of a miss without identity", []step{
				paged.with("Accept-Encoding: gzip, identity;q=0").gives(minute, html, "Content-Digest: sha-256=:AAAA:").coded("gzip").shows("!Content-Digest"),
				get.hits().shows("Content-Digest: sha-256=:AAAA:"),
			}},
			{digest, "of a coding of the origin", []step{
				get.text(zipped).gives(minute, html, "Content-Encoding: gzip", "Repr-Digest: sha-256=:AAAA:"),
				accepting("gzip").hits().shows("Repr-Digest: sha-256=:AAAA:"), get.hits().reads(page).shows("!Repr-Digest"), accepting("br").hits().reads(page).coded("br").shows("!Repr-Digest"),
			}},
			{digest, "of HEAD", []step{
				paged.gives(minute, html, "Repr-Digest: sha-256=:AAAA:"), head.with("Accept-Encoding: gzip").hits().shows("!Repr-Digest"), head.hits().shows("Repr-Digest: sha-256=:AAAA:"),
			}},
		},
	)
}

// tagged are scripts of the ETags of coded answers.
func tagged() []script {
	return slices.Concat(
		each([]string{"gzip", "br", "zstd"}, func(coding string) script {
			return script{entityTag, "a strong tag tells of " + coding, []step{
				paged.gives(minute, html, tag).shows(tag), accepting(coding).hits().coded(coding).shows(`ETag: "a-` + coding + `"`), get.hits().uncoded().shows(tag),
			}}
		}),
		[]script{
			{entityTag, "an empty tag", []step{paged.gives(minute, html, `ETag: ""`), accepting("br").hits().coded("br").shows(`ETag: "-br"`)}},
			{entityTag, "a tag that ends so already", []step{
				paged.gives(minute, html, `ETag: "a-gzip"`), accepting("gzip").hits().coded("gzip").shows(`ETag: "a-gzip-gzip"`), get.hits().uncoded().shows(`ETag: "a-gzip"`),
			}},
			{entityTag, "a weak tag is that of all codings", []step{
				paged.gives(minute, html, `ETag: W/"a"`), accepting("br").hits().coded("br").shows(`ETag: W/"a"`), get.hits().uncoded().shows(`ETag: W/"a"`),
			}},
			{entityTag, "no tag", []step{paged.gives(minute, html), accepting("gzip").hits().coded("gzip").shows("!ETag")}},
			{entityTag, "of a miss without identity", []step{
				paged.with("Accept-Encoding: br, identity;q=0").gives(minute, html, tag).coded("br").shows(`ETag: "a-br"`), get.hits().shows(tag),
			}},
			{entityTag, "of HEAD", []step{
				paged.gives(minute, html, tag, measured), head.with("Accept-Encoding: gzip").hits().shows("Content-Encoding: gzip", `ETag: "a-gzip"`, "Vary: Accept-Encoding"),
				head.hits().shows("!Content-Encoding", tag, "Vary: Accept-Encoding", measured),
			}},
			{entityTag, "where nothing is compressed", []step{
				get.gives(minute, html, tag), accepting("gzip").hits().untouched().shows(tag), accepting("gzip").with(`If-None-Match: "a-gzip"`).hits().shows(tag),
			}},
		},
	)
}

func conditional() []script {
	return []script{
		matched("the tag of the coding", `"a"`, "gzip", `If-None-Match: "a-gzip"`, `"a-gzip"`, ""),
		matched("the tag of the coding that is stored", `"a"`, "zstd", `If-None-Match: "a-zstd"`, `"a-zstd"`, ""),
		matched("the tag of another coding that is accepted", `"a"`, "zstd, gzip, br", `If-None-Match: "a-gzip"`, `"a-gzip"`, ""),
		matched("the tag of a coding that is accepted no more", `"a"`, "gzip", `If-None-Match: "a-br"`, "", "gzip"),
		matched("the tag of a coding and no coding accepted", `"a"`, "", `If-None-Match: "a-gzip"`, "", ""),
		matched("the tag of a coding of weight 0", `"a"`, "br, gzip;q=0", `If-None-Match: "a-gzip"`, "", "br"),
		matched("the tag of identity", `"a"`, "gzip", `If-None-Match: "a"`, `"a"`, ""),
		matched("the tag of identity, no field", `"a"`, "", `If-None-Match: "a"`, `"a"`, ""),
		matched("the tag of identity that is not accepted", `"a"`, "gzip, identity;q=0", `If-None-Match: "a"`, "", "gzip"),
		matched("one of several tags", `"a"`, "br", `If-None-Match: "x", "a-br", "y"`, `"a-br"`, ""),
		matched("several lines of tags", `"a"`, "br", `If-None-Match: "x", "y-br", W/"z"`, "", "br"),
		matched("a weak form of the tag", `"a"`, "gzip", `If-None-Match: W/"a-gzip"`, `"a-gzip"`, ""),
		matched("an unknown coding in the tag", `"a"`, "gzip", `If-None-Match: "a-deflate"`, "", "gzip"),
		matched("a coding twice in the tag", `"a"`, "gzip", `If-None-Match: "a-gzip-gzip"`, "", "gzip"),
		matched("a coding in capitals in the tag", `"a"`, "gzip", `If-None-Match: "a-GZIP"`, "", "gzip"),
		matched("another tag", `"a"`, "gzip", `If-None-Match: "b-gzip"`, "", "gzip"),
		matched("a weak tag", `W/"a"`, "gzip", `If-None-Match: W/"a"`, `W/"a"`, ""),
		matched("a weak tag, strong in the request", `W/"a"`, "gzip", `If-None-Match: "a"`, `W/"a"`, ""),
		matched("a weak tag has no coding", `W/"a"`, "gzip", `If-None-Match: W/"a-gzip"`, "", "gzip"),
		{"RFC 9110 13.1.2", "any tag", []step{paged.gives(minute, html, tag), accepting("gzip").with("If-None-Match: *").hits().as(304).shows("Vary: Accept-Encoding", "ETag")}},
		{"RFC 9110 13.1.2", "tags of a coding of the origin", []step{
			get.text(zipped).gives(minute, html, "Content-Encoding: gzip", tag), accepting("gzip").with(`If-None-Match: "a"`).hits().as(304).shows(tag),
			accepting("br").with(`If-None-Match: "a"`).hits().reads(page).coded("br").shows(`ETag: "a-br"`), accepting("br").with(`If-None-Match: "a-br"`).hits().as(304).shows(`ETag: "a-br"`),
			get.with(`If-None-Match: "a-identity"`).hits().as(304).shows(`ETag: "a-identity"`),
		}},
		{"RFC 9110 13.1.2", "HEAD with the tag of the coding", []step{
			paged.gives(minute, html, tag), head.with("Accept-Encoding: gzip", `If-None-Match: "a-gzip"`).hits().as(304).shows(`ETag: "a-gzip"`, "Vary: Accept-Encoding"),
		}},
		{"RFC 9110 13.1.2", "If-None-Match before If-Modified-Since", []step{
			paged.gives(minute, html, tag, "Last-Modified: {now-60}"),
			accepting("gzip").with(`If-None-Match: "a-br"`, "If-Modified-Since: {start-60}").hits().coded("gzip"),
			accepting("gzip").with(`If-None-Match: "a-gzip"`, "If-Modified-Since: {start-90}").hits().as(304).shows(`ETag: "a-gzip"`),
		}},
		{"RFC 9110 13.1.2", "a stale response and the tag of a coding", []step{
			paged.gives(ten, html, tag), accepting("gzip").hits().coded("gzip"),
			accepting("gzip").after(10).with(`If-None-Match: "a-gzip"`).validates(ten, tag).as(304).asks(`If-None-Match: ~"a"`).shows(`ETag: "a-gzip"`, "Vary: ~Accept-Encoding"),
			accepting("gzip").hits().coded("gzip"),
		}},
		{"RFC 9110 13.1.3", "If-Modified-Since", []step{
			paged.gives(minute, html, "Last-Modified: {now-60}"), accepting("gzip").with("If-Modified-Since: {start-60}").hits().as(304).shows("Vary: Accept-Encoding", "!Content-Encoding"),
			accepting("gzip").with("If-Modified-Since: {start-90}").hits().coded("gzip").shows("Last-Modified: {start-60}"),
		}},
		{ifRange, "the tag of identity and its range", []step{
			paged.gives(minute, html, tag), accepting("gzip").with("Range: bytes=2-8", `If-Range: "a"`).hits().as(206).reads(page[2:9]).uncoded().shows(tag),
		}},
		{ifRange, "the tag of a coding is none of identity", []step{
			paged.gives(minute, html, tag), accepting("gzip").with("Range: bytes=2-8", `If-Range: "a-gzip"`).hits().coded("gzip").shows("!Content-Range", `ETag: "a-gzip"`),
			get.with("Range: bytes=2-8", `If-Range: "a-gzip"`).hits().uncoded().shows("!Content-Range"),
		}},
		{ifRange, "a weak tag", []step{
			paged.gives(minute, html, `ETag: W/"a"`), accepting("gzip").with("Range: bytes=2-8", `If-Range: W/"a"`).hits().coded("gzip").shows("!Content-Range"),
		}},
	}
}

// coded are scripts of what else is true of coded answers.
func coded() []script {
	return []script{
		{codedRange, "a range is one of identity", []step{
			paged.gives(minute, html, tag), accepting("gzip").hits().coded("gzip"),
			accepting("gzip, br, zstd").with("Range: bytes=2-8").hits().as(206).reads(page[2:9]).uncoded().
				shows(tag, fmt.Sprint("Content-Range: bytes 2-8/", len(page)), "Content-Length: 7"),
		}},
		{codedRange, "a suffix is one of identity", []step{
			paged.gives(minute, html), accepting("gzip").with("Range: bytes=-5").hits().as(206).reads(page[len(page)-5:]).uncoded(),
		}},
		{codedRange, "several ranges are of identity", []step{
			paged.gives(minute, html), accepting("gzip").with("Range: bytes=0-1, 8-9").hits().as(206).readsAnything().
				shows("Content-Type: ~multipart/byteranges", "!Content-Encoding", "Vary: ~Accept-Encoding"),
		}},
		{codedRange, "a range beyond the end of identity", []step{
			paged.gives(minute, html), accepting("gzip").with(fmt.Sprintf("Range: bytes=%d-", len(page))).hits().as(416).reads("").
				shows(fmt.Sprint("Content-Range: bytes */", len(page)), "!Content-Encoding"),
		}},
		{codedRange, "a range of a coding of the origin", []step{
			get.text(zipped).gives(minute, html, "Content-Encoding: gzip", tag), accepting("gzip").with("Range: bytes=2-8").hits().as(206).reads(zipped[2:9]).shows("Content-Encoding: gzip", tag),
			get.with("Range: bytes=2-8").hits().reads(page).uncoded().shows("!Content-Range"),
		}},
		{codedRange, "a range where identity is not acceptable is ignored", []step{
			paged.gives(minute, html, tag), accepting("gzip, identity;q=0").with("Range: bytes=2-8").hits().coded("gzip").shows("!Content-Range", `ETag: "a-gzip"`),
		}},
		{"RFC 9110 9.3.2", "HEAD as GET", []step{
			paged.gives(minute, html, measured), head.with("Accept-Encoding: br").hits().shows("Content-Encoding: br", "Vary: Accept-Encoding", "Content-Length"),
			head.with("Accept-Encoding: br;q=0").hits().uncoded().shows(measured),
		}},
		{"4.2.3", "Age of a coded answer", []step{paged.gives(minute, html), accepting("gzip").after(9).hits().coded("gzip").shows("Age: 9")}},
		{"4.2", "a coded answer is no fresher", []step{
			paged.gives(ten, html), accepting("gzip").after(9).hits().coded("gzip"), paged.with("Accept-Encoding: gzip").after(1).gives(ten, html).uncoded(),
		}},
		{"4.2", "a later response replaces all codings", []step{
			paged.gives(ten, html), accepting("gzip").hits().coded("gzip"), accepting("zstd").hits().coded("zstd"), get.text(page+"later").after(10).gives(ten, html),
			accepting("gzip").hits(4).coded("gzip"), accepting("zstd").hits(4).coded("zstd"), get.hits(4).uncoded(),
		}},
		{"4.2", "a later response that is not compressible replaces all codings", []step{
			paged.gives(ten, html), accepting("gzip").hits().coded("gzip"), get.after(10).gives(ten, html).untouched(), accepting("gzip").hits(3).untouched(),
		}},
		{"4.2", "a later response that is compressible", []step{
			get.gives(ten, html).untouched(), paged.after(10).gives(ten, html), accepting("gzip").hits(2).coded("gzip"),
		}},
		{"4.3.4", "a 304 makes the codings fresh", []step{
			paged.gives(ten, html, tag), accepting("gzip").hits().coded("gzip"), accepting("gzip").after(10).validates(ten, tag).coded("gzip").shows(`ETag: "a-gzip"`).asks(`If-None-Match: "a"`, "Accept-Encoding: identity"),
			accepting("gzip").hits().coded("gzip"), accepting("br").hits().coded("br"), get.hits().uncoded().shows(tag),
		}},
		{"4.3.4", "a 304 updates fields of coded answers", []step{
			paged.gives(ten, html, tag, "X-A: 1"), accepting("gzip").hits().coded("gzip"), get.after(10).validates(ten, "X-A: 2"), accepting("gzip").hits().coded("gzip").shows("X-A: 2", `ETag: "a-gzip"`),
		}},
		{"4.3.4", "a 304 has no digest for coded answers", []step{
			paged.gives(ten, html, tag), get.after(10).validates(ten, "Repr-Digest: sha-256=:AAAA:"), accepting("gzip").hits().coded("gzip").shows("!Repr-Digest"),
		}},
		{"4.2.4", "stale and coded on an error", []step{
			paged.gives(ten, html), accepting("gzip").hits().coded("gzip"), accepting("gzip").after(11).fails().stale().coded("gzip"), get.fails().stale().uncoded(),
		}},
		{"RFC 5861 3", "stale and coded while it is renewed", []step{
			paged.gives(control("max-age=10, stale-while-revalidate=60"), html), accepting("gzip").after(11).text(page+"2").renews(minute, html).coded("gzip"),
			accepting("gzip").hits(2).coded("gzip"),
		}},
		{"5.2.1.7", "only-if-cached and coded", []step{paged.gives(minute, html), accepting("gzip").with(control("only-if-cached")).hits().coded("gzip")}},
		{"5.2.1.7", "only-if-cached and nothing there", []step{accepting("gzip").with(control("only-if-cached")).refused()}},
		{"4.4", "an unsafe method invalidates all codings", []step{
			paged.gives(minute, html), accepting("gzip").hits().coded("gzip"), accepting("zstd").hits().coded("zstd"), send("POST").posting("x").gives(), accepting("gzip").with("X: 1").text(page).gives(minute, html).uncoded(),
			accepting("gzip").hits(5).coded("gzip"),
		}},
		{"4.3.5", "HEAD does not replace codings", []step{
			paged.gives(minute, html), head.with(control("no-cache"), "Accept-Encoding: gzip").text(page).gives(minute, html, measured), accepting("gzip").hits().coded("gzip"),
		}},
		{"3.1", "Set-Cookie of a coded answer", []step{
			paged.gives(minute, html, "Set-Cookie: a=1", "Set-Cookie: b=2"), accepting("gzip").hits().coded("gzip").shows("Set-Cookie: a=1 | b=2"),
		}},
	}
}
