package rfc9111

import (
	"slices"
	"strings"
)

var long = strings.Repeat("0123456789abcdef", 256)

func cut(line string) (name, value string, found bool) { return strings.Cut(line, ":") }

func freshness() []script {
	return slices.Concat(
		[]script{
			lives("4.2.1", "max-age", 60, minute),
			lives("4.2.1", "s-maxage", 60, "Cache-Control: s-maxage=60"),
			lives("4.2.1", "Expires minus Date", 60, "Expires: {now+60}"),
			lives("4.2.1", "a longer s-maxage wins over max-age", 60, "Cache-Control: max-age=10, s-maxage=60"),
			lives("4.2.1", "a shorter s-maxage wins over max-age", 10, "Cache-Control: s-maxage=10, max-age=60"),
			lives("4.2.1", "s-maxage wins in a second line", 60, "Cache-Control: max-age=10", "Cache-Control: s-maxage=60"),
			lives("4.2.1", "max-age wins over a shorter Expires", 60, minute, "Expires: {now+10}"),
			lives("4.2.1", "max-age wins over a longer Expires", 10, "Cache-Control: max-age=10", "Expires: {now+60}"),
			lives("4.2.1", "max-age wins over an invalid Expires", 60, minute, "Expires: 0"),
			lives("4.2.1", "max-age wins over Expires in the past", 60, minute, "Expires: {now-60}"),
			lives("4.2.1", "s-maxage wins over Expires", 60, "Cache-Control: s-maxage=60", "Expires: {now+10}"),
			never("4.2.1", "max-age=0 wins over Expires", "Cache-Control: max-age=0", "Expires: {now+60}"),
			never("4.2.1", "s-maxage=0 wins over max-age", "Cache-Control: max-age=60, s-maxage=0"),
			lives("4.2.1", "the same max-age twice", 60, "Cache-Control: max-age=60, max-age=60"),
			{"4.2.1", "contradicting max-age, the longer last", []step{get.gives("Cache-Control: max-age=1, max-age=60"), get.after(2).gives()}},
			lives("4.2.1", "contradicting max-age is never longer than the first", 10, "Cache-Control: max-age=10", "Cache-Control: max-age=60"),
			lives("4.2.1", "names of directives have no case", 60, "Cache-Control: MaX-aGe=60"),
			lives("4.2.1", "a quoted max-age", 60, `Cache-Control: max-age="60"`),
			lives("4.2.1", "leading zeros", 60, "Cache-Control: max-age=0060"),
			lives("4.2.1", "after an unknown directive", 60, "Cache-Control: unknown, max-age=60"),
			lives("4.2.1", "after an unknown directive with a quoted comma", 60, `Cache-Control: unknown="a, max-age=10", max-age=60`),
			lives("4.2.1", "empty members of the list", 60, "Cache-Control: , ,max-age=60,"),
			lives("4.2.1", "tabs and spaces around members", 60, "Cache-Control: \tfoo \t, \tmax-age=60\t"),
			never("4.2.1", "max-age in a quoted string is none", `Cache-Control: unknown="max-age=60"`),
			never("4.2.1", "max-age as part of a name is none", "Cache-Control: x-max-age=60"),
			reused("1.2.2", "2^31 seconds", "Cache-Control: max-age=2147483648"),
			reused("1.2.2", "more than 2^31 seconds", "Cache-Control: max-age=4294967296"),
			reused("1.2.2", "more than 2^63 seconds", "Cache-Control: max-age=9223372036854775808"),
			reused("1.2.2", "more than any number", "Cache-Control: max-age="+strings.Repeat("9", 200)),
		},
		each([]string{
			"max-age=-1", "max-age=-60", "max-age=60.5", "max-age=60s", "max-age=1e3", "max-age=a", "max-age=", "max-age",
			"max-age= 60", "max-age =60", "max-age='60'", "max-age=0x60", "max-age=+60", "max-age=6 0", "max-age=60;x", "max-age==60", "max-age=60=1", `max-age="60`, `max-age=""`,
			"s-maxage=a", "s-maxage=-1", "s-maxage=60.0", "max-age=60, s-maxage=a",
		}, func(control string) script {
			return never("4.2.1", "invalid: "+control, "Cache-Control: "+control)
		}),
		[]script{
			{"4.2.2", "a tenth of the time since Last-Modified", []step{
				get.gives("Last-Modified: {now-1000}"), get.after(99).hits().shows("Age: 99"), get.after(1).validates(),
			}},
			{"4.2.2", "anew after validation", []step{
				get.gives("Last-Modified: {now-1000}"), get.after(100).validates(), get.after(109).hits().shows("Age: 109"), get.after(1).validates(),
			}},
			{"4.2.2", "the age counts", []step{
				get.gives("Last-Modified: {now-1000}", "Age: 50"), get.after(49).hits().shows("Age: 99"), get.after(1).validates(),
			}},
			{"4.2.2", "not with explicit freshness", []step{
				get.gives("Last-Modified: {now-1000}", "Cache-Control: max-age=10"), get.after(9).hits(), get.after(1).validates(),
			}},
			{"4.2.2", "not with Expires", []step{get.gives("Last-Modified: {now-1000}", "Expires: {now}"), get.validates()}},
			{"4.2.2", "not with an invalid Expires", []step{get.gives("Last-Modified: {now-1000}", "Expires: 0"), get.validates()}},
			{"4.2.2", "not with an invalid max-age", []step{get.gives("Last-Modified: {now-1000}", "Cache-Control: max-age=a"), get.validates()}},
			never("4.2.2", "not from the future", "Last-Modified: {now+1000}"),
			never("4.2.2", "not from an invalid date", "Last-Modified: yesterday"),
			never("4.2.2", "not with no-store", "Last-Modified: {now-1000}", "Cache-Control: no-store"),
			never("4.2.2", "not with private", "Last-Modified: {now-1000}", "Cache-Control: private"),
			{"4.2.2", "with public whatever the status", []step{get.code(599).gives("Last-Modified: {now-1000}", "Cache-Control: public"), get.after(99).hits()}},
			{"4.2.2", "Last-Modified in the format of RFC 850", []step{get.gives("Last-Modified: {rfc850 now-1000}"), get.after(99).hits()}},
			{"4.2.2", "with a query too", []step{get.at("?a").gives("Last-Modified: {now-1000}"), get.at("?a").after(99).hits()}},
		},
		each([]int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}, func(code int) script {
			return script{"4.2.2", "status " + digits(code), []step{get.code(code).gives("Last-Modified: {now-1000}"), get.after(99).hits()}}
		}),
		each([]int{201, 202, 302, 303, 307, 400, 401, 403, 418, 500, 502, 503, 504, 599}, func(code int) script {
			return script{"4.2.2", "not with status " + digits(code), []step{get.code(code).gives("Last-Modified: {now-1000}"), get.after(1).gives()}}
		}),
		[]script{
			{"4.2.3", "Age is that of the entry", []step{get.gives(minute), get.hits().shows("Age: 0"), get.after(7).hits().shows("Age: 7"), get.after(7).hits().shows("Age: 14")}},
			{"4.2.3", "a received Age counts", []step{get.gives(minute, "Age: 30"), get.after(29).hits().shows("Age: 59"), get.after(1).gives()}},
			never("4.2.3", "stale on arrival", minute, "Age: 60"),
			never("4.2.3", "long stale on arrival", minute, "Age: 7200"),
			never("4.2.3", "an Age beyond 2^31", minute, "Age: 2147483649"),
			never("4.2.3", "an Age beyond any number", minute, "Age: "+strings.Repeat("9", 100)),
			{"4.2.3", "Age with leading zeros", []step{get.gives(minute, "Age: 0030"), get.hits().shows("Age: 30")}},
			{"4.2.3", "Age counts against Expires", []step{get.gives("Expires: {now+60}", "Age: 30"), get.after(29).hits(), get.after(1).gives()}},
			{"4.2.3", "an old Date is apparent age", []step{get.gives(minute, "Date: {now-30}"), get.hits().shows("Age: 30"), get.after(29).hits().shows("Age: 59"), get.after(1).gives()}},
			never("4.2.3", "a Date too old", minute, "Date: {now-60}"),
			{"4.2.3", "the greater of apparent age and Age: Age", []step{get.gives(minute, "Date: {now-10}", "Age: 30"), get.hits().shows("Age: 30")}},
			{"4.2.3", "the greater of apparent age and Age: Date", []step{get.gives(minute, "Date: {now-30}", "Age: 10"), get.hits().shows("Age: 30")}},
			{"4.2.3", "a Date in the future is no negative age", []step{get.gives(minute, "Date: {now+30}"), get.hits().shows("Age: 0"), get.after(59).hits().shows("Age: 59"), get.after(1).gives()}},
			{"4.2.3", "Expires is measured from Date", []step{get.gives("Date: {now+100}", "Expires: {now+110}"), get.after(9).hits(), get.after(1).gives()}},
			{"4.2.3", "an invalid Date counts as now", []step{get.gives(minute, "Date: yesterday"), get.after(59).hits().shows("Age: 59"), get.after(1).gives()}},
			{"4.2.3", "the time to respond counts", []step{get.slowly(10).gives(minute, "Age: 5"), get.hits().shows("Age: 15"), get.after(44).hits(), get.after(1).gives()}},
			{"4.2.3", "an old Date in the format of RFC 850", []step{get.gives(minute, "Date: {rfc850 now-30}"), get.hits().shows("Age: 30")}},
			{"4.2.3", "an old Date in the format of asctime", []step{get.gives(minute, "Date: {asctime now-30}"), get.hits().shows("Age: 30")}},
			{"4.2.3", "HEAD begins Age anew", []step{get.gives(ten, tag), head.after(10).gives(ten, tag), get.after(5).hits().shows("Age: 5")}},
			{"4.2.3", "slower than its lifetime", []step{get.slowly(60).gives(minute), get.gives()}},
			{"4.2.3", "Age begins anew with validation", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(15).validates().shows("Age: 0"), get.after(3).hits().shows("Age: 3"),
			}},
			{"4.2.3", "Age of a 304 counts", []step{
				get.gives("Cache-Control: max-age=10", tag), get.after(15).validates("Age: 4").shows("Age: 4"), get.after(5).hits().shows("Age: 9"), get.after(1).validates(),
			}},
			{"4.2.3", "Age of the first response does not outlive validation", []step{
				get.gives("Cache-Control: max-age=10", tag, "Age: 8"), get.after(5).validates().shows("Age: 0"), get.after(9).hits().shows("Age: 9"),
			}},
		},
		each([]string{"-1", "abc", "30.5", "30s", "1e1", "'30'", "+30", ""}, func(age string) script {
			return script{"5.1", "an invalid Age is ignored: " + age, []step{get.gives(minute, "Age: "+age), get.after(59).hits().shows("Age: 59"), get.after(1).gives()}}
		}),
		[]script{
			{"5.1", "of a list the first", []step{get.gives(minute, "Age: 10, 30"), get.hits().shows("Age: 10")}},
			{"5.1", "of several lines the first", []step{get.gives(minute, "Age: 10", "Age: 30"), get.hits().shows("Age: 10")}},
			{"5.1", "of a list the first, also if it is too old", []step{get.gives(minute, "Age: 100, 0"), get.gives()}},
			{"5.1", "one Age field in the answer", []step{get.gives(minute, "Age: 10"), get.after(5).hits().shows("Age: 15")}},
			{"5.1", "a HEAD sees Age", []step{get.gives(minute), head.after(5).hits().shows("Age: 5")}},
			{"5.1", "a 304 to the client has Age", []step{get.gives(minute, tag), get.after(5).with(`If-None-Match: "a"`).hits().as(304).shows("Age: 5")}},

			{"4.2.4", "stale where the origin closes the connection", []step{get.gives("Cache-Control: max-age=10"), get.after(15).fails().stale().shows("Age: 15")}},
			{"4.2.4", "stale with a validator likewise", []step{get.gives("Cache-Control: max-age=10", tag), get.after(15).fails().stale().shows("Age: 15")}},
			{"4.2.4", "stale heuristics likewise", []step{get.gives("Last-Modified: {now-100}"), get.after(15).fails().stale()}},
			{"4.2.4", "not without a stored response", []step{get.fails()}},
			{"4.2.4", "not where the origin answers", []step{get.gives("Cache-Control: max-age=10"), get.after(10).gives()}},
			{"4.2.4", "not with must-revalidate", []step{get.gives("Cache-Control: max-age=10, must-revalidate"), get.after(15).fails()}},
			{"4.2.4", "not with proxy-revalidate", []step{get.gives("Cache-Control: max-age=10, proxy-revalidate"), get.after(15).fails()}},
			{"4.2.4", "not with s-maxage", []step{get.gives("Cache-Control: s-maxage=10"), get.after(15).fails()}},
			{"4.2.4", "not with no-cache", []step{get.gives("Cache-Control: no-cache, max-age=10", tag), get.after(5).fails()}},
			{"4.2.4", "not with no-cache of the request", []step{get.gives("Cache-Control: max-age=10"), get.after(15).with("Cache-Control: no-cache").fails()}},
			{"4.2.4", "once the origin answers again, no more", []step{
				get.gives("Cache-Control: max-age=10"), get.after(15).fails().stale(), get.gives(minute), get.hits(3),
			}},
			{"4.2.4", "no Warning is sent", []step{get.gives("Cache-Control: max-age=10"), get.after(15).fails().stale().shows("!Warning")}},
			{"4.2.4", "a fresh answer does not need the origin", []step{get.gives(minute), get.hits(), get.after(59).hits()}},
			{"4.2.4", "stale with a condition", []step{get.gives(ten, tag), get.after(15).with(`If-None-Match: "a"`).fails().stale().as(304).reads("")}},
			{"4.2.4", "stale with a range", []step{get.text(numbers).gives(ten), get.after(15).with("Range: bytes=2-5").fails().stale().as(206).reads("2345")}},
			{"4.2.4", "stale to a HEAD", []step{get.gives("Cache-Control: max-age=10"), head.after(15).fails().stale().reads("")}},

			lives("5.3", "the preferred format", 60, "Expires: {now+60}"),
			lives("5.3", "the format of RFC 850", 60, "Expires: {rfc850 now+60}"),
			lives("5.3", "the format of asctime", 60, "Expires: {asctime now+60}"),
			never("5.3", "in the past", "Expires: {now-60}"),
			never("5.3", "equal to Date", "Expires: {now}"),
			lives("5.3", "the same twice", 60, "Expires: {now+60}", "Expires: {now+60}"),
			lives("5.3", "an empty Cache-Control does not matter", 60, "Expires: {now+60}", "Cache-Control: "),
			lives("5.3", "an unknown directive does not matter", 60, "Expires: {now+60}", "Cache-Control: foo"),
			lives("5.3", "public does not matter", 60, "Expires: {now+60}", "Cache-Control: public"),
			reused("5.3", "far in the future", "Expires: Thu, 31 Dec 2099 23:59:59 GMT"),
			reused("5.3", "beyond all clocks", "Expires: Thu, 31 Dec 9999 23:59:59 GMT"),
			reused("5.3", "letters have no case", "Expires: thu, 31 DEC 2099 23:59:59 gmt"),
			reused("5.3", "the weekday may be wrong", "Expires: Mon, 31 Dec 2099 23:59:59 GMT"),
		},
		each([]string{
			"0", "-1", "", "1", "never", "Thu, 31 Dec 2099 23:59:59", "Thu, 31 Dec 2099 23:59:59 PST", "Thu, 31 Dec 2099 23:59:59 +0000",
			"31 Dec 2099 23:59:59 GMT", "Thu, 32 Dec 2099 23:59:59 GMT", "Thu, 31 Foo 2099 23:59:59 GMT", "Thu, 31 Dec 2099 25:59:59 GMT",
			"Thu, 31 Dec 2099 23:59 GMT", "Thu 31 Dec 2099 23:59:59 GMT", "2099-12-31T23:59:59Z", "4102444799", "Thu, 31 Dec 2099 23.59.59 GMT",
			`"Thu, 31 Dec 2099 23:59:59 GMT"`,
		}, func(date string) script { return never("5.3", "invalid: "+date, "Expires: "+date) }),
	)
}
