package httprules

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"
)

// No-Vary-Search, as the HTTP working group has it since params is a list and except
// stands alone (draft-ietf-httpbis-no-vary-search in its last call, which was version 10).
// Before, a bare params stood for all parameters; as that draft demands it is invalid now,
// as is params together with except, and a field that is invalid says nothing.
//
// Where the draft finds two queries equivalent that a handler may well tell apart, this
// is stricter, as every cache may be: see [Variance.AppendReduced].

const (
	maxSearchLine  = 4 << 10 // the longest field that is looked at, in bytes
	maxSearchNames = 64
	maxSearchText  = 1 << 10 // the longest form of a variance, in bytes
	// maxSearchParams is how many parameters of a query are taken apart: beyond as many,
	// a server's own limit may keep the handler from seeing any.
	maxSearchParams = 256
)

// Variance says what of a query makes no difference to a response. One that says nothing
// is none: see [ParseNoVarySearch].
type Variance struct {
	// Unordered: the order of the parameters makes none; that of equal names still does.
	Unordered bool
	// Only: nothing but the parameters Names does. Otherwise these make none.
	Only bool
	// Names are decoded, sorted and different.
	Names []string
}

// ParseNoVarySearch reads the lines of the field. It fails where they say nothing, are no
// such field, or are too much to keep.
func ParseNoVarySearch(lines []string) (v Variance, ok bool) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size == 0 || size > maxSearchLine {
		return v, false
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return v, false
	}
	if member, there := dict.Get("key-order"); there {
		item, _ := member.(httpsfv.Item)
		if v.Unordered, ok = item.Value.(bool); !ok {
			return v, false
		}
	}
	params, but := dict.Get("params")
	except, only := dict.Get("except")
	switch {
	case but && only:
		return v, false
	case only:
		v.Only = true
		v.Names, ok = searchNames(except)
	case but:
		v.Names, ok = searchNames(params)
	default:
		ok = true
	}
	says := v.Unordered || v.Only || len(v.Names) > 0
	return v, ok && says && len(v.Text()) <= maxSearchText
}

// searchNames are the names in an inner list of strings. One that is not UTF-8, or has the
// character in whose place the draft puts what is not, would stand for several names.
func searchNames(member httpsfv.Member) (names []string, ok bool) {
	list, ok := member.(httpsfv.InnerList)
	if !ok || len(list.Items) > maxSearchNames {
		return nil, false
	}
	for _, item := range list.Items {
		s, ok := item.Value.(string)
		if !ok {
			return nil, false
		}
		name, _ := FormDecoded(s) // what is no escape sequence stays as it is
		if !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError) {
			return nil, false
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// Text is the field in one spelling, which [ParseNoVarySearch] reads.
func (v Variance) Text() string {
	var b []byte
	sep := ""
	if v.Unordered {
		b, sep = append(b, "key-order"...), ", "
	}
	if v.Only || len(v.Names) > 0 {
		b = append(b, sep...)
		if v.Only {
			b = append(b, "except=("...)
		} else {
			b = append(b, "params=("...)
		}
		for i, n := range v.Names {
			if i > 0 {
				b = append(b, ' ')
			}
			b = append(appendFormEncoded(append(b, '"'), n), '"')
		}
		b = append(b, ')')
	}
	return string(b)
}

// varies reports whether a parameter makes a difference.
func (v Variance) varies(name string) bool {
	_, listed := slices.BinarySearch(v.Names, name)
	return listed == v.Only
}

type formParam struct{ name, value string }

// AppendReduced appends what of a raw query makes a difference, in one spelling: two
// queries are equivalent if they have the same. The draft takes them apart as the parser
// of application/x-www-form-urlencoded does (WHATWG URL section 5.1), to which %61 and a
// are the same, %20 and +, a and a=, and an empty parameter is none.
//
// It fails on a query that handlers read in different ways: with a ';', with a '%' that
// begins no escape sequence, of more than 256 parameters. To the draft what is not UTF-8
// is all the same (%F6, %F7 and %EF%BF%BD); here bytes are compared.
func (v Variance) AppendReduced(dst []byte, raw string) ([]byte, bool) {
	if strings.IndexByte(raw, ';') >= 0 || len(raw) > maxSearchParams && strings.Count(raw, "&") >= maxSearchParams {
		return dst, false
	}
	var few [16]formParam
	kept := few[:0]
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok := FormDecoded(name)
		value, valid := FormDecoded(value)
		if !ok || !valid {
			return dst, false
		}
		if v.varies(name) {
			kept = append(kept, formParam{name, value})
		}
	}
	if v.Unordered {
		slices.SortStableFunc(kept, func(a, b formParam) int { return strings.Compare(a.name, b.name) })
	}
	for i, p := range kept {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(appendFormEncoded(dst, p.name), '=')
		dst = appendFormEncoded(dst, p.value)
	}
	return dst, true
}

// Equivalent reports whether two raw queries differ in nothing that makes a difference.
func (v Variance) Equivalent(a, b string) bool {
	first, ok := v.AppendReduced(nil, a)
	second, also := v.AppendReduced(nil, b)
	return ok && also && string(first) == string(second)
}
