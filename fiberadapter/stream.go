package fiberadapter

import (
	"errors"
	"io"
	"reflect"
	"sync"
	"unsafe"

	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// A body may be a stream (SendFile, SendStream, SetBodyStreamWriter), which the server
// reads when the handler and all middleware have returned. To capture it, a reader is put
// in its place that keeps what the server, or middleware in front, reads from it. Fasthttp's
// own method would close the stream, so the field is set.

// streamAt is where a response has its stream; 0 in a fasthttp that keeps it otherwise:
// then streams are not captured.
var streamAt = func() uintptr {
	f, ok := reflect.TypeFor[fasthttp.Response]().FieldByName("bodyStream")
	if !ok || f.Type != reflect.TypeFor[io.Reader]() {
		return 0
	}
	return f.Offset
}()

func setStream(res *fasthttp.Response, r io.Reader) {
	*(*io.Reader)(unsafe.Add(unsafe.Pointer(res), streamAt)) = r
}

// streamSize is how long the stream of res is; -1: nobody knows.
func streamSize(res *fasthttp.Response) int64 {
	if n := res.Header.ContentLength(); n >= 0 {
		return int64(n)
	}
	if limited, ok := res.BodyStream().(*io.LimitedReader); ok && int64(int(limited.N)) == limited.N { // as fasthttp does it
		return limited.N
	}
	return -1
}

// teeing is for [adapter.Response].Tee. Run is closed when the stream is.
func (x *exchange) teeing(f adapter.Forward, run *adapter.RunContext) func(func([]byte, string)) func() {
	c, rerun := x.c.Context(), x.req.Rerun != nil
	return func(taken func([]byte, string)) func() {
		res := &c.Response
		t := &tee{stream: res.BodyStream(), size: streamSize(res), taken: taken, run: run}
		t.forward.MaxBody, t.forward.Memory = f.MaxBody, f.Memory
		if t.size >= 0 {
			res.Header.SetContentLength(int(t.size))
		}
		setStream(res, t)
		if rerun {
			c.SetUserValue(teeKey{}, t)
		}
		return func() { t.drain(t) }
	}
}

// teeKey is where a request that is run again has its [tee].
type teeKey struct{}

// tee reads a stream, and captures it. Like the stream it is read by one goroutine at a
// time.
type tee struct {
	stream  io.Reader
	size    int64
	forward adapter.Forward
	run     *adapter.RunContext

	mu    sync.Mutex
	taken func(body []byte, reason string) // nil: it has been called
	body  adapter.Buffer
}

func (t *tee) Read(p []byte) (n int, err error) {
	returned := false
	defer func() {
		if !returned { // it has panicked, which ends the connection
			t.end(adapter.ReasonIncomplete)
		}
	}()
	n, err = t.stream.Read(p)
	returned = true
	t.keep(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		t.end("")
	case err != nil:
		t.end(adapter.ReasonIncomplete)
	}
	return n, err
}

// Close is called by whoever has read as much as he wants.
func (t *tee) Close() error {
	if t.run != nil {
		defer t.run.Close()
	}
	if t.size >= 0 {
		t.end("") // he may have counted
	} else {
		t.end(adapter.ReasonIncomplete)
	}
	if c, ok := t.stream.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// keep captures p, while there is room.
func (t *tee) keep(p []byte) {
	t.mu.Lock()
	over := t.taken == nil
	reason := ""
	if !over && len(p) > 0 {
		if reason = t.body.Grow(&t.forward, len(p), t.size); reason == "" {
			adapter.Append(&t.body, p)
		}
	}
	t.mu.Unlock()
	if reason != "" {
		t.end(reason)
	}
}

// end tells how the capture has ended, the first time.
func (t *tee) end(reason string) {
	t.mu.Lock()
	taken, body := t.taken, t.body.Bytes()
	t.taken = nil
	if reason == "" && t.size >= 0 && t.size != t.body.Len() {
		reason = adapter.ReasonIncomplete
	}
	if reason != "" {
		t.body.Drop(&t.forward)
		body = nil
	}
	t.body = adapter.Buffer{} // the engine gives the memory back
	t.mu.Unlock()
	if taken != nil {
		taken(body, reason)
	}
}

// ended reports whether nothing is captured any more.
func (t *tee) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken == nil
}

// drain reads r, which reads from t, for nobody, until the capture has ended.
func (t *tee) drain(r io.Reader) {
	b := make([]byte, 32<<10)
	for !t.ended() {
		if _, err := r.Read(b); err != nil {
			return
		}
	}
}

// drainStream has the stream of a request captured that is run again: no server reads it.
func drainStream(c *fasthttp.RequestCtx) {
	if t, ok := c.UserValue(teeKey{}).(*tee); ok && c.Response.IsBodyStream() {
		t.drain(c.Response.BodyStream())
	}
}
