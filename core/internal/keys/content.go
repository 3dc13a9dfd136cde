package keys

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// contentFields describe the content of a request (RFC 9110 sections 8.3 to 8.8, RFC
// 9530). Their lines are part of the key as they came: some frameworks take "Text/plain"
// for another media type than "text/plain".
var contentFields = [...]string{
	"Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Content-Range", "Content-Disposition",
	"Content-Digest", "Repr-Digest", "Digest", "Content-Md5",
}

// methods begin primary keys: GET those of requests without content, and of HEAD.
var methods = [...]string{"GET:", "QUERY:", "POST:"}

// CutMethod takes the method, with its colon, off the beginning of a primary key. It is
// false where there is none, so that the key is none of ours.
func CutMethod(primary string) (method, rest string, ok bool) {
	for _, method := range methods {
		if rest, ok := strings.CutPrefix(primary, method); ok {
			return method, rest, true
		}
	}
	return "", primary, false
}

// SetContent makes the content of r, and what its header says of that, a part of its
// keys. It returns the memory scratch, which it overwrites.
func (r *Request) SetContent(c adapter.Content, scratch []byte) []byte {
	b := binary.AppendVarint(scratch[:0], c.Declared)
	for _, name := range contentFields {
		lines := r.Lines(name)
		b = binary.AppendUvarint(b, uint64(len(lines)))
		for _, line := range lines {
			b = appendText(b, line)
		}
		var as []string
		if r.folded != nil {
			as = r.folded.spelling(name)
		}
		b = binary.AppendUvarint(b, uint64(len(as)))
		for _, spelled := range as {
			b = appendText(b, spelled)
		}
	}
	sum := sha256.Sum256(c.Bytes)
	sum = sha256.Sum256(append(b, sum[:]...))
	b = hex.AppendEncode(b[:0], sum[:])
	r.Content = string(b)
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
