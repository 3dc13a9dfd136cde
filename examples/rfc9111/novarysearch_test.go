package rfc9111

import "slices"

// draft is draft-ietf-httpbis-no-vary-search in its last call: a response says which query
// parameters make no difference to it.
const draft = "No-Vary-Search"

// answersAlike is a No-Vary-Search by which a response for one query answers for others, and not
// for the last, whose response says nothing.
func answersAlike(name, field, first string, others []string, last string) script {
	steps := []step{get.at("?announced=1").gives(minute, field), get.at(first).gives(minute, field)}
	for _, query := range others {
		steps = append(steps, get.at(query).hits(2).shows(field))
	}
	return script{draft, name, append(steps, get.at(last).gives(minute))}
}

// unheeded is a No-Vary-Search that says nothing.
func unheeded(field string) script {
	field = "No-Vary-Search: " + field
	return script{draft, field + " says nothing", []step{
		get.at("?a=1").gives(minute, field), get.at("?a=2").gives(minute, field), get.at("?a=3").gives(minute), get.at("?a=1").hits(),
	}}
}

func noVarySearch() []script {
	const a = `No-Vary-Search: params=("a")`
	return slices.Concat(
		[]script{
			answersAlike("key-order", "No-Vary-Search: key-order", "?a=1&b=2", []string{"?b=2&a=1"}, "?b=1&a=2"),
			answersAlike("key-order leaves equal names in order", "No-Vary-Search: key-order", "?a=1&b=2&a=2", []string{"?b=2&a=1&a=2"}, "?a=2&a=1&b=2"),
			answersAlike("params", a, "?a=1&b=2", []string{"?b=2", "?a=7&b=2&a", "?b=2&%61=3"}, "?b=1"),
			answersAlike("params have an order", `No-Vary-Search: params=("u")`, "?a=1&b=2", []string{"?a=1&u&b=2"}, "?b=2&a=1"),
			answersAlike("params have a case", a, "?b=2", []string{"?a&b=2"}, "?A=1&b=2"),
			answersAlike("except", `No-Vary-Search: except=("id")`, "?id=1&b=2", []string{"?id=1", "?c=3&id=1&=1"}, "?id=2"),
			answersAlike("except nothing", `No-Vary-Search: except=()`, "?b=2", []string{"?c=1", "?c=1&d=2"}, "?;"),
			answersAlike("key-order and params", `No-Vary-Search: key-order, params=("u" "v")`, "?a=1&b=2&u=1", []string{"?b=2&v&a=1"}, "?a=1"),
			answersAlike("key-order and except", `No-Vary-Search: except=("a" "b"), key-order`, "?a=1&b=2&u=1", []string{"?b=2&w&a=1"}, "?a=1"),
			answersAlike("an encoded name", `No-Vary-Search: params=("%C3%A9+%E6%B0%97")`, "?b=1", []string{"?%C3%A9%20%E6%B0%97=1&b=1", "?%c3%a9+%e6%b0%97&b=1"}, "?%C3%A9=1&b=1"),
			answersAlike("unknown keys and parameters are ignored", `No-Vary-Search: params=("a";x=1);y, other=(1 2)`, "?a=1", []string{"?a=2"}, "?b"),
			answersAlike("an escaped character", "No-Vary-Search: key-order", "?a=x", []string{"?%61=%78"}, "?a=X"),
			answersAlike("an empty value", "No-Vary-Search: key-order", "?a=", []string{"?a", "?a&&&"}, "?a=0"),
			answersAlike("a blank", "No-Vary-Search: key-order", "?a=%20", []string{"?a=+", "?a=+&"}, "?a=%2B"),
			answersAlike("no Unicode normalization", "No-Vary-Search: key-order", "?a=%C3%A9", []string{"?a=%c3%a9"}, "?a=e%CC%81"),
			// Stricter than the draft, which every cache may be.
			answersAlike("what is not UTF-8 is compared by its bytes", "No-Vary-Search: key-order", "?a=%f6", []string{"?a=%F6"}, "?a=%ef%bf%bd"),
		},
		each([]string{
			`params`, `params=?0`, `params=?1`, `params, except=("x")`, `params=("a"), except=("x")`, `params=(), except=()`, `params="a"`, `params=(a)`,
			`params=("a"), key-order="no"`, `except=?1`, `except="a"`, `except=(a)`, `params=()`, `key-order=?0`, `unknown`, `params=("a"`, `PARAMS=("a")`,
		}, unheeded),
		[]script{
			{draft, "another path, host or scheme is another resource", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a), get.at("/y?a=1").gives(minute),
				get.at("?a=2").with("Host: other.test").gives(minute), get.at("?a=2").hits(2),
			}},
			{draft, "Vary selects as well", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").with("X-A: 1").gives(minute, a, "Vary: X-A"),
				get.at("?a=2").with("X-A: 1").hits(2), get.at("?a=3").with("X-A: 2").gives(minute),
			}},
			{draft, "a response for the URL itself comes first", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a),
				get.at("?a=2").with("Cache-Control: no-cache").gives(minute), get.at("?a=2").hits(3), get.at("?a=1").hits(2),
			}},
			{draft, "a stale response answers for its own URL alone", []step{
				get.at("?announced=1").gives("Cache-Control: max-age=9", a), get.at("?a=1").gives("Cache-Control: max-age=9", a),
				get.at("?a=2").after(8).hits(2), get.at("?a=2").after(1).gives(minute),
			}},
			{draft, "no-store is heeded", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives("Cache-Control: no-store", a), get.at("?a=2").gives(minute),
			}},
			{draft, "no-cache is heeded", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives("Cache-Control: no-cache", a), get.at("?a=2").gives(minute),
			}},
			{draft, "a HEAD", []step{get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a), head.at("?a=2").hits(2)}},
			{draft, "a condition", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a, tag), get.at("?a=2").with(`If-None-Match: "a"`).hits(2).as(304),
			}},
			{draft, "a range", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").text(numbers).gives(minute, a), get.at("?a=2").with("Range: bytes=2-5").hits(2).as(206).reads("2345"),
			}},
			{draft, "only-if-cached", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a), get.at("?a=2").with("Cache-Control: only-if-cached").hits(2),
			}},
			{draft, "an unsafe request to another URL invalidates", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a), send("POST").at("?a=2").posting("x").gives(), get.at("?a=3").gives(minute),
			}},
			{draft, "another field later", []step{
				get.at("?announced=1").gives(minute, a), get.at("?a=1").gives(minute, a), get.at("?a=2").hits(2),
				get.at("?a=9&b=1").gives(minute, `No-Vary-Search: except=("a")`), get.at("?a=9&b=2").gives(minute, `No-Vary-Search: except=("a")`),
				get.at("?d=1&a=9").hits(5), get.at("?a=3").hits(2), get.at("?d=1&a=8").gives(minute),
			}},
		},
	)
}
