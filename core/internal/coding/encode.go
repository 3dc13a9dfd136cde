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
	pools := &encoders[c].small
	if len(plain) >= large {
		pools = &encoders[c].large
	}
	switch c {
	case Gzip, Brotli:
		return encodeStream(c, level, &pools[level], plain)
	case Zstd:
		return encodeZstd(zstd.EncoderLevelFromZstd(level), pools, plain)
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

// large is the size from which bodies have encoders of their own. One of zstd holds a
// window of history, which small bodies need not pay for. One of br chooses its tables by
// the size of its first body and keeps them, so that what it makes of a small one would
// depend on what came before.
const large = 1 << 20

// maxLevel is the highest level of all.
const maxLevel = 22

// encoders are the pools, by level: of encoder, of zstd by zstd.EncoderLevel and of
// *zstd.Encoder.
var encoders [Count]struct{ small, large [maxLevel + 1]sync.Pool }

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the capacity up to which a buffer is kept for the next body.
const maxPooled = 1 << 20

func encodeStream(c Coding, level int, pool *sync.Pool, plain []byte) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buf)
	w, ok := pool.Get().(encoder)
	if !ok {
		var err error
		if w, err = newEncoder(c, level); err != nil {
			return nil, fmt.Errorf("coding: %w", err)
		}
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

func newEncoder(c Coding, level int) (encoder, error) {
	if c == Brotli {
		return brotli.NewWriterLevel(nil, level), nil
	}
	return gzip.NewWriterLevel(nil, level)
}

func putBuffer(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooled {
		buf.Reset()
		buffers.Put(buf)
	}
}

// maxWindow is the largest that a client must be able to hold (RFC 9659 section 3).
const maxWindow = 8 << 20

func encodeZstd(level zstd.EncoderLevel, pools *[maxLevel + 1]sync.Pool, plain []byte) ([]byte, error) {
	pool := &pools[level]
	e, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		window := large
		if len(plain) >= large {
			window = maxWindow
		}
		var err error
		// The stored form has a checksum of its own.
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1),
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
