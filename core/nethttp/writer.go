package nethttp

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/cacheaside/cacheaside/core"
)

// writer holds a response back until the handler returns, or hands it on as it
// is written. It starts in one of these modes and goes from the first to the
// second when the handler does what cannot be held back. It is never pooled: a
// handler may keep it.
type writer struct {
	inner    http.ResponseWriter
	forward  core.Forward
	run      *core.RunContext // what the handler has as its context; nil: the request's own
	passing  bool             // false: holding back
	hijacked bool
	head     bool        // the request is a HEAD: no body is sent, whatever is written
	reason   string      // why the response must not be stored
	before   http.Header // what outer middleware had set; nil when nothing is captured
	frozen   http.Header // the header as it was when the handler sent it
	status   int         // 0: not sent yet
	promised bool        // a 200 of a Content-Length, while the client was there
	body     []byte
}

// newWriter returns the writer that the handler gets, and its state. Hijack is
// there only where the inner writer has it, because handlers ask for it.
func newWriter(inner http.ResponseWriter, f core.Forward, method string) (http.ResponseWriter, *writer) {
	w := &writer{inner: inner, forward: f, passing: !f.Capture, head: method == http.MethodHead}
	if f.Capture {
		w.before = inner.Header().Clone()
	}
	if canHijack(inner) {
		return hijackWriter{w}, w
	}
	return w, w
}

func (w *writer) Header() http.Header { return w.inner.Header() }

// Unwrap is for http.ResponseController, which finds deadlines through it.
func (w *writer) Unwrap() http.ResponseWriter { return w.inner }

func (w *writer) WriteHeader(status int) {
	switch {
	case Informational(status):
		w.inner.WriteHeader(status)
		return
	case w.status != 0:
		if w.status != status && w.reason == "" {
			w.reason = core.ReasonStatusTwice
		}
		if w.passing {
			w.inner.WriteHeader(status) // net/http logs it
		}
		return
	}
	w.status = status
	if w.passing {
		w.annotate()
		w.inner.WriteHeader(status)
		return
	}
	h := w.inner.Header()
	w.frozen = h.Clone()
	length, declared := declaredLength(h)
	w.promised = declared && status == http.StatusOK && w.run != nil && !w.run.Ended()
	switch {
	case status == http.StatusSwitchingProtocols:
		w.pass(core.ReasonHijack)
	case len(h["Trailer"]) > 0:
		w.pass(core.ReasonTrailers)
	case core.IsEventStream(h.Get("Content-Type")):
		w.pass(core.ReasonStream)
	case declared && w.tooLarge(length) && !w.head:
		w.pass(core.ReasonTooLarge)
	}
}

// Informational reports whether status is that of an interim response, which
// does not end the exchange (RFC 9110 section 15.2); 101 does.
func Informational(status int) bool {
	return status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

func (w *writer) Write(b []byte) (int, error) { return write(w, b, (*writer).writeInner) }

func (w *writer) WriteString(s string) (int, error) {
	return write(w, s, func(w *writer, s string) (int, error) { return io.WriteString(w.inner, s) })
}

func (w *writer) writeInner(b []byte) (int, error) { return w.inner.Write(b) }

func write[T []byte | string](w *writer, data T, inner func(*writer, T) (int, error)) (int, error) {
	if w.status == 0 && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	if !w.passing && w.tooLarge(int64(len(w.body))+int64(len(data))) {
		w.pass(core.ReasonTooLarge)
	}
	if w.passing {
		return inner(w, data)
	}
	if !core.BodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	w.body = append(w.body, data...)
	return len(data), nil
}

// ReadFrom keeps the inner writer's fast path (sendfile) for what is not held
// back.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if !w.passing {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	if w.status == 0 && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	return io.Copy(w.inner, r)
}

func (w *writer) Flush() { _ = w.FlushError() }

// FlushError ends the holding back: the handler wants the client to see what
// there is.
func (w *writer) FlushError() error {
	if !w.passing {
		w.pass(core.ReasonStream)
	} else if w.status == 0 && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.inner).Flush()
}

type hijackWriter struct{ *writer }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.inner).Hijack()
	if err == nil {
		if !w.passing && w.forward.Annotate != nil { // no field is sent, but it is decided
			w.forward.Annotate(0, w.inner.Header(), core.ReasonHijack)
		}
		w.passing, w.hijacked, w.reason = true, true, core.ReasonHijack
	}
	return conn, rw, err
}

// canHijack looks where http.ResponseController would look.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// GiveUp ends the holding back of a writer that [Exchange.Run] has made, for a
// reason that only the framework can see. What the handler has sent so far goes
// to the client; if it has sent nothing, what follows still may.
func GiveUp(w http.ResponseWriter, reason string) {
	switch w := own(w); {
	case w == nil || w.passing:
	case w.status == 0:
		w.passing, w.reason = true, reason
	default:
		w.pass(reason)
	}
}

