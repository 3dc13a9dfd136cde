package cacheaside

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
)

// A body is stored in one coding. Who does not accept that gets another one, made of it
// once and kept in this process: bounded in bytes, and made again when it is gone. It is
// found by the entry that it was made of, so a purge or a new response needs nothing here.

// derived are bodies in other codings than they are stored in.
type derived struct {
	once   sync.Once
	max    int64 // bytes
	bodies *otter.Cache[derivedKey, []byte]
	places chan struct{} // one for each body that may be coded at a time
}

// derivedKey is an entry, which its time and checksum tell from others under its key, and
// the coding that its body is in.
type derivedKey struct {
	key  string // the primary one
	born int64
	sum  uint32
	as   coding.Coding
}

// derivedOverhead is what a body costs besides its bytes and its key.
const derivedOverhead = 160

// errOversized says that a stored body would be larger than any that is stored.
var errOversized = errors.New("larger than the largest body")

func (d *derived) start() {
	d.once.Do(func() {
		d.places = make(chan struct{}, runtime.GOMAXPROCS(0))
		d.bodies = otter.Must(&otter.Options[derivedKey, []byte]{
			MaximumWeight: uint64(d.max),
			Weigher: func(k derivedKey, b []byte) uint32 {
				return uint32(min(len(k.key)+len(b)+derivedOverhead, 1<<32-1))
			},
		})
	})
}

// encode returns a body in a coding.
func (d *derived) encode(c coding.Coding, level int, body []byte) ([]byte, error) {
	defer d.place()()
	return coding.Encode(c, level, body)
}

// place takes one of the places for work on codings, until it is given back.
func (d *derived) place() (giveBack func()) {
	d.start()
	d.places <- struct{}{}
	return func() { <-d.places }
}

// body returns the body of e, which is in a coding, in another one. One longer than limit
// is an error, as one that cannot be decoded.
func (d *derived) body(e *entry.Entry, as coding.Coding, level int, limit int64) ([]byte, error) {
	if e.Size > uint64(limit) {
		return nil, errOversized
	}
	d.start()
	k := derivedKey{e.Key, e.Born, e.Sum, as}
	if b, ok := d.bodies.GetIfPresent(k); ok {
		return b, nil
	}
	k.key = strings.Clone(k.key) // a view of the whole entry
	return d.bodies.Get(context.Background(), k, otter.LoaderFunc[derivedKey, []byte](func(context.Context, derivedKey) ([]byte, error) {
		defer d.place()()
		plain, err := coding.Decode(coding.Coding(e.Coding), e.Body, e.Size)
		if err != nil || as == coding.Identity {
			return plain, err
		}
		return coding.Encode(as, level, plain)
	}))
}
