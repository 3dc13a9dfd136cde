package inspect

import (
	"hash/maphash"
	"os"
	"strconv"

	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// seed makes the IDs of keys good for this process only: with a plain hash, what is
// hidden could be guessed.
var seed = maphash.MakeSeed()

func keyHash(wire string) uint64 { return maphash.String(seed, wire) }

func keyOf(wire string, hash uint64) Key {
	id := strconv.FormatUint(hash>>16|1<<48, 16) // of one length
	return Key{Text: redact.Key(wire), ID: id[1:]}
}

// redactFields gives what may be shown of the fields of a stored response.
func redactFields(fields []Field) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = Field{redact.Clean(f.Name, 100), redact.Field(f.Name, f.Value)}
	}
	return out
}

func redactKey(k *Key) {
	if k != nil {
		*k = keyOf(k.Text, keyHash(k.Text))
	}
}

// maxEntries is how many variants are shown.
const maxEntries = 100

func redactLookup(l *Lookup) {
	if l.Found == nil {
		l.Found = []Found{}
	}
	l.URL = redact.Clean(redact.URL(l.URL), redact.MaxKey)
	for i := range l.Found {
		f := &l.Found[i]
		redactKey(&f.Key)
		if n := len(f.Entries); n > maxEntries {
			f.Entries, f.More = f.Entries[:maxEntries], n-maxEntries
		} else if n == 0 {
			f.Entries = []Entry{}
		}
		f.Because = redact.Text(f.Because, 500)
		for j := range f.Vary {
			f.Vary[j] = redact.Clean(f.Vary[j], 100)
		}
		for j := range f.Entries {
			e := &f.Entries[j]
			redactKey(&e.Key)
			e.Because, e.Problem = redact.Text(e.Because, 500), redact.Text(e.Problem, 500)
			e.Header = redactFields(e.Header)
			for k, s := range e.Selecting { // of the request that was stored: values may be anybody's
				e.Selecting[k] = Field{Name: redact.Clean(s.Name, 100), Value: redact.Hidden}
			}
			for k := range e.Tags {
				t := &e.Tags[k]
				if t.Kind == "url" {
					t.Name = redact.URL(t.Name)
				}
				t.Name = redact.Clean(t.Name, 256)
			}
		}
	}
}

func redactExplanation(x *Explanation) {
	x.URL = redact.Clean(redact.URL(x.URL), redact.MaxKey)
	redactKey(x.Key)
	x.Route, x.Policy = redact.Clean(x.Route, 200), redact.Clean(x.Policy, 100)
	x.Because = redact.Text(x.Because, 500)
	x.Header = redactFields(x.Header)
	for i := range x.Steps {
		s := &x.Steps[i]
		s.Step, s.Result = redact.Clean(s.Step, 100), redact.Text(s.Result, 500)
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
