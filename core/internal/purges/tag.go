package purges

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
