package coretest

import (
	"net/http"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/graphql"
)

// testGraphQL: queries of one form share a response. What is refused, and a mutation is,
// reaches the handler, and by POST it is unsafe.
func testGraphQL(c *run) {
	s := c.contentSite(echoed, func(cfg *cacheaside.Config) {
		cfg.Policy.Requests.Content.Normalize = graphql.Normalize
	})
	const (
		query    = `{"query":"query A($x: Int) { a(x: $x), b } # é"}`
		same     = "{ \"query\" : \"query A($x:Int){a(x:$x)b}\\t# é\" }"
		other    = `{"query":"query A($x: Int) { a(x: $x), b }","variables":{"x":1}}`
		mutation = `{"query":"mutation { a }"}`
	)
	echo := func(method, content string) string { return method + "|application/json||" + content }
	stored := func(method string) {
		c.Helper()
		s.Do(method, "/x", query, asJSON).Miss().Stored().Is(200, echo(method, query))
		s.Do(method, "/x", same, asJSON).Hit().Is(200, echo(method, query))
		s.Do(method, "/x", other, asJSON).Miss().Stored().Is(200, echo(method, other))
	}
	for _, method := range []string{"QUERY", http.MethodPost} {
		stored(method)
		s.Do(method, "/x", query, "Content-Type: application/json; charset=utf-8").NotHit().Stored() // the handler may tell
		s.Do(method, "/x", query, "Content-Type: application/json; charset=utf-8").Hit()
		for _, fields := range [][]string{
			{}, {"Content-Type: text/plain"}, {asJSON, "content-type: text/plain"}, {asJSON, "content-encoding: br"}, {"Content-Type: application/json; charset=latin1"},
		} {
			s.Do("QUERY", "/x", query, fields...).Fwd("bypass").Detail("content-refused")
		}
		s.Do("QUERY", "/x?query=mutation{a}", query, asJSON).Fwd("bypass").Detail("content-refused")
		for range 2 {
			s.Do("QUERY", "/x", mutation, asJSON).Fwd("bypass").Detail("content-refused").Is(200, echo("QUERY", mutation))
		}
		s.Do(method, "/x", same, asJSON).Hit()
	}
	for range 2 {
		s.Do(http.MethodPost, "/x", mutation, asJSON).Fwd("bypass").Detail("content-refused").Is(200, echo(http.MethodPost, mutation))
		for _, method := range []string{"QUERY", http.MethodPost} {
			stored(method) // again
		}
	}
}
