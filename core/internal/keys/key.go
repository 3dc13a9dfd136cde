// Package keys makes the keys of the store: that of a request by a policy, those of
// the variants that Vary leads to, and the text that stands for a URL in a purge.
//
// A key on the wire looks like
//
//	cacheaside:2:{GET:https://example.com/blogs/1000?page=2}
//	cacheaside:2:{GET:https://example.com/blogs/1000?page=2}:0f3c…   (a variant)
//
// Namespace and format version come first, then the primary key in braces: the hash
// tag that puts all keys of one resource into one slot of a cluster. The primary key
// consists of escaped parts with separators that no escaped part contains, so that no
// two requests share it. A key is ASCII and never shorter than 17 bytes, because
// Dragonfly does not announce the eviction of shorter or non-ASCII keys.
package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"unsafe"
)

const (
	// Format is the version of the keys, which follows the namespace.
	Format    = "2"
	keyFormat = ":" + Format + ":{"
	// MinBytes is the length of the shortest key whose expiry Dragonfly announces.
	MinBytes = 17
	// maxReadable is the longest primary key that is written out; a longer one
	// is cut to cutReadable bytes and completed with its SHA-256. The sum
	// exceeds maxReadable, so that a cut key is never equal to a whole one.
	maxReadable = 256
	cutReadable = maxReadable - 2*sha256.Size
)

// Key names a resource in the store.
type Key struct {
	Wire    string // as the store sees it
	Lock    string // of the resource's lock; empty in a key of [Maker.View]
	Primary string // the primary key in full, as the entry carries it
}

// LockKey is the key of the lock of what is stored under wire.
func LockKey(wire string) string { return wire + ":lock" }

// LockOf is the key of the lock of a flight, which is mostly the resource's.
func (k *Key) LockOf(flight string) string {
	if flight == k.Wire {
		return k.Lock
	}
	return LockKey(flight)
}

// wire makes a key of buf, which holds the prefix and a primary key.
func (m Maker) wire(buf []byte) (Key, []byte) {
	n := len(m.prefix)
	if len(buf)-n > maxReadable {
		primary := string(buf[n:])
		sum := sha256.Sum256(buf[n:])
		buf = hex.AppendEncode(append(buf[:n+cutReadable], '~'), sum[:])
		buf = append(buf, '}')
		return Key{Wire: viewOf(buf), Primary: primary}, buf
	}
	end := len(buf)
	buf = append(buf, '}')
	for len(buf) < MinBytes {
		buf = append(buf, '.')
	}
	wire := viewOf(buf)
	return Key{Wire: wire, Primary: wire[n:end]}, buf
}

// Own returns a copy of a key that [Maker.View] has made, with its lock.
func (m Maker) Own(view Key) Key {
	n := len(m.prefix)
	lock := LockKey(view.Wire) // both in one allocation
	own := Key{Wire: lock[:len(view.Wire)], Lock: lock, Primary: view.Primary}
	if len(view.Primary) <= maxReadable {
		own.Primary = own.Wire[n : n+len(view.Primary)]
	}
	return own
}

// viewOf is a string over b, which must not change while the string is in use.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
