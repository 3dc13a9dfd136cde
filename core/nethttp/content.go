package nethttp

import (
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// maxKeptContent is the largest memory of content that a pooled exchange keeps.
const maxKeptContent = 64 << 10

// Content implements [adapter.ContentReader].
func (x *Exchange) Content(limit int64) (adapter.Content, error) {
	r := x.r
	c := adapter.Content{Declared: r.ContentLength}
	switch {
	case parsed(r), len(r.Trailer) > 0:
		return c, adapter.ErrContentUnread
	case r.Body == nil || r.Body == http.NoBody:
		x.body = new(replay)
		if r.ContentLength != 0 {
			return c, adapter.ErrContentUnread
		}
		return c, nil
	case r.ContentLength > limit:
		return c, adapter.ErrContentTooLong
	}
	b := slices.Grow(x.content[:0], int(min(max(r.ContentLength, 511), limit))+1)
	b, err := readUpTo(r.Body, b, limit+1)
	x.content = b
	x.body = &replay{left: b, rest: r.Body, err: err}
	r.Body = x.body
	switch {
	case int64(len(b)) > limit:
		return c, adapter.ErrContentTooLong
	case !errors.Is(err, io.EOF):
		return c, err
	case int64(len(b)) < r.ContentLength, r.ContentLength < 0 && len(b) == 0, len(r.Trailer) > 0:
		return c, adapter.ErrContentUnread // somebody in front has read it, and may have passed it on otherwise
	}
	c.Bytes = b
	return c, nil
}

// parsed reports whether a form was read from the body in front of the cache.
func parsed(r *http.Request) bool {
	if r.MultipartForm != nil {
		return true
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch: // of others ParseForm reads no body
		return r.PostForm != nil
	}
	return len(r.PostForm) > 0
}

// readUpTo appends up to limit bytes of r to b. The error is nil if there is more.
func readUpTo(r io.Reader, b []byte, limit int64) ([]byte, error) {
	for int64(len(b)) < limit {
		if len(b) == cap(b) {
			b = slices.Grow(b, 512)
		}
		n, err := r.Read(b[len(b):min(int64(cap(b)), limit)])
		if b = b[:len(b)+n]; err != nil {
			return b, err
		}
	}
	return b, nil
}

// keptContent is the memory of the content, if nobody reads it any more: where the
// handler has been called, it may still do so.
func (x *Exchange) keptContent() []byte {
	if x.capture != nil || cap(x.content) > maxKeptContent {
		return nil
	}
	if x.body != nil {
		x.body.left = nil
	}
	return x.content[:0]
}

// replay is a body whose beginning was read already.
type replay struct {
	left []byte // of what was read
	rest io.ReadCloser
	err  error // that followed; nil: there is more
}

func (b *replay) Read(p []byte) (int, error) {
	switch {
	case len(b.left) > 0:
		n := copy(p, b.left)
		b.left = b.left[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	}
	return b.rest.Read(p)
}

// Close implements [io.Closer].
func (b *replay) Close() error {
	b.left, b.err = nil, http.ErrBodyReadAfterClose
	return b.rest.Close()
}
