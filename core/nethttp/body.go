package nethttp

import (
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"
)

// writeBody writes a body that others are given as well. A writer of middleware in
// front may work in place, although io.Writer forbids it: it gets copies.
func writeBody(w http.ResponseWriter, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	if keeps(w) {
		_, err := w.Write(body)
		return err
	}
	b := copies.Get().(*[]byte)
	defer copies.Put(b)
	for len(body) > 0 {
		n := min(len(body), maxCopy)
		*b = append((*b)[:0], body[:n]...)
		if _, err := w.Write(*b); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

var copies = sync.Pool{New: func() any { return new([]byte) }}

// maxCopy bounds what one pooled copy keeps in memory.
const maxCopy = 64 << 10

// keeps reports whether w, and every writer that it writes to, is of a package that
// is known to leave alone what it is given to write.
func keeps(w http.ResponseWriter) bool {
	for {
		switch kindOf(w) {
		case lastWriter:
			return true
		case unknownWriter:
			return false
		}
		w = w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
	}
}

// writerKind is what there is to know of a type of writers.
type writerKind uint8

const (
	unknownWriter writerKind = iota
	lastWriter               // a server's own, or a recorder
	innerWriter              // a framework's, around another one
	ownWriter                // of this package: it copies, or hands on
)

// kinds remembers the kinds of types, by the address of the type: a process has a
// handful.
var kinds [64]atomic.Pointer[kindItem]

type kindItem struct {
	at   uintptr
	kind writerKind
}

func kindOf(w http.ResponseWriter) writerKind {
	e := any(w)
	at := *(*uintptr)(unsafe.Pointer(&e)) // the type's word of an interface
	slot := &kinds[at>>5%uintptr(len(kinds))]
	if it := slot.Load(); it != nil && it.at == at {
		return it.kind
	}
	kind := judgeWriter(w)
	slot.Store(&kindItem{at, kind})
	return kind
}

func judgeWriter(w http.ResponseWriter) writerKind {
	if own(w) != nil {
		return ownWriter
	}
	t := reflect.TypeOf(w)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, wraps := w.(interface{ Unwrap() http.ResponseWriter })
	switch path := t.PkgPath(); {
	case path == "net/http", path == "net/http/httptest", path == "golang.org/x/net/http2", path == "github.com/cacheaside/cacheaside/core/coretest":
		return lastWriter
	case wraps && (path == "github.com/gin-gonic/gin" || path == "github.com/labstack/echo/v4"):
		return innerWriter
	}
	return unknownWriter
}
