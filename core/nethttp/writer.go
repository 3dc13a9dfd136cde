package nethttp

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// writer holds a response back until the handler returns, or hands it on as it
// is written. It starts in one of these modes and goes from the first to the
// second when the handler does what cannot be held back. It is never pooled: a
// handler may keep it.
type writer struct {
	inner     http.ResponseWriter
	forward   adapter.Forward
	run       *adapter.RunContext // what the handler has as its context; nil: the request's own
	passing   bool                // false: holding back
	hijacked  bool
	annotated bool
	implicit  bool        // the handler has written without WriteHeader
	head      bool        // the request is a HEAD: no body is sent, whatever is written
	reason    string      // why the response must not be stored
	before    http.Header // what outer middleware had set; nil where that is nothing, or nothing is captured
	frozen    http.Header // the header as it was when the handler sent it
	status    int         // 0: not sent yet
	length    int64       // the Content-Length that was declared; -1: none
	promised  bool        // with a 200, while the client was there
	withheld  bool        // what comes is thrown away: see Forward.Part
	body      []byte

	leave struct { // what is to be called when the response leaves, of handles further in
		mu   sync.Mutex
		list []func(adapter.Header)
		over bool
	}
}

// newWriter returns the writer that the handler gets, and its state. Hijack is
// there only where the inner writer has it, because handlers ask for it.
func newWriter(inner http.ResponseWriter, f adapter.Forward, method string) (http.ResponseWriter, *writer) {
	w := &writer{inner: inner, forward: f, passing: !f.Capture, head: method == http.MethodHead}
	if h := inner.Header(); f.Capture && len(h) > 0 {
		w.before = h.Clone()
	}
	if canHijack(inner) {
		return hijackWriter{w}, w
	}
	return w, w
}

func (w *writer) Header() http.Header { return w.inner.Header() }

// Unwrap is for http.ResponseController, which finds deadlines through it.
func (w *writer) Unwrap() http.ResponseWriter { return w.inner }

func (w *writer) WriteHeader(status int) { w.writeHeader(status, false) }

