package protocol

import (
	"fmt"
	"hash/maphash"
	"strings"
	"unsafe"
)

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// fingerprint tells states apart. That two of 100 million have the same one is less
// likely than 1 in 10^22.
func fingerprint(s *state) [2]uint64 {
	b := unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s))
	return [2]uint64{maphash.Bytes(seeds[0], b), maphash.Bytes(seeds[1], b)}
}

// outcome is what exploring a model has found.
type outcome struct {
	states int
	wrong  property
	trace  []string
	whole  bool // all states were seen, or one in which something is wrong
}

// explore tries everything, the shortest ways first, until something is wrong.
func (m *model) explore() (o outcome) {
	type step struct {
		from  uint32
		which uint8 // of what may follow
	}
	steps := []step{{}}
	first := m.start()
	seen := map[[2]uint64]struct{}{fingerprint(&first): {}}
	level, numbers := []state{first}, []uint32{0}
	for len(level) > 0 {
		var next []state
		var nextNumbers []uint32
		for k := range level {
			which := uint8(0)
			m.next(&level[k], func(s *state, _ string, _ ...any) {
				at := which
				which++
				if o.wrong != fine {
					return
				}
				f := fingerprint(s)
				if _, ok := seen[f]; ok {
					return
				}
				seen[f] = struct{}{}
				number := uint32(len(steps))
				steps = append(steps, step{numbers[k], at})
				if o.wrong = s.wrong; o.wrong == fine && m.leftover(s) {
					o.wrong = thrift
				}
				next, nextNumbers = append(next, *s), append(nextNumbers, number)
			})
			if o.states = len(steps); o.wrong != fine {
				var way []uint8
				for at := uint32(len(steps) - 1); at != 0; at = steps[at].from {
					way = append(way, steps[at].which)
				}
				o.trace, o.whole = m.follow(way), true
				return o
			}
			if m.most > 0 && o.states > m.most {
				return o
			}
		}
		level, numbers = next, nextNumbers
	}
	o.whole = true
	return o
}

// follow tells of a way, which begins at its end.
func (m *model) follow(way []uint8) (trace []string) {
	s := m.start()
	for i := len(way) - 1; i >= 0; i-- {
		var to state
		which := uint8(0)
		m.next(&s, func(next *state, format string, args ...any) {
			if which == way[i] {
				to = *next
				trace = append(trace, fmt.Sprintf(format, args...))
			}
			which++
		})
		s = to
	}
	return trace
}

func (o outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %d states", o.wrong, o.states)
	for i, line := range o.trace {
		fmt.Fprintf(&b, "\n%3d %s", i+1, line)
	}
	return b.String()
}
