package nethttp

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// mode is how far a writer is.
type mode uint8

const (
	holding    mode = iota // the response is held back
	streaming              // it is sent as it comes, and captured
	passing                // it is sent as it comes, and not captured
	discarding             // it is thrown away: see Forward.Part
)

// writer captures a response. It holds it back until the handler returns, or until that
// takes its time: then it goes from the first mode to the second, and to the third when
// the handler does what cannot be captured. It is never pooled: a handler may keep it.
type writer struct {
	inner   http.ResponseWriter
	forward adapter.Forward
	run     *adapter.RunContext // what the handler has as its context; nil: the request's own
	head    bool                // the request is a HEAD: no body is sent, whatever is written
	header  http.Header         // the handler's; nil, where nothing is captured: that of inner
	before  http.Header         // that of inner when the handler was called; nil where that was empty

	mu        sync.Mutex // between the handler and the timer
	mode      mode
	timer     *time.Timer // until which the response is held back; nil: it has not been set
	ended     bool        // the handler has returned
	panicked  any         // what somebody in front has panicked with, on the timer's goroutine
	base      http.Header // what inner's header would be if nobody had changed it
	shared    bool        // somebody behind writes to inner's header
	hijacked  bool
	annotated bool
	implicit  bool        // the handler has written without WriteHeader
	reason    string      // why the response must not be stored
	frozen    http.Header // the header as it was when the handler sent it, which inner has while it is held back
	status    int         // 0: not sent yet
	length    int64       // the Content-Length that was declared; -1: none
	promised  bool        // with a 200, while the client was there
	gone      error       // of a write to inner
	body      adapter.Buffer

	leave struct { // what is to be called when the response leaves, of handles further in
		mu   sync.Mutex
		list []func(adapter.Header)
		over bool
	}
}

const (
	// holdTime is how long more than sentAtOnce bytes of a response that is not complete
	// are held back.
	holdTime = 25 * time.Millisecond
	// sentAtOnce is what the server would still hold back itself, in its buffers.
	sentAtOnce = 4 << 10
)

// newWriter returns the writer that the handler gets, and its state. Hijack is
// there only where the inner writer has it, because handlers ask for it.
func newWriter(inner http.ResponseWriter, f adapter.Forward, method string) (http.ResponseWriter, *writer) {
	w := &writer{inner: inner, forward: f, head: method == http.MethodHead}
	if !f.Capture {
		w.mode = passing
	} else if h := inner.Header(); len(h) > 0 {
		// The timer sends inner's while the handler may write to its own.
		w.before, w.header = maps.Clone(h), h.Clone()
		w.base = w.before
	} else {
		w.header = make(http.Header)
	}
	if canHijack(inner) {
		return hijackWriter{w}, w
	}
	return w, w
}

func (w *writer) Header() http.Header {
	if w.header == nil {
		return w.inner.Header()
	}
	return w.header
}

// Unwrap is for http.ResponseController, which finds deadlines through it.
func (w *writer) Unwrap() http.ResponseWriter { return w.inner }

// lock is for what the handler calls. Of what somebody in front has panicked with, it
// hears as soon as it calls, as without a cache.
func (w *writer) lock() {
	w.mu.Lock()
	if p := w.panicked; p != nil {
		w.panicked = nil
		w.mu.Unlock()
		panic(p)
	}
}

func (w *writer) WriteHeader(status int) {
	w.lock()
	defer w.mu.Unlock()
	w.writeHeader(status, false)
}