// writeHeader is WriteHeader, or what a Write without it means: that is left to the
// writer in front, which may tell the one from the other.
func (w *writer) writeHeader(status int, implicit bool) {
	switch {
	case Informational(status):
		w.inner.WriteHeader(status)
		return
	case w.status != 0:
		if w.status != status && w.reason == "" {
			w.reason = adapter.ReasonStatusTwice
		}
		if w.passing {
			w.inner.WriteHeader(status) // net/http logs it
		}
		return
	}
	w.status, w.implicit = status, implicit
	if w.passing {
		w.annotate()
		if !implicit {
			w.inner.WriteHeader(status)
		}
		return
	}
	h := w.inner.Header()
	w.frozen = h.Clone()
	length, declared := declaredLength(h)
	if w.length = length; !declared {
		w.length = -1
	}
	w.promised = declared && status == http.StatusOK && w.run != nil && !w.run.Ended()
	switch {
	case status == http.StatusSwitchingProtocols:
		w.pass(adapter.ReasonHijack)
	case len(h["Trailer"]) > 0:
		w.pass(adapter.ReasonTrailers)
	case adapter.IsEventStream(first(h, "Content-Type")):
		w.pass(adapter.ReasonStream)
	case declared && w.tooLarge(length) && !w.head:
		w.pass(adapter.ReasonTooLarge)
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
		w.writeHeader(http.StatusOK, true)
	}
	if !w.passing && w.tooLarge(int64(len(w.body))+int64(len(data))) {
		w.pass(adapter.ReasonTooLarge)
	}
	if w.withheld {
		return len(data), nil
	}
	if w.passing {
		return inner(w, data)
	}
	switch {
	case !adapter.BodyAllowed(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && int64(len(w.body)+len(data)) > w.length: // as net/http does it
		if w.reason == "" {
			w.reason = adapter.ReasonIncomplete
		}
		return 0, http.ErrContentLength
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
		w.writeHeader(http.StatusOK, true)
	}
	return io.Copy(w.inner, r)
}

func (w *writer) Flush() { _ = w.FlushError() }

// FlushError ends the holding back: the handler wants the client to see what
// there is.
func (w *writer) FlushError() error {
	if !w.passing && w.ofPart() {
		return nil
	}
	if !w.passing {
		w.pass(adapter.ReasonStream)
	} else if w.status == 0 && !w.hijacked {
		w.writeHeader(http.StatusOK, true)
	}
	return http.NewResponseController(w.inner).Flush()
}

type hijackWriter struct{ *writer }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.inner).Hijack()
	if err == nil {
		if !w.passing && w.forward.Annotate != nil { // no field is sent, but it is decided
			w.annotated = true
			w.forward.Annotate(0, httprules.Fold(w.inner.Header()), adapter.ReasonHijack)
		}
		w.passing, w.hijacked, w.reason = true, true, adapter.ReasonHijack
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

// Silent reports whether nothing was sent into w, made by [Exchange.Run].
func Silent(w http.ResponseWriter) bool {
	o := own(w)
	return o != nil && o.status == 0 && !o.hijacked
}

// Pending tells w, which holds nothing back, the status of a response that the
// framework itself sends after the middleware.
func Pending(w http.ResponseWriter, status int) {
	if w := own(w); w != nil && w.passing && w.status == 0 {
		w.status = status
		w.annotate()
	}
}

// Later ends the holding back of w, made by [Exchange.Run], into which nothing was
// sent, because the handler has returned an error: its response is made in front,
// and annotate is to be called with its status just before its header is sent.
func Later(w http.ResponseWriter) (annotate func(status int)) {
	o := own(w)
	if o == nil || o.status != 0 || o.annotated {
		return func(int) {}
	}
	o.passing, o.annotated, o.reason = true, true, adapter.ReasonHandler
	return func(status int) {
		o.annotated = false
		o.annotateAs(status)
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
	if w.ofPart() {
		w.withheld, w.reason, w.body = true, reason, nil
		return
	}
	w.passing, w.reason = true, reason
	if w.status == 0 {
		w.status, w.implicit = http.StatusOK, true
	}
	if w.frozen != nil {
		replaceHeader(w.inner.Header(), w.frozen)
	}
	w.annotate()
	if !w.implicit {
		w.inner.WriteHeader(w.status)
	}
	if len(w.body) > 0 {
		_, _ = w.inner.Write(w.body) // the handler sees the error at its next write
	}
	w.body = nil
}

// ofPart reports whether the response is one that only the cache has asked for.
func (w *writer) ofPart() bool {
	return w.forward.Part && (w.status == http.StatusPartialContent || w.status == http.StatusRequestedRangeNotSatisfiable)
}

// discard drops what a handler that panics has sent into a capture: whoever
// recovers shall not answer with its Content-Length. Fields that it has set but
// not sent stay for whoever recovers, as they would without a cache.
func (w *writer) discard() {
	if !w.passing && w.status != 0 {
		replaceHeader(w.inner.Header(), w.before)
	}
}

func (w *writer) annotate() { w.annotateAs(w.status) }

func (w *writer) annotateAs(status int) {
	if w.forward.Annotate != nil && !w.annotated {
		w.annotated = true
		h := w.inner.Header()
		fields := w.forward.Annotate(status, httprules.Fold(h), w.reason)
		deleteOdd(h, fields)
		apply(h, fields, nil)
	}
}

func (w *writer) tooLarge(n int64) bool { return w.forward.MaxBody > 0 && n > w.forward.MaxBody }

// response gives what the handler has made of it, after it has returned;
// clientGone says that it may have known that nobody waits for it. Then only a
// body of the length that it had declared before is known to be whole.
func (w *writer) response(resp *adapter.Response, clientGone bool) {
	if w.passing {
		if w.status == 0 && !w.hijacked { // the server will send an empty 200, unless somebody in front has more to say
			w.annotateAs(http.StatusOK)
		}
		*resp = adapter.Response{Status: w.status, Effective: httprules.Fold(w.inner.Header()), Sent: true, Reason: w.reason}
		return
	}
	if w.status == 0 {
		w.unwritten(resp)
		return
	}
	for name := range w.inner.Header() {
		if strings.HasPrefix(name, http.TrailerPrefix) { // trailers that were not announced
			maps.Copy(w.frozen, trailersOf(w.inner.Header()))
			w.pass(adapter.ReasonTrailers)
			if w.withheld {
				break
			}
			w.response(resp, clientGone)
			return
		}
	}
	switch {
	case w.reason != "":
	case clientGone && (!w.promised || w.length != int64(len(w.body))):
		w.reason = adapter.ReasonClientGone
	case w.length >= 0 && w.length != int64(len(w.body)) && adapter.BodyAllowed(w.status) && !w.head:
		w.reason = adapter.ReasonIncomplete
	}
	*resp = adapter.Response{
		Status: w.status, Body: w.body, Reason: w.reason, Implicit: w.implicit,
		Header: adapter.AppendAdded(resp.Header, w.before, w.frozen), Effective: httprules.Fold(w.frozen),
	}
}

// OnLeave implements adapter.Held.
func (w *writer) OnLeave(f func(adapter.Header)) bool {
	w.leave.mu.Lock()
	defer w.leave.mu.Unlock()
	if !w.leave.over {
		w.leave.list = append(w.leave.list, f)
	}
	return !w.leave.over
}

// leaving returns what is to be called as the response leaves; nothing more comes
// after that.
func (w *writer) leaving() []func(adapter.Header) {
	w.leave.mu.Lock()
	defer w.leave.mu.Unlock()
	w.leave.over = true
	return w.leave.list
}

// unwritten leaves the response to whoever is in front of the cache, as a handler
// does that returns without a word: a time-out's 504, a page made of what the
// handler has left in a context, or the server's empty 200.
func (w *writer) unwritten(resp *adapter.Response) {
	w.passing, w.reason = true, adapter.ReasonUnwritten
	w.annotateAs(0)
	*resp = adapter.Response{Effective: httprules.Fold(w.inner.Header()), Sent: true, Reason: w.reason}
}

// apply sets fields on h; their values lie in backing, if it is long enough.
func apply(h http.Header, fields adapter.Fields, backing []string) []string {
	for i, f := range fields {
		switch {
		case f.Op == adapter.OpDel:
			h[f.Name] = nil // also keeps net/http from adding its own
			continue
		case f.Op == adapter.OpAdd && i > 0 && fields[i-1].Name == f.Name, f.Op == adapter.OpAdd && len(h[f.Name]) > 0:
			h[f.Name] = append(h[f.Name], f.Value)
			continue
		}
		backing = append(backing, f.Value)
		n := len(backing)
		h[f.Name] = backing[n-1 : n : n]
	}
	return backing
}

// deleteOdd removes from h what fields replace or remove under names that are not in
// canonical form. It is called before they are applied.
func deleteOdd(h http.Header, fields adapter.Fields) {
	if len(h) == 0 {
		return
	}
	for name := range h {
		if httprules.CanonicalName(name) {
			continue
		}
		canonical := http.CanonicalHeaderKey(name)
		for i := range fields {
			if fields[i].Name == canonical && fields[i].Op != adapter.OpAdd {
				delete(h, name)
				break
			}
		}
	}
}

// deleteSpellings removes a field, whose name is given in canonical form, in all
// spellings.
func deleteSpellings(h http.Header, canonical string) {
	delete(h, canonical)
	for name := range h {
		if httprules.EqualFold(name, canonical) {
			delete(h, name)
		}
	}
}

// first is the first value of a field, in any spelling.
func first(h http.Header, canonical string) string {
	if lines := h[canonical]; len(lines) > 0 {
		return lines[0]
	}
	if lines := httprules.Fold(h)[canonical]; len(lines) > 0 {
		return lines[0]
	}
	return ""
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
	v := first(h, "Content-Length")
	if v == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}
