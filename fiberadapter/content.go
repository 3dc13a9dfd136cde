package fiberadapter

import (
	"bytes"
	"io"
	"reflect"

	"github.com/valyala/fasthttp"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// Content implements [adapter.ContentReader]. It is there already, coded as it came,
// unless the app streams it.
func (x *exchange) Content(limit int64) (adapter.Content, error) {
	req := x.c.Request()
	length := req.Header.ContentLength()
	c := adapter.Content{Declared: int64(max(length, -1))}
	x.config.of(x.c.App())
	switch {
	case x.config.forms && len(req.Header.MultipartFormBoundary()) > 0: // fasthttp has made a form of it
		return c, adapter.ErrContentUnread
	case c.Declared > limit:
		return c, adapter.ErrContentTooLong
	case req.IsBodyStream():
		if err := x.readStream(req, limit); err != nil {
			return c, err
		}
	default:
		x.content = req.Body()
	}
	switch n := int64(len(x.content)); {
	case n > limit:
		return c, adapter.ErrContentTooLong
	case n < c.Declared, length == -1 && n == 0, len(req.Header.PeekTrailerKeys()) > 0:
		return c, adapter.ErrContentUnread // somebody in front has read it, and may have passed it on otherwise
	}
	x.keyed = true
	c.Bytes = x.content
	return c, nil
}

// readStream reads a body stream, and puts one in its place that gives the same.
func (x *exchange) readStream(req *fasthttp.Request, limit int64) error {
	from, length, lines := req.BodyStream(), req.Header.ContentLength(), req.Header.Len()
	if _, ok := from.(io.Closer); ok { // it is somebody's own, which would be closed
		return adapter.ErrContentUnread
	}
	b, err := io.ReadAll(io.LimitReader(from, limit+1))
	again := io.Reader(bytes.NewReader(b))
	switch {
	case err != nil:
		again = io.MultiReader(again, failing{err})
	case int64(len(b)) > limit:
		again = io.MultiReader(again, kept(from))
		err = adapter.ErrContentTooLong
	}
	req.SetBodyStream(again, length)
	x.content, x.streamed = b, true
	if err == nil && req.Header.Len() != lines { // fasthttp puts trailers among the fields
		err = adapter.ErrContentUnread
	}
	return err
}

// kept is a stream that goes on when fasthttp has taken its own back, as it does with
// one that another takes the place of.
func kept(from io.Reader) io.Reader {
	v := reflect.ValueOf(from)
	if v.Kind() != reflect.Pointer || v.Type().Elem().PkgPath() != reflect.TypeFor[fasthttp.Request]().PkgPath() {
		return from
	}
	own := reflect.New(v.Type().Elem())
	own.Elem().Set(v.Elem())
	return own.Interface().(io.Reader)
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// repeatContent gives req the content that the request had.
func (x *exchange) repeatContent(req *fasthttp.Request) {
	b := bytes.Clone(x.content)
	if x.streamed {
		req.SetBodyStream(bytes.NewReader(b), req.Header.ContentLength())
	} else {
		req.SetBodyRaw(b)
	}
}
