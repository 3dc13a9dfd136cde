package inspect

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// The shell is public: it holds no data. uPlot is version 1.6.32 as npm has it.
var (
	//go:embed web/index.html
	indexHTML []byte
	//go:embed web/inspect.js
	inspectJS []byte
	//go:embed web/inspect.css
	inspectCSS []byte
	//go:embed web/uplot.js
	uplotJS []byte
	//go:embed web/uplot.css
	uplotCSS []byte
	//go:embed web/uplot.LICENSE
	uplotLicense []byte
)

type asset struct {
	contentType string
	body        []byte
}

var assets = map[string]asset{
	"":              {"text/html; charset=utf-8", indexHTML},
	"inspect.js":    {"text/javascript; charset=utf-8", inspectJS},
	"inspect.css":   {"text/css; charset=utf-8", inspectCSS},
	"uplot.js":      {"text/javascript; charset=utf-8", uplotJS},
	"uplot.css":     {"text/css; charset=utf-8", uplotCSS},
	"uplot.LICENSE": {"text/plain; charset=utf-8", uplotLicense},
}

const csp = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// always is sent with everything.
var always = adapter.Fields{
	{Name: "Cache-Control", Value: "no-store"},
	{Name: "Content-Security-Policy", Value: csp},
	{Name: "Cross-Origin-Opener-Policy", Value: "same-origin"},
	{Name: "Cross-Origin-Resource-Policy", Value: "same-origin"},
	{Name: "Referrer-Policy", Value: "no-referrer"},
	{Name: "X-Content-Type-Options", Value: "nosniff"},
}

func respond(status int, contentType string, body []byte, more ...adapter.Field) *adapter.Response {
	h := make(adapter.Fields, 0, len(always)+1+len(more))
	h = append(append(h, always...), adapter.Field{Name: "Content-Type", Value: contentType})
	return &adapter.Response{Status: status, Header: append(h, more...), Body: body}
}

// within gives what of a path is the inspector's: "api/status", or the name of an asset.
// The rest is its mount, which nobody has to name: the page uses relative URLs. A path
// that has no slash at its end is redirected to one that has.
func within(path string) (name string, redirect bool) {
	i := strings.LastIndexByte(path, '/')
	last := path[i+1:]
	if _, ok := assets[last]; ok {
		return last, false
	}
	if strings.HasSuffix(path[:max(i, 0)], "/api") { // perhaps the mount is below an /api/, too
		return "api/" + last, false
	}
	return last, !strings.Contains(last, ".") && last != "api"
}

func shell(req *adapter.Request, name string, redirect bool) *adapter.Response {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return wrongMethod("GET, HEAD")
	}
	if redirect {
		// The "./" keeps the segment from being read as a scheme or a host.
		return respond(http.StatusPermanentRedirect, "text/plain; charset=utf-8", nil, adapter.Field{Name: "Location", Value: "./" + name + "/"})
	}
	a, ok := assets[name]
	if !ok {
		return failure(http.StatusNotFound, "there is nothing here: the page is at the path with a slash at its end")
	}
	return respond(http.StatusOK, a.contentType, a.body)
}