// writeHeader is WriteHeader, or what a Write without it means: that is left to the
// writer in front, which may tell the one from the other.
func (w *writer) writeHeader(status int, implicit bool) {
	switch {
	case Informational(status):
		if w.status == 0 {
			w.handOver()
		}
		w.inner.WriteHeader(status)
		return
	case w.status != 0:
		if w.status != status {
			w.spoil(adapter.ReasonStatusTwice)
		}
		if w.mode != holding {
			w.inner.WriteHeader(status) // net/http logs it
		}
		return
	}
	w.status, w.implicit = status, implicit
	w.handOver()
	if w.mode == passing {
		if w.header != nil {
			w.frozen = w.inner.Header().Clone()
		}
		w.annotate()
		if !implicit {
			w.inner.WriteHeader(status)
		}
		return
	}
	h := w.inner.Header()
	w.frozen = h
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

// handOver makes inner's header a copy of the handler's. What somebody behind has set by
// way of a writer in front, a session for example, stays; who does that may do so again at
// any time, so the timer leaves such a header alone.
func (w *writer) handOver() {
	if w.header == nil {
		return
	}
	h := w.inner.Header()
	if len(h)+len(w.base) > 0 {
		w.merge(h)
	}
	clear(h)
	n := 0
	for _, values := range w.header {
		n += len(values)
	}
	all := make([]string, n)
	for name, values := range w.header {
		if values == nil { // which keeps net/http from adding its own
			h[name] = nil
			continue
		}
		n := copy(all, values)
		h[name] = all[:n:n]
		all = all[n:]
	}
	if w.status == 0 { // it is not the last time
		w.base = maps.Clone(h)
	}
}

// merge gives the handler's header what was changed of inner's, h, behind its back.
func (w *writer) merge(h http.Header) {
	for name, values := range h {
		old := w.base[name]
		if slices.Equal(values, old) {
			continue
		}
		w.shared = true
		switch n := len(old); {
		case slices.Equal(w.header[name], old):
			w.header[name] = slices.Clone(values)
		case len(values) > n && slices.Equal(values[:n], old):
			w.header[name] = append(w.header[name], values[n:]...)
		}
	}
	for name, old := range w.base {
		if _, ok := h[name]; !ok && slices.Equal(w.header[name], old) {
			w.shared = true
			delete(w.header, name)
		}
	}
}

// handLate gives inner what the handler has changed of its header after it was sent:
// trailers, for example.
func (w *writer) handLate() {
	if w.header == nil {
		return
	}
	h := w.inner.Header()
	for name := range w.frozen {
		if _, ok := w.header[name]; !ok {
			delete(h, name)
		}
	}
	maps.Copy(h, w.late())
}

// late are the fields that the handler has set after it had sent the header.
func (w *writer) late() (late http.Header) {
	for name, values := range w.header {
		if !slices.Equal(values, w.frozen[name]) {
			if late == nil {
				late = make(http.Header)
			}
			late[name] = values
		}
	}
	return late
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
	w.lock()
	locked := true
	defer func() {
		if locked {
			w.mu.Unlock()
		}
	}()
	if w.ended && w.mode != passing { // the response is made
		return len(data), nil
	}
	if w.status == 0 && !w.hijacked {
		w.writeHeader(http.StatusOK, true)
	}
	err := w.makeRoom(len(data))
	switch {
	case w.mode == discarding:
		return len(data), nil
	case w.mode == passing: // for good
		locked = false
		w.mu.Unlock()
		return inner(w, data)
	case err != nil:
		return 0, err
	}
	adapter.Append(&w.body, data)
	if w.mode == holding {
		w.hurry()
		return len(data), nil
	}
	if w.gone != nil {
		if w.lingers() {
			return len(data), nil
		}
		return 0, w.gone
	}
	n, err := inner(w, data)
	if w.gone = err; err != nil && w.lingers() {
		return len(data), nil
	}
	return n, err
}

// makeRoom sees to it that n bytes can be captured; else w passes, or the handler gets
// the error.
func (w *writer) makeRoom(n int) error {
	if w.mode == passing || w.mode == discarding {
		return nil
	}
	if w.tooLarge(w.body.Len() + int64(n)) {
		w.giveUp(adapter.ReasonTooLarge)
		return nil
	}
	switch {
	case !adapter.BodyAllowed(w.status):
		return http.ErrBodyNotAllowed
	case w.length >= 0 && w.body.Len()+int64(n) > w.length: // as net/http does it
		w.spoil(adapter.ReasonIncomplete)
		return http.ErrContentLength
	}
	if reason := w.body.Grow(&w.forward, n, w.length); reason != "" {
		w.giveUp(reason)
		return nil
	}
	if n > 0 && w.mode == holding && w.body.Len() > w.forward.HoldBytes {
		w.letGo()
	}
	return nil
}

// lingers reports whether the handler goes on without its client.
func (w *writer) lingers() bool { return w.forward.Linger > 0 }

// hurry sets the timer once there is something to be sent.
func (w *writer) hurry() {
	if n := w.body.Len(); w.timer == nil && w.forward.Stream != nil && !w.shared && n > sentAtOnce && n != w.length {
		w.timer = time.AfterFunc(holdTime, w.overdue)
	}
}

// overdue is called by the timer.
func (w *writer) overdue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		if p := recover(); p != nil { // not on the handler's goroutine
			w.panicked = p
			w.abandon(adapter.ReasonHandler)
		}
	}()
	if w.mode == holding && !w.ended {
		w.letGo()
	}
}

