package purges

import (
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/store"
)

// maxReadableTag is the longest stored tag whose stamp's key spells it out; for a longer
// one the key has a hash.
const maxReadableTag = 256

// Keys writes the keys of the clock and of stamps.
type Keys struct {
	// Prefix begins all of them, with a hash tag, so that they share a slot.
	Prefix string
	// MinBytes is the length that a key has at least.
	MinBytes int
	// Escape appends text to dst in printable ASCII. What it appends does not end in '|'.
	Escape func(dst []byte, text string) []byte
}

// Clock is the key of the clock, which numbers the purges.
func (k Keys) Clock() string { return string(k.padded([]byte(k.Prefix + "clock"))) }

// Stamp is the key of a tag's stamp.
func (k Keys) Stamp(tag string) string {
	b := append(make([]byte, 0, len(k.Prefix)+len(tag)+8), k.Prefix...)
	if len(tag) > maxReadableTag {
		sum := sha256.Sum256([]byte(tag))
		return string(hex.AppendEncode(append(b, tag[:len(OfHandler)]...), sum[:]))
	}
	return string(k.padded(k.Escape(b, tag)))
}

// padded makes a key long enough, with what no escaped tag ends in.
func (k Keys) padded(key []byte) []byte {
	for len(key) < k.MinBytes {
		key = append(key, '|')
	}
	return key
}

// TagSet is the tags of a stored response, and the keys of their stamps.
type TagSet struct {
	Keys []string
	tags []string
	held atomic.Pointer[heldStamps]
}

// heldStamps are the stamps of a [TagSet] in this process. They are good until then,
// unless the store's [store.Local].StampMark has changed.
type heldStamps struct {
	stamps []store.Stamp
	mark   uint64
	until  time.Time
}

var noTags TagSet

// tagSet returns the set of tags, in their stored form.
func (k Keys) tagSet(tags []string) *TagSet {
	if len(tags) == 0 {
		return &noTags
	}
	t := &TagSet{tags: tags, Keys: make([]string, len(tags))}
	for i, tag := range tags {
		t.Keys[i] = k.Stamp(tag)
	}
	return t
}

// isOf reports whether e has exactly these tags.
func (t *TagSet) isOf(e *entry.Entry) bool {
	i := 0
	for tag := range e.Tags {
		if i >= len(t.tags) || t.tags[i] != tag {
			return false
		}
		i++
	}
	return i == len(t.tags)
}
