package ginadapter

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/cacheaside/cacheaside/core/nethttp"
)

const unwritten = -1

// writer gives w what gin.ResponseWriter has beyond http.ResponseWriter: a
// status that may change until something is written, and its counters.
type writer struct {
	gin.ResponseWriter // for CloseNotify and Pusher
	w                  http.ResponseWriter
	status, size       int
	set                bool // the status was set
}

func (g *writer) Header() http.Header         { return g.w.Header() }
func (g *writer) Status() int                 { return g.status }
func (g *writer) Size() int                   { return g.size }
func (g *writer) Written() bool               { return g.size != unwritten }
func (g *writer) Unwrap() http.ResponseWriter { return g.w }

func (g *writer) WriteHeader(status int) {
	switch {
	case nethttp.Informational(status) || g.Written():
		g.w.WriteHeader(status) // a second status spoils the capture
	case status > 0:
		g.status, g.set = status, true
	}
}

func (g *writer) WriteHeaderNow() {
	g.begin()
	g.letGo()
}

// begin sends the status, where Gin's writers in front of the cache only take note of
// it: they may decide about the header, a coding's for example, at the first Write.
func (g *writer) begin() {
	if !g.Written() {
		g.size = 0
		g.w.WriteHeader(g.status)
	}
}

// letGo sends what is not held back to those writers.
func (g *writer) letGo() {
	if !nethttp.Holding(g.w) {
		g.ResponseWriter.WriteHeaderNow()
	}
}

func (g *writer) Write(b []byte) (int, error) {
	g.begin()
	n, err := g.w.Write(b)
	g.size += n
	return n, err
}

func (g *writer) WriteString(s string) (int, error) {
	g.begin()
	n, err := io.WriteString(g.w, s)
	g.size += n
	return n, err
}

func (g *writer) Flush() {
	g.WriteHeaderNow()
	g.w.(http.Flusher).Flush() // nethttp's writer always has it
}

func (g *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(g.w).Hijack()
	if err == nil && !g.Written() {
		g.size = 0
	}
	return conn, rw, err
}

// finish hands on a status that was set without anything being written, and says
// whether there was one. Where nothing was set either, nothing is: middleware in
// front may have more to say.
func (g *writer) finish() (unsent bool) {
	switch {
	case g.Written():
		g.letGo()
		return false
	case !g.set && nethttp.Holding(g.w):
		return false
	case nethttp.Holding(g.w):
		g.w.WriteHeader(g.status)
		return true
	default:
		nethttp.Pending(g.w, g.status)
		g.ResponseWriter.WriteHeader(g.status)
		return false
	}
}

// informing is Gin's writer as one of net/http: 1xx responses go past Gin, which would
// take them for the final one.
type informing struct{ gin.ResponseWriter }

func (g informing) WriteHeader(status int) {
	if nethttp.Informational(status) {
		if u, ok := g.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok {
			u.Unwrap().WriteHeader(status)
		}
		return // there is no way past a writer without Unwrap
	}
	g.ResponseWriter.WriteHeader(status)
}

func (g informing) Unwrap() http.ResponseWriter { return g.ResponseWriter }
