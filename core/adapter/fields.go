package adapter

import (
	"net/http"
	"slices"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// Op says how a field is applied to the header of the reply.
type Op uint8

// The operations of a field.
const (
	OpSet Op = iota // replaces what outer middleware has set under the name
	OpAdd           // one more line
	OpDel           // removes what outer middleware has set; Value is empty
)

// Field is one header field line.
type Field struct {
	Name  string // in canonical form, as http.CanonicalHeaderKey gives it
	Value string
	Op    Op
}

// Fields is a list of field lines in the order in which they are applied.
type Fields []Field

// Get returns the first value under name, which may be in any case, or "".
func (f Fields) Get(name string) string {
	for i := range f {
		if f[i].Op != OpDel && httprules.EqualFold(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Has reports whether there is a line under name, which is in canonical form.
func (f Fields) Has(name string) bool {
	for i := range f {
		if f[i].Op != OpDel && f[i].Name == name {
			return true
		}
	}
	return false
}

// Values returns all values under name in their order.
func (f Fields) Values(name string) []string {
	var out []string
	for i := range f {
		if f[i].Op != OpDel && httprules.EqualFold(f[i].Name, name) {
			out = append(out, f[i].Value)
		}
	}
	return out
}

// Added returns what a handler has changed between two states of a header:
// lines added to those that were there before are added again on a hit, all
// else replaces. What describes the representation belongs to it even where
// somebody in front had set the same by chance. The result is sorted by name. Names
// may be in any case; those of the result are canonical.
func Added(before, after http.Header) Fields { return AppendAdded(nil, before, after) }

// AppendAdded is [Added] with the memory of dst, which it overwrites.
func AppendAdded(dst Fields, before, after http.Header) Fields {
	before, after = httprules.Fold(before), httprules.Fold(after)
	var few [16]string
	names := few[:0]
	for name, values := range after {
		if old, ok := before[name]; !ok || describes(name) || !slices.Equal(old, values) {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fields := slices.Grow(dst[:0], len(names))
	for _, name := range names {
		values, old := after[name], before[name]
		op := OpSet
		if name == "Vary" && len(old) == 0 {
			op = OpAdd // what somebody in front says for another request holds as well
		}
		if n := len(old); n > 0 && len(values) > n && slices.Equal(values[:n], old) && !describes(name) {
			values, op = values[n:], OpAdd
		}
		if len(values) == 0 || len(old) > 0 && op == OpSet && slices.Contains(httprules.TagFields, name) {
			fields = append(fields, Field{Name: name, Op: OpDel}) // of tags nothing else may be left
		}
		for _, v := range values {
			fields = append(fields, Field{Name: name, Value: v, Op: op})
			op = OpAdd
		}
	}
	return fields
}

// describes reports whether a field is metadata of the representation (RFC 9110
// section 8, RFC 6266). What is of one coding is not among it: somebody in front may
// have announced a coding of its own before the handler runs.
func describes(name string) bool {
	switch name {
	case "Content-Type", "Content-Language", "Content-Location", "Content-Disposition", "Etag", "Last-Modified":
		return true
	}
	return false
}