// letGo asks once whether what is held back is to be sent, and sends it.
func (w *writer) letGo() {
	ask := w.forward.Stream
	if w.forward.Stream = nil; ask == nil {
		return
	}
	if w.reason != "" {
		w.pass(w.reason)
		return
	}
	how := ask(w.status, httprules.Fold(w.frozen))
	switch {
	case how.Hold:
		return
	case how.Reason != "":
		w.pass(how.Reason)
		return
	}
	w.mode = streaming
	h := w.inner.Header()
	w.frozen = h.Clone()
	deleteOdd(h, how.Extra)
	apply(h, how.Extra, nil)
	w.gone = w.send()
	if o := outerWriter(w.inner); o != nil {
		o.overtaken()
	}
}

// overtaken lets a response go that a handle further in has let go.
func (w *writer) overtaken() {
	w.lock()
	defer w.mu.Unlock()
	if w.mode == holding && w.body.Len() > 0 {
		w.letGo()
	}
}

// outerWriter finds the writer of a handle further out that w writes to.
func outerWriter(w http.ResponseWriter) *writer {
	for {
		if o := own(w); o != nil {
			return o
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
}

// ReadFrom keeps the inner writer's fast path (sendfile) for what is not captured.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.lock()
	if w.status == 0 && !w.hijacked && w.mode == passing {
		w.writeHeader(http.StatusOK, true)
	}
	mode := w.mode
	w.mu.Unlock()
	if mode != passing {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	return io.Copy(w.inner, r)
}

func (w *writer) Flush() { _ = w.FlushError() }

// FlushError ends the holding back: the handler wants the client to see what
// there is.
func (w *writer) FlushError() error {
	w.lock()
	locked := true
	defer func() {
		if locked {
			w.mu.Unlock()
		}
	}()
	switch {
	case w.mode == discarding, w.mode == holding && w.forward.OfPart(w.status):
		return nil
	case w.mode == holding:
		w.pass(adapter.ReasonStream)
	case w.mode == streaming && w.gone != nil && w.lingers():
		return nil
	case w.mode == passing && w.status == 0 && !w.hijacked:
		w.writeHeader(http.StatusOK, true)
	}
	if w.mode == passing {
		locked = false
		w.mu.Unlock()
	}
	return http.NewResponseController(w.inner).Flush()
}

type hijackWriter struct{ *writer }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.lock()
	defer w.mu.Unlock()
	conn, rw, err := http.NewResponseController(w.inner).Hijack()
	if err == nil {
		if w.mode != passing && w.forward.Annotate != nil { // no field is sent, but it is decided
			w.annotated = true
			w.forward.Annotate(0, httprules.Fold(w.Header()), adapter.ReasonHijack)
		}
		w.abandon(adapter.ReasonHijack)
		w.hijacked = true
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

// GiveUp ends the capture of a writer that [Exchange.Run] has made, for a reason that
// only the framework can see. What the handler has sent so far goes to the client; if it
// has sent nothing, what follows still may.
func GiveUp(w http.ResponseWriter, reason string) {
	o := own(w)
	if o == nil {
		return
	}
	o.lock()
	defer o.mu.Unlock()
	switch {
	case o.mode == passing:
	case o.status == 0:
		o.mode, o.reason = passing, reason
	default:
		o.giveUp(reason)
	}
}

// Holding reports whether w, made by [Exchange.Run], keeps a response from the client.
func Holding(w http.ResponseWriter) bool {
	o := own(w)
	if o == nil {
		return false
	}
	o.lock()
	defer o.mu.Unlock()
	return o.mode == holding || o.mode == discarding
}

// Silent reports whether nothing was sent into w, made by [Exchange.Run].
func Silent(w http.ResponseWriter) bool {
	o := own(w)
	if o == nil {
		return false
	}
	o.lock()
	defer o.mu.Unlock()
	return o.status == 0 && !o.hijacked
}

// Pending tells w, which holds nothing back, the status of a response that the
// framework itself sends after the middleware.
func Pending(w http.ResponseWriter, status int) {
	o := own(w)
	if o == nil {
		return
	}
	o.lock()
	defer o.mu.Unlock()
	if o.mode == passing && o.status == 0 {
		o.status = status
		o.handOver()
		o.frozen = o.inner.Header().Clone()
		o.annotate()
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
	o.handOver()
	o.mode, o.annotated, o.reason = passing, true, adapter.ReasonHandler
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

// giveUp ends the capture, and lets everything later through.
func (w *writer) giveUp(reason string) {
	if w.mode == holding {
		w.pass(reason)
		return
	}
	w.abandon(reason)
	if w.forward.Annotate != nil {
		w.forward.Annotate(w.status, httprules.Fold(w.frozen), reason)
	}
}

// abandon drops what was captured.
func (w *writer) abandon(reason string) {
	w.mode, w.reason = passing, reason
	w.body.Drop(&w.forward)
}

// spoil says why the response must not be stored, unless that is known.
func (w *writer) spoil(reason string) {
	if w.reason == "" {
		w.reason = reason
	}
	if w.mode == streaming {
		w.giveUp(w.reason)
	}
}

// pass sends what was held back and lets everything later through.
func (w *writer) pass(reason string) {
	if w.forward.OfPart(w.status) {
		w.mode, w.reason = discarding, reason
		w.body.Drop(&w.forward)
		return
	}
	w.mode, w.reason = passing, reason
	if w.status == 0 {
		w.status, w.implicit = http.StatusOK, true
		w.handOver()
	}
	if w.frozen == nil {
		w.frozen = w.inner.Header()
	}
	h := w.frozen.Clone()
	w.annotate()
	w.frozen = h
	_ = w.send() // the handler sees the error at its next write
	w.body.Drop(&w.forward)
}

// send sends what was held back.
func (w *writer) send() error {
	if !w.implicit {
		w.inner.WriteHeader(w.status)
	}
	return writeBody(w.inner, w.body.Bytes())
}

// stop is called when the handler has ended: nothing is sent behind its back any more.
func (w *writer) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// discard drops what a handler that panics has sent into a capture: whoever
// recovers shall not answer with its Content-Length. Fields that it has set but
// not sent stay for whoever recovers, as they would without a cache.
func (w *writer) discard() {
	switch {
	case w.status == 0:
		w.handOver()
	case w.mode == holding:
		replaceHeader(w.inner.Header(), w.before)
	}
	w.body.Drop(&w.forward)
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
	w.lock()
	defer w.mu.Unlock()
	if w.mode != passing && w.status == 0 {
		w.unwritten(resp)
		return
	}
	if w.mode != passing {
		w.complete(clientGone)
	}
	if w.mode == passing {
		left := w.passedOn()
		*resp = adapter.Response{Status: w.status, Effective: left, Sent: true, Reason: w.reason}
		return
	}
	*resp = adapter.Response{
		Status: w.status, Body: w.body.Bytes(), Reason: w.reason, Implicit: w.implicit,
		Header: adapter.AppendAdded(resp.Header, w.before, w.frozen), Effective: httprules.Fold(w.frozen),
	}
	if w.mode == streaming {
		resp.Sent, resp.Left = true, httprules.Fold(w.inner.Header().Clone())
		w.handLate()
	}
	w.body = adapter.Buffer{} // the engine gives the memory back
}

// passedOn ends a response that was not captured, and gives its header.
func (w *writer) passedOn() adapter.Header {
	if w.status == 0 { // the server will send an empty 200, unless somebody in front has more to say
		w.handOver()
		if !w.hijacked {
			w.annotateAs(http.StatusOK)
		}
	} else {
		w.handLate()
	}
	return httprules.Fold(w.inner.Header())
}

// complete looks whether what was captured is whole.
func (w *writer) complete(clientGone bool) {
	if w.mode == discarding {
		return
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) { // trailers that were not announced
			if w.mode == holding {
				maps.Copy(w.inner.Header(), trailersOf(w.header))
			}
			w.giveUp(adapter.ReasonTrailers)
			return
		}
	}
	kept := w.promised && w.length == w.body.Len()
	switch {
	case w.reason != "":
	case (clientGone || w.gone != nil && !w.lingers()) && !kept:
		w.spoil(adapter.ReasonClientGone)
	case w.length >= 0 && w.length != w.body.Len() && adapter.BodyAllowed(w.status) && !w.head:
		w.spoil(adapter.ReasonIncomplete)
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
	w.mode, w.reason = passing, adapter.ReasonUnwritten
	w.handOver()
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
