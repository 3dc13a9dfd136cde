package nethttp

import (
	"net/http"
	"reflect"
	"sync"
)

// writeBody writes a body that others are given as well. A writer of middleware in
// front may work in place, although io.Writer forbids it: it gets a copy.
func writeBody(w http.ResponseWriter, body []byte) {
	switch {
	case len(body) == 0:
		return
	case keeps(w):
		_, _ = w.Write(body)
		return
	}
	b := copies.Get().(*[]byte)
	*b = append((*b)[:0], body...)
	_, _ = w.Write(*b)
	if cap(*b) <= maxCopy {
		copies.Put(b)
	}
}

var copies = sync.Pool{New: func() any { return new([]byte) }}

// maxCopy bounds what one pooled copy keeps in memory.
const maxCopy = 64 << 10

// keeps reports whether w, and every writer that it writes to, is of a package that
// is known to leave alone what it is given to write.
func keeps(w http.ResponseWriter) bool {
	for {
		switch w := w.(type) {
		case *writer:
			if !w.passing { // it copies
				return true
			}
		case hijackWriter:
			if !w.passing {
				return true
			}
		default:
			t := reflect.TypeOf(w)
			if t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			switch t.PkgPath() {
			case "net/http", "net/http/httptest", "golang.org/x/net/http2":
				return true
			case "github.com/gin-gonic/gin", "github.com/labstack/echo/v4":
			default:
				return false
			}
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}
