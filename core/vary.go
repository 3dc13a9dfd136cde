package cacheaside

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// A resource whose responses differ by request fields has, under its primary
// key, a record: the names of these fields and the variants stored, latest
// first. Each variant is under its own key (RFC 9111 section 4.1).

// maxVaryNames bounds the names of one record.
const maxVaryNames = 16

// varyRecord is the decoded record.
type varyRecord struct {
	keys.Selecting
	variants []variantRef
}

type variantRef struct {
	digest  string // the end of the variant's key
	expires int64  // Unix nanoseconds
}

func (r varyRecord) encode(primary string, now int64) ([]byte, time.Duration, error) {
	c := entry.Content{Meta: entry.Meta{Kind: entry.KindVary, Born: now, Stamp: r.Generation}, Key: primary}
	for _, n := range r.Names {
		c.Vary = append(c.Vary, entry.Field{Name: n})
	}
	last := now
	for _, v := range r.variants {
		c.Header = append(c.Header, entry.Field{Name: v.digest, Value: strconv.FormatInt(v.expires, 10)})
		last = max(last, v.expires)
	}
	b, err := entry.Encode(c)
	return b, time.Duration(last - now), err
}

func decodeVaryRecord(e *entry.Entry) varyRecord {
	r := varyRecord{Selecting: keys.Selecting{Generation: e.Stamp}}
	for f := range e.Vary {
		r.Names = append(r.Names, f.Name)
	}
	for f := range e.Header {
		if at, err := strconv.ParseInt(f.Value, 10, 64); err == nil {
			r.variants = append(r.variants, variantRef{f.Name, at})
		}
	}
	return r
}

// add puts a variant first and returns those that are one too many.
func (r *varyRecord) add(v variantRef, now int64, limit int) (dropped []string) {
	kept := []variantRef{v}
	for _, old := range r.variants {
		switch {
		case old.digest == v.digest || old.expires <= now:
		case len(kept) < limit:
			kept = append(kept, old)
		default:
			dropped = append(dropped, old.digest)
		}
	}
	r.variants = kept
	return dropped
}

// mergeNames returns the sorted union.
func mergeNames(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// selectingFields are the selecting fields of req as an entry carries them.
func selectingFields(names []string, req *keys.Request) []entry.Field {
	out := make([]entry.Field, len(names))
	for i, n := range names {
		out[i] = entry.Field{Name: n, Value: string(req.AppendSelected(nil, n))}
	}
	return out
}

// matches reports whether e was chosen by values that req has as well.
func matches(e *entry.Entry, req *keys.Request, scratch []byte) bool {
	for f := range e.Vary {
		if !bytes.Equal(req.AppendSelected(scratch[:0], f.Name), []byte(f.Value)) {
			return false
		}
	}
	return true
}

// memoAge bounds how long a resource is looked up by names that another
// process may have changed since.
const memoAge = 5 * time.Second
