package keys

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// digestLen is the number of hex digits of a variant's digest.
const digestLen = 32

// Selecting is what leads from a resource to one of its variants (RFC 9111 section
// 4.1): the names of the selecting fields, canonical and sorted, and the generation of
// the record they are from. The variants of a record that was removed are out of reach
// of the next one.
type Selecting struct {
	Names      []string
	Generation uint64
}

// AppendValues appends what a variant's digest is made of: the generation, and the
// normalised values of the selecting fields of req, each preceded by its name.
func (s Selecting) AppendValues(dst []byte, req *Request) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, s.Generation)
	for _, n := range s.Names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
		dst = req.AppendSelected(dst, n)
	}
	return dst
}

// Variant returns the key of the variant that [Selecting.AppendValues] describes.
func (k Key) Variant(selected []byte) string {
	return viewOf(k.AppendVariant(make([]byte, 0, len(k.Wire)+1+digestLen), selected)) // nobody else has it
}

// AppendVariant appends what Variant returns.
func (k Key) AppendVariant(buf, selected []byte) []byte {
	sum := sha256.Sum256(selected)
	buf = append(append(buf, k.Wire...), ':')
	return hex.AppendEncode(buf, sum[:digestLen/2])
}

// WithDigest returns the key of the variant of the resource at wire that has a digest.
func WithDigest(wire, digest string) string { return wire + ":" + digest }

// DigestOf returns the digest at the end of a variant's key.
func DigestOf(variant string) string { return variant[len(variant)-digestLen:] }

// IsDigest reports whether s has the form of a digest.
func IsDigest(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == digestLen
}
