package coding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ErrTooLarge is the error of a body that decodes to more than was allowed.
var ErrTooLarge = errors.New("coding: the decoded body is too large")

// Decode undoes the coding. It returns exactly size bytes, in a new slice, or an error:
// if coded is corrupt or cut short, if anything follows it, if it decodes to fewer or
// more bytes ([ErrTooLarge]). Whatever coded claims, it allocates size bytes and what the
// format's window needs: 32 KiB for gzip, 8 MiB for zstd, 16 MiB for br at most.
func Decode(c Coding, coded []byte, size uint64) ([]byte, error) {
	if size > math.MaxInt {
		return nil, fmt.Errorf("coding: a body of %d bytes cannot be held", size)
	}
	if c == Identity {
		return exactly(rightSized(coded), size)
	}
	d, err := newDecoder(c, coded)
	if err != nil {
		return nil, err
	}
	var plain []byte
	if d.zstd != nil && size <= atOnce {
		plain, err = d.whole(coded, int(size))
	} else {
		plain, err = d.read(int(size))
	}
	if err != nil {
		return nil, err
	}
	d.release()
	return plain, nil
}

// Size decodes to nowhere: it returns how many bytes coded decodes to, or an error if
// it is corrupt, cut short or followed by anything, or decodes to more than limit
// ([ErrTooLarge]). Its memory is that of the format's window.
func Size(c Coding, coded []byte, limit uint64) (uint64, error) {
	if c == Identity {
		if uint64(len(coded)) > limit {
			return 0, ErrTooLarge
		}
		return uint64(len(coded)), nil
	}
	d, err := newDecoder(c, coded)
	if err != nil {
		return 0, err
	}
	buf := scratch.Get().(*[32 << 10]byte)
	defer scratch.Put(buf)
	var size uint64
	for {
		n, err := d.Read(buf[:])
		if size += uint64(n); size > limit {
			return 0, ErrTooLarge
		}
		switch {
		case errors.Is(err, io.EOF):
			d.release()
			return size, nil
		case err != nil:
			return 0, fmt.Errorf("coding: %s: %w", c, err)
		}
	}
}

var scratch = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// atOnce is the size up to which the room for a body is allocated before the first byte
// of it is decoded. Beyond that the room grows with what was decoded, for a size may be
// as wrong as the coded body is.
const atOnce = 16 << 20

// decoder decodes one body at a time.
type decoder struct {
	io.Reader
	coding Coding
	src    bytes.Reader
	gzip   *gzip.Reader
	brotli *brotli.Reader
	zstd   *zstd.Decoder
}

var decoders [Count]sync.Pool // of *decoder

func newDecoder(c Coding, coded []byte) (*decoder, error) {
	if c >= Count {
		return nil, unknown(c)
	}
	if len(coded) == 0 { // an empty body is not empty when coded, though zstd takes it for no frames
		return nil, fmt.Errorf("coding: %s: %w", c, io.ErrUnexpectedEOF)
	}
	d, ok := decoders[c].Get().(*decoder)
	if !ok {
		d = &decoder{coding: c}
		if err := d.create(); err != nil {
			return nil, fmt.Errorf("coding: %s: %w", c, err)
		}
	}
	d.src.Reset(coded)
	var err error
	switch c {
	case Gzip:
		err = d.gzip.Reset(&d.src)
	case Brotli:
		err = d.brotli.Reset(&d.src)
	case Zstd:
		err = d.zstd.Reset(&d.src)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("coding: %s: %w", c, err)
	}
	return d, nil
}

func (d *decoder) create() (err error) {
	switch d.coding {
	case Gzip:
		d.gzip = new(gzip.Reader)
		d.Reader = d.gzip
	case Brotli:
		d.brotli = brotli.NewReader(nil)
		d.Reader = d.brotli
	case Zstd:
		// With a concurrency of 1 it decodes in the caller's goroutine.
		d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
		d.Reader = d.zstd
	}
	return err
}

// release gives the decoder to the next body. One that has failed is left to the
// garbage collector, for its state is unclear and its buffers may be large.
func (d *decoder) release() {
	d.src.Reset(nil)
	if d.zstd != nil && d.zstd.Reset(nil) != nil {
		return
	}
	decoders[d.coding].Put(d)
}

// whole decodes zstd into room for size bytes, which spares the window's copy.
func (d *decoder) whole(coded []byte, size int) ([]byte, error) {
	plain, err := d.zstd.DecodeAll(coded, make([]byte, 0, size))
	if err != nil { // which may be any if there is no room: the stream says whether it is corrupt
		return d.read(size)
	}
	return exactly(plain, uint64(size))
}

func exactly(plain []byte, size uint64) ([]byte, error) {
	switch n := uint64(len(plain)); {
	case n > size:
		return nil, ErrTooLarge
	case n < size:
		return nil, fmt.Errorf("coding: the body decodes to %d bytes, not to %d", n, size)
	}
	return plain, nil
}

// read decodes size bytes, and looks whether that is all.
func (d *decoder) read(size int) ([]byte, error) {
	plain := make([]byte, 0, min(size, atOnce))
	for len(plain) < size {
		if len(plain) == cap(plain) {
			grown := make([]byte, len(plain), min(size, 2*cap(plain)))
			copy(grown, plain)
			plain = grown
		}
		n, err := d.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
		switch {
		case errors.Is(err, io.EOF):
			return exactly(plain, uint64(size))
		case err != nil:
			return nil, fmt.Errorf("coding: %s: %w", d.coding, err)
		}
	}
	var more [1]byte
	switch _, err := io.ReadFull(d, more[:]); {
	case errors.Is(err, io.EOF):
		return plain, nil
	case err != nil:
		return nil, fmt.Errorf("coding: %s: %w", d.coding, err)
	}
	return nil, ErrTooLarge
}
