package purges

import "strings"

// A tag is stored with a prefix that says where it comes from:
//
//	t:blog-1000                     the handler
//	g:https://example.com|blogs     Cache-Groups of that origin (RFC 9875)
//	u://example.com/blogs?page=2    the URL of the response, where a purge of the URL cannot name its key
const (
	OfHandler = "t:"
	OfGroup   = "g:"
	OfURL     = "u:"
)

// Named is a tag as it is stored, without its prefix, and of what kind that makes it:
// "handler", "group" or "url".
func Named(stored string) (name, kind string) {
	for prefix, kind := range map[string]string{OfHandler: "handler", OfGroup: "group", OfURL: "url"} {
		if name, ok := strings.CutPrefix(stored, prefix); ok {
			return name, kind
		}
	}
	return stored, "handler"
}
