package keys

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowly is what a selector does, name by name.
func slowly(list []string, listed bool, name string) bool {
	for _, pattern := range list {
		if prefix, open := strings.CutSuffix(pattern, "*"); pattern == name || open && strings.HasPrefix(name, prefix) {
			return listed
		}
	}
	return !listed
}

func TestSelector(t *testing.T) {
	for _, c := range []struct {
		s    Selector
		name string
		want bool
	}{
		{Selector{}, "a", true}, {NewSelector(nil, nil), "a", true}, {NewSelector([]string{}, nil), "a", false},
		{NewSelector([]string{"a", "b*"}, nil), "a", true}, {NewSelector([]string{"a", "b*"}, nil), "bcd", true}, {NewSelector([]string{"a", "b*"}, nil), "A", false},
		{NewSelector(nil, []string{"utm_*"}), "utm_source", false}, {NewSelector(nil, []string{"utm_*"}), "utm", true}, {NewSelector(nil, []string{"*"}), "x", false},
	} {
		if got := c.s.Has(c.name); got != c.want {
			t.Errorf("%+v has %q: %v", c.s, c.name, got)
		}
	}
}

// TestSelectorIsExact: whatever the patterns, it selects what they say one by one.
func TestSelectorIsExact(t *testing.T) {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("_ab*")), 1, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			pattern := rapid.StringOfN(rapid.RuneFrom([]rune("_ab")), 0, 3, -1).Draw(t, "pattern")
			if pattern == "" || rapid.Bool().Draw(t, "open") {
				pattern += "*"
			}
			return pattern
		}), 0, 6).Draw(t, "list")
		listed := rapid.Bool().Draw(t, "allow")
		fast := NewSelector(nil, list)
		if listed {
			fast = NewSelector(append([]string{}, list...), nil)
		}
		if fast.All() != (!listed && len(list) == 0) {
			t.Fatalf("%q, listed %t: all is %t", list, listed, fast.All())
		}
		for range 10 {
			if n := name.Draw(t, "name"); fast.Has(n) != slowly(list, listed, n) {
				t.Fatalf("%q, listed %t: %q is selected: %t", list, listed, n, fast.Has(n))
			}
		}
	})
}
