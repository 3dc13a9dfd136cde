package keys

import (
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// searches are policies for handlers that say in No-Vary-Search what they do not look at,
// and do not.
var searches = []policy{
	{name: "params", search: `params=("id" "a+b")`, change: searching, parameter: func(n string) bool { return n != "id" && n != "a b" }},
	{name: "except", search: `key-order, except=("id" "a%20b")`, change: searching, parameter: func(n string) bool { return n == "id" || n == "a b" }},
	{name: "nothing", search: `except=()`, change: searching, parameter: func(string) bool { return false }},
	{name: "key-order", search: `key-order`, change: searching},
	{
		name: "params, Except and Vary", search: `params=("id")`, vary: "x-tenant", fields: []string{"X-Tenant"},
		change: func(c *cacheaside.Policy) {
			c.Key.NoVarySearch, c.Key.Query, c.Key.Cookies = true, cacheaside.Except("utm_*"), []string{"role"}
		},
		cookies: []string{"role"}, parameter: func(n string) bool { return n != "id" && !strings.HasPrefix(n, "utm_") },
	},
}

func searching(c *cacheaside.Policy) { c.Key.NoVarySearch, c.Key.KeepQueryOrder = true, true }

func init() { policies = append(policies, searches...) }

// alike are queries that are equivalent by each of them.
var alike = map[string][]string{
	"params":                  {"c=3", "id=1&c=3", "c=%33&a%20b=2&id", "&c=3&"},
	"except":                  {"id=1&a+b=2", "a%20b=2&c=3&id=1", "utm_a&id=1&a+b=2", "%69d=1&d&a+b=2"},
	"nothing":                 {"", "id=1", "c=3&utm_a=4", "=1"},
	"key-order":               {"id=1&c=3&c=4", "c=3&id=1&c=4", "c=3&c=4&%69d=%31"},
	"params, Except and Vary": {"c=3&d=1", "d=1&id=1&c=3", "utm_a=1&c=3&id=2&d=1"},
}

// TestSearchesAreShared: all but the first are answered from the cache, in every framework.
func TestSearchesAreShared(t *testing.T) {
	for framework := range frameworks {
		for i := range searches {
			pol := len(policies) - len(searches) + i
			s := serviceOf(t, framework, pol)
			announced := parse("/announced?id=1")
			_, _, _, _ = s.ask(announced.text(count.Add(1)))
			n := count.Add(1)
			for j, query := range alike[policies[pol].name] {
				r := parse("/shared?" + query)
				if saw, body, hit, ok := s.ask(r.text(n)); !ok || saw != body || hit != (j > 0) {
					t.Errorf("%s, %s: %s: hit %v, %q and %q", frameworks[framework], policies[pol].name, query, hit, saw, body)
				}
			}
		}
	}
}
