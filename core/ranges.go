package cacheaside

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// selectRange turns r, a complete stored 200, into the 206 or 416 that the request asks
// for.
func selectRange(r *adapter.Response, header adapter.Header, of httprules.Version) {
	size := int64(len(r.Body))
	ranges, verdict := httprules.WantedRanges(header, of, size)
	switch verdict {
	case httprules.RangeUnsatisfiable:
		r.Status, r.Body = http.StatusRequestedRangeNotSatisfiable, nil
		r.Header = without(r.Header, "Content-Type", "Content-Encoding", "Content-Length", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5")
		r.Header = append(r.Header,
			adapter.Field{Name: "Content-Length", Value: "0"},
			adapter.Field{Name: "Content-Range", Value: fmt.Sprintf("bytes */%d", size)})
		return
	case httprules.RangeOK:
	default:
		return
	}
	whole := r.Body
	if len(whole) > 0 && !fixedType(r.Header) { // of the whole, or the server would look at the part
		r.Header = append(r.Header, adapter.Field{Name: "Content-Type", Value: http.DetectContentType(whole)})
	}
	partialContent(r, ranges, size, func(one httprules.ByteRange) []byte { return whole[one.Start : one.Start+one.Length] })
}

// partialContent makes r the 206 with the ranges, which cut gives, of a representation
// of the given size.
func partialContent(r *adapter.Response, ranges []httprules.ByteRange, size int64, cut func(httprules.ByteRange) []byte) {
	r.Status = http.StatusPartialContent
	r.Header = without(r.Header, "Content-Digest", "Content-Md5") // of the whole (RFC 9530 section 2)
	if len(ranges) == 1 {
		one := ranges[0]
		r.Body = cut(one)
		r.Header = append(without(r.Header, "Content-Length"),
			adapter.Field{Name: "Content-Length", Value: strconv.FormatInt(one.Length, 10)},
			adapter.Field{Name: "Content-Range", Value: contentRange(one, size)})
		return
	}
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	contentType := r.Header.Get("Content-Type")
	for _, one := range ranges {
		h := textproto.MIMEHeader{"Content-Range": {contentRange(one, size)}}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		w, _ := parts.CreatePart(h) // a bytes.Buffer does not fail
		_, _ = w.Write(cut(one))
	}
	_ = parts.Close()
	r.Body = b.Bytes()
	r.Header = append(without(r.Header, "Content-Length", "Content-Type"),
		adapter.Field{Name: "Content-Length", Value: strconv.Itoa(b.Len())},
		adapter.Field{Name: "Content-Type", Value: "multipart/byteranges; boundary=" + parts.Boundary()})
}

// ranging reports whether ranges of a stored response are answered: the policy says so,
// or the handler has (RFC 9110 section 14.3), or has sent one.
func (v *visit) ranging(e *entry.Entry) bool {
	if v.c.policy.Requests.AcceptRanges || e.Flags&entry.Ranged != 0 {
		return true
	}
	for f := range e.Header {
		if f.Name == "Accept-Ranges" && strings.EqualFold(f.Value, "bytes") {
			return true
		}
	}
	return false
}

// fixedType reports whether the handler has set a Content-Type, or none on purpose,
// or a coding, which keeps the server from guessing.
func fixedType(fields adapter.Fields) bool {
	for i := range fields {
		if n := fields[i].Name; n == "Content-Type" || n == "Content-Encoding" {
			return true
		}
	}
	return false
}

func contentRange(r httprules.ByteRange, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.Start, r.Start+r.Length-1, size)
}

// undescribed drops what describes a body, also what somebody in front has announced
// of it (RFC 9110 section 15.4.5).
func undescribed(fields adapter.Fields) adapter.Fields {
	return append(without(fields, "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Digest", "Content-Md5"),
		adapter.Field{Name: "Content-Encoding", Op: adapter.OpDel})
}

// without drops fields in place.
func without(fields adapter.Fields, names ...string) adapter.Fields {
	out := fields[:0]
fields:
	for _, f := range fields {
		for _, n := range names {
			if f.Name == n {
				continue fields
			}
		}
		out = append(out, f)
	}
	return out
}
