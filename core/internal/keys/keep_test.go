package keys

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// lent is a header in the memory of somebody who takes it back.
type lent struct{ lines [][2]string }

func (l *lent) Values(name string) (values []string) {
	for _, line := range l.lines {
		if line[0] == name {
			values = append(values, line[1])
		}
	}
	return values
}

func (l *lent) Names(judge func(string) uint16) (all uint16) {
	for _, line := range l.lines {
		all |= judge(line[0])
	}
	return all
}

func (l *lent) Lines(yield func(name, value string)) {
	for _, line := range l.lines {
		yield(line[0], line[1])
	}
}

// TestKeep: what is kept of a request is the same when its memory is somebody else's.
func TestKeep(t *testing.T) {
	for _, spelled := range []bool{false, true} {
		b := []byte("example.com|/path|q=1|Accept|text/html|Accept|text/plain|Cookie|a=1|X-Kind|kind|x-kind|other")
		parts := strings.Split(unsafe.String(&b[0], len(b)), "|")
		h := new(lent)
		for i := 3; i < len(parts); i += 2 {
			if parts[i] != "x-kind" || spelled {
				h.lines = append(h.lines, [2]string{parts[i], parts[i+1]})
			}
		}
		var r Request
		view, _ := r.Enter(&adapter.Request{Method: "GET", Scheme: "http", Host: parts[0], Path: parts[1], RawQuery: parts[2], Header: h})
		values := func(view adapter.Header, r *Request) (all []string) {
			for _, name := range []string{"Accept", "Cookie", "X-Kind", "Absent"} {
				for _, v := range slices.Concat(view.Values(name), r.Lines(name), r.Header.Values(name), []string{string(r.AppendSelected(nil, name))}) {
					all = append(all, strings.Clone(v))
				}
			}
			r.Header.(*publicHeader).Header.(adapter.NamesHeader).Lines(func(name, value string) {
				all = append(all, strings.Clone(name), strings.Clone(value))
			})
			return append(all, strings.Clone(r.Host), strings.Clone(r.Path), strings.Clone(r.RawQuery), r.Method)
		}
		want := values(view, &r)
		kept := r.Keep()
		copy(b, strings.Repeat("#", len(b)))
		if got := values(kept.View(), kept); !slices.Equal(got, want) {
			t.Errorf("kept %q, want %q", got, want)
		}
		if slices.Equal(values(view, &r), want) {
			t.Error("the memory was not taken back")
		}
	}
	came := http.Header{"Accept": {"a"}}
	var r Request
	r.Enter(&adapter.Request{Header: came})
	kept := r.Keep()
	came.Set("Accept", "b")
	if got := kept.View().Values("Accept"); !slices.Equal(got, []string{"a"}) || !slices.Equal(kept.Header.Values("accept"), got) {
		t.Errorf("kept %q", got)
	}
}
