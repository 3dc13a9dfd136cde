package coding

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Encode applies the coding. The level is one that [CheckLevel] accepts. The result is
// a new slice without spare room, and always the same for the same arguments.
func Encode(c Coding, level int, plain []byte) ([]byte, error) {
	if err := CheckLevel(c, level); err != nil {
		return nil, fmt.Errorf("coding: %w", err)
	}
	if level == 0 {
		level = levels[c].standard
	}
	switch c {
	case Gzip:
		return encodeStream(&gzipEncoders[level], func() encoder {
			w, err := gzip.NewWriterLevel(nil, level)
			if err != nil {
				panic(err) // the level was checked
			}
			return w
		}, plain)
	case Brotli:
		return encodeStream(&brotliEncoders[level], func() encoder {
			return brotli.NewWriterLevel(nil, level)
		}, plain)
	case Zstd:
		return encodeZstd(level, plain)
	}
	return rightSized(plain), nil
}

// rightSized copies b into a slice without spare room.
func rightSized(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}

// encoder is what gzip and brotli have in common.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

var (
	gzipEncoders   [10]sync.Pool // by level, of encoder
	brotliEncoders [12]sync.Pool // by level, of encoder
	zstdEncoders   [5]windows    // by zstd.EncoderLevel
	buffers        = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// maxPooled is the capacity up to which a buffer is kept for the next body.
const maxPooled = 1 << 20

func encodeStream(pool *sync.Pool, create func() encoder, plain []byte) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buf)
	w, ok := pool.Get().(encoder)
	if !ok {
		w = create()
	}
	w.Reset(buf)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("coding: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("coding: %w", err)
	}
	w.Reset(nil) // so that the pool does not hold the buffer
	pool.Put(w)
	return rightSized(buf.Bytes()), nil
}

func putBuffer(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooled {
		buf.Reset()
		buffers.Put(buf)
	}
}

// windows are the pools of zstd's encoders of one level. An encoder holds a window of
// history, so bodies that need a small one do not pay for a large one.
type windows struct{ small, large sync.Pool }

const (
	smallWindow = 1 << 20
	// maxWindow is the largest that a client must be able to hold (RFC 9659 section 3).
	maxWindow = 8 << 20
)

func encodeZstd(level int, plain []byte) ([]byte, error) {
	l := zstd.EncoderLevelFromZstd(level)
	pool, window := &zstdEncoders[l].small, smallWindow
	if len(plain) > smallWindow {
		pool, window = &zstdEncoders[l].large, maxWindow
	}
	e, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		var err error
		// The stored form has a checksum of its own.
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, fmt.Errorf("coding: %w", err)
		}
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buf)
	coded := e.EncodeAll(plain, buf.AvailableBuffer())
	pool.Put(e)
	buf.Write(coded) // in place, or what has grown too large for the buffer
	return rightSized(coded), nil
}
