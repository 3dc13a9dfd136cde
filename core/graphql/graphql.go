// Package graphql makes GraphQL requests with content cacheable. [Normalize] is for
// Requests.Content.Normalize of a policy whose Requests.Methods have POST or QUERY among
// them, and [HasErrors] for its Storing.Decide; see the example. A GET with the query in its
// URL needs neither.
//
// # What is part of the key
//
// All that a server may read of the content: query, operationName, variables and
// extensions. Two requests share a response only if they differ in nothing but
//
//   - white space, line ends, commas and comments between the tokens of the query, which
//     mean nothing (Insignificant Commas, White Space, Line Terminators and Comments in
//     section 2.1 of the GraphQL specification, October 2021 and September 2025),
//   - white space and the order of members in the JSON around it, and how characters are
//     escaped there (RFC 8259). Numbers are compared as they are written.
//
// Strings and block strings are kept as they are. So are comments that are not all ASCII,
// which some servers refuse.
//
// # What is refused
//
// The cache leaves alone what the function refuses, as it does without it: the handler
// answers. A POST is unsafe then, so a successful one invalidates what is stored for its URL
// (RFC 9111 section 4.4). That is what a mutation should do, and the reason to purge by tags
// where it changes what other URLs show. Refused are
//
//   - mutations and subscriptions: what counts is the operation that operationName selects
//     (section 6.1), and where that cannot be told, the request is refused;
//   - documents that are not executable, or have something in which servers are known to
//     see other tokens than the specification does: a carriage return alone, a byte order
//     mark, a quote right behind a string, or after a backslash in a block string;
//   - content that is not strictly what it should be:
//     other members, members twice (in any case of their letters), invalid UTF-8, lone
//     surrogates, more than 128 levels;
//   - batches, and queries named by a hash or an identifier alone, unless [Options] say
//     otherwise. A hash beside its query (extensions.persistedQuery) must be the right one;
//   - a URL with query, operationName or the like as a parameter, which some servers prefer
//     to the content;
//   - another media type than application/json and application/graphql (whose content is the
//     query), and a content coding.
//
// # Errors
//
// A response with errors says where in the document they are, which is not the document of
// everybody it is shared with, and a server may refuse a document for its length or for a
// comment that another client has not sent. So store none that has errors: with
// [HasErrors], or by Cache-Control: no-store from the server.
package graphql

import (
	"mime"
	"net/url"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Options change what [Normalizer] takes.
type Options struct {
	// Batches lets an array of requests be answered, with one key for all of them, if each
	// one would be. False: batches are refused.
	Batches bool
	// Persisted says that the server runs nothing but queries by their hash or identifier:
	// then a request may have extensions.persistedQuery or documentId instead of query.
	// False: it is refused, since a hash does not tell a mutation. The answer that a hash
	// is not known is an error like others, see Errors above.
	Persisted bool
}

// Normalize is [Normalizer] without options.
func Normalize(r *adapter.Request, content []byte) (normal []byte, ok bool) {
	return Options{}.normalize(r, content)
}

// Normalizer returns a function for Requests.Content.Normalize. It may be called
// concurrently, and keeps nothing of what it is given.
func Normalizer(o Options) func(r *adapter.Request, content []byte) (normal []byte, ok bool) {
	return o.normalize
}

// The beginning of a normal form says what the content was.
const (
	asJSON    = "json:"
	asGraphQL = "graphql:"
)

func (o Options) normalize(r *adapter.Request, content []byte) ([]byte, bool) {
	media, ok := mediaType(r.Header)
	_, received, _ := strings.Cut(r.Target, "?")
	if !ok || !plainURL(r.RawQuery) || !plainURL(received) {
		return nil, false
	}
	switch media {
	case "application/json":
		v, ok := parseJSON(content)
		if !ok {
			return nil, false
		}
		return o.body(append(make([]byte, 0, len(asJSON)+len(content)+16), asJSON...), v)
	case "application/graphql":
		doc, ok := parseDocument(string(content))
		if !ok || !doc.isQuery("") {
			return nil, false
		}
		return append([]byte(asGraphQL), doc.normal...), true
	}
	return nil, false
}

// mediaType returns the media type of content that is UTF-8 without a coding.
func mediaType(h adapter.Header) (string, bool) {
	types := h.Values("Content-Type")
	if len(types) != 1 || len(h.Values("Content-Encoding")) > 0 {
		return "", false
	}
	media, parameters, err := mime.ParseMediaType(types[0])
	if err != nil {
		return "", false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return "", false
		}
	}
	return media, true
}

// members are those of a request: the four of the GraphQL over HTTP specification
// (section 5.3, Request Parameters), and that of persisted documents.
var members = map[string]bool{"query": true, "operationName": true, "variables": true, "extensions": true, "documentId": true}

// plainURL reports whether a URL's query has no parameter that a server may take for one
// of the request.
func plainURL(query string) bool {
	if query == "" {
		return true
	}
	values, err := url.ParseQuery(query) // a ';' is an error, as it separates for some servers
	if err != nil {
		return false
	}
	for name := range values {
		name, _, _ = strings.Cut(name, "[") // as an array
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "query", "operationname", "variables", "extensions", "documentid", "id", "queryid", "doc_id", "doc", "hash", "batch":
			return false
		}
	}
	return true
}

// body appends the normal form of a request, or of several.
func (o Options) body(b []byte, v value) ([]byte, bool) {
	switch v.kind {
	case kindObject:
		return o.request(b, v)
	case kindArray:
		if !o.Batches || len(v.elements) == 0 {
			return nil, false
		}
		b = append(b, '[')
		for i, e := range v.elements {
			if i > 0 {
				b = append(b, ',')
			}
			var ok bool
			if b, ok = o.request(b, e); !ok {
				return nil, false
			}
		}
		return append(b, ']'), true
	}
	return nil, false
}

// request replaces the query by its normal form. All else is part of the key as it is.
func (o Options) request(b []byte, v value) ([]byte, bool) {
	if v.kind != kindObject {
		return nil, false
	}
	for _, m := range v.members {
		if !members[m.name] {
			return nil, false
		}
	}
	operation := v.member("operationName")
	if !operation.is(kindString, kindNull) || !v.member("variables").is(kindObject, kindNull) || !v.member("extensions").is(kindObject, kindNull) {
		return nil, false
	}
	query := v.member("query")
	if query == nil || query.kind == kindNull {
		if !o.Persisted || !persisted(v) {
			return nil, false
		}
		return appendJSON(b, v), true
	}
	if query.kind != kindString || v.member("documentId") != nil || !hashes(v, query.text) {
		return nil, false
	}
	var name string
	if operation != nil && operation.kind == kindString {
		name = operation.text
	}
	doc, ok := parseDocument(query.text)
	if !ok || !doc.isQuery(name) {
		return nil, false
	}
	query.text = doc.normal
	return appendJSON(b, v), true
}