// Holding reports whether w, made by [Exchange.Run], holds a response back.
func Holding(w http.ResponseWriter) bool {
	o := own(w)
	return o != nil && !o.passing
}

// Pending tells w, which holds nothing back, the status of a response that the
// framework itself sends after the middleware.
func Pending(w http.ResponseWriter, status int) {
	if w := own(w); w != nil && w.passing && w.status == 0 {
		w.status = status
		w.annotate()
	}
}

func own(w http.ResponseWriter) *writer {
	switch w := w.(type) {
	case *writer:
		return w
	case hijackWriter:
		return w.writer
	}
	return nil
}

// pass sends what was held back and lets everything later through.
func (w *writer) pass(reason string) {
	w.passing, w.reason = true, reason
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.frozen != nil {
		replaceHeader(w.inner.Header(), w.frozen)
	}
	w.annotate()
	w.inner.WriteHeader(w.status)
	if len(w.body) > 0 {
		_, _ = w.inner.Write(w.body) // the handler sees the error at its next write
	}
	w.body = nil
}

// discard drops what a handler that panics has sent into a capture: whoever
// recovers shall not answer with its Content-Length. Fields that it has set but
// not sent stay for whoever recovers, as they would without a cache.
func (w *writer) discard() {
	if !w.passing && w.status != 0 {
		replaceHeader(w.inner.Header(), w.before)
	}
}

func (w *writer) annotate() {
	if w.forward.Annotate != nil {
		h := w.inner.Header()
		apply(h, w.forward.Annotate(w.status, h, w.reason), nil)
	}
}

func (w *writer) tooLarge(n int64) bool { return w.forward.MaxBody > 0 && n > w.forward.MaxBody }

// response gives what the handler has made of it, after it has returned;
// clientGone says that it may have known that nobody waits for it. Then only a
// body of the length that it had declared before is known to be whole.
func (w *writer) response(clientGone bool) *core.Response {
	if w.passing {
		if w.status == 0 && !w.hijacked { // the server will send an empty 200
			w.status = http.StatusOK
			w.annotate()
		}
		return &core.Response{Status: w.status, Effective: w.inner.Header(), Sent: true, Reason: w.reason}
	}
	for name := range w.inner.Header() {
		if strings.HasPrefix(name, http.TrailerPrefix) { // trailers that were not announced
			if w.status == 0 {
				w.status = http.StatusOK
			}
			if w.frozen != nil {
				maps.Copy(w.frozen, trailersOf(w.inner.Header()))
			}
			w.pass(core.ReasonTrailers)
			return w.response(clientGone)
		}
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.frozen == nil {
		w.frozen = w.inner.Header().Clone()
	}
	if w.frozen == nil {
		w.frozen = http.Header{}
	}
	length, declared := declaredLength(w.frozen)
	switch {
	case w.reason != "":
	case clientGone && (!w.promised || length != int64(len(w.body))):
		w.reason = core.ReasonClientGone
	case declared && length != int64(len(w.body)) && core.BodyAllowed(w.status) && !w.head:
		w.reason = core.ReasonIncomplete
	}
	if w.reason == "" {
		w.complete()
	}
	return &core.Response{
		Status: w.status, Body: w.body, Reason: w.reason,
		Header: core.Added(w.before, w.frozen), Effective: w.frozen,
	}
}

// complete adds what net/http would add on the way out, so that a HEAD and a
// hit show it too.
func (w *writer) complete() {
	if !core.BodyAllowed(w.status) || w.head && len(w.body) == 0 {
		return
	}
	if _, set := w.frozen["Content-Length"]; !set {
		w.frozen["Content-Length"] = []string{strconv.Itoa(len(w.body))}
	}
	_, typed := w.frozen["Content-Type"]
	if !typed && len(w.body) > 0 && w.frozen.Get("Content-Encoding") == "" {
		w.frozen["Content-Type"] = []string{http.DetectContentType(w.body)}
	}
}

// apply sets fields on h; their values lie in backing, if it is long enough.
func apply(h http.Header, fields core.Fields, backing []string) []string {
	for i, f := range fields {
		switch {
		case f.Op == core.OpDel:
			h[f.Name] = nil // also keeps net/http from adding its own
			continue
		case f.Op == core.OpAdd && i > 0 && fields[i-1].Name == f.Name, f.Op == core.OpAdd && len(h[f.Name]) > 0:
			h[f.Name] = append(h[f.Name], f.Value)
			continue
		}
		backing = append(backing, f.Value)
		n := len(backing)
		h[f.Name] = backing[n-1 : n : n]
	}
	return backing
}

func replaceHeader(h, with http.Header) {
	clear(h)
	maps.Copy(h, with)
}

func trailersOf(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			out[name] = values
		}
	}
	return out
}

func declaredLength(h http.Header) (int64, bool) {
	v := h.Get("Content-Length")
	n, err := strconv.ParseInt(v, 10, 64)
	return n, v != "" && err == nil
}
