package rfc9111

import (
	"fmt"
	"slices"
	"strings"
)

// part is a request for a range, and the origin's 206 with that of numbers.
func part(wanted string, first, last int, fields ...string) step {
	s := get.with("Range: bytes=" + wanted).code(206).text(numbers[first : last+1])
	return s.gives(slices.Concat([]string{fmt.Sprintf("Content-Range: bytes %d-%d/10", first, last)}, fields)...)
}

// kept is a request for a range that is answered from parts.
func kept(wanted string, first, last int, from ...int) step {
	return get.with("Range: bytes="+wanted).hits(from...).as(206).reads(numbers[first:last+1]).
		shows(fmt.Sprintf("Content-Range: bytes %d-%d/10", first, last), fmt.Sprint("Content-Length: ", last-first+1), "Age")
}

// parted is a 206 that is stored, and a range that it answers.
func parted(section, name, wanted string, first, last int, fields ...string) script {
	return script{section, name, []step{part("2-6", 2, 6, fields...), kept(wanted, first, last)}}
}

// unparted is a 206, or what is taken for one, that is not stored.
func unparted(section, name, wanted string, status int, body string, fields ...string) script {
	s := get
	if wanted != "" {
		s = s.with("Range: " + wanted)
	}
	return script{section, name, []step{
		s.code(status).text(body).gives(fields...), s.code(status).text(body).gives(fields...), get.gives(minute), get.hits(3),
	}}
}

func parts() []script {
	modified := "Last-Modified: {start-60}"
	return slices.Concat(
		[]script{
			parted("3.3", "a part is stored, and answers the same range", "2-6", 2, 6, minute),
			parted("3.3", "a range within a part", "3-5", 3, 5, minute),
			parted("3.3", "its first byte", "2-2", 2, 2, minute),
			parted("3.3", "its last byte", "6-6", 6, 6, minute),
			parted("3.3", "by s-maxage", "3-5", 3, 5, "Cache-Control: s-maxage=60"),
			parted("3.3", "by Expires", "3-5", 3, 5, "Expires: {now+60}"),
			parted("3.3", "with must-understand", "3-5", 3, 5, "Cache-Control: no-store, must-understand, max-age=60"),
			parted("3.3", "with a weak ETag", "3-5", 3, 5, minute, `ETag: W/"a"`),
			{"3.3", "a part from the end", []step{part("-5", 5, 9, minute).asks("Range: bytes=-5"), kept("-5", 5, 9)}},
			{"3.3", "a range within a part from the end", []step{part("-5", 5, 9, minute), kept("6-8", 6, 8)}},
			{"3.3", "an open range within a part from the end", []step{part("-5", 5, 9, minute), kept("7-", 7, 9)}},
			{"3.3", "a suffix within a part from the end", []step{part("-5", 5, 9, minute), kept("-1", 9, 9)}},
			{"3.3", "a range that ends beyond the end", []step{part("-5", 5, 9, minute), kept("7-100", 7, 9)}},
			{"3.3", "Content-Range says what a part is, whatever was asked for", []step{part("-5", 0, 4, minute), kept("1-3", 1, 3)}},
			{"3.3", "the fields of a part", []step{
				part("2-6", 2, 6, minute, tag, "Content-Type: text/x", "X-A: 1", "Content-Location: /x"),
				kept("3-5", 3, 5).shows(tag, "Content-Type: text/x", "X-A: 1", "Content-Location: /x", "Date: {start}"),
			}},
			{"3.3", "the age of a part", []step{part("2-6", 2, 6, minute), kept("3-5", 3, 5).after(7).shows("Age: 7")}},
			{"3.3", "several ranges within parts", []step{
				part("0-5", 0, 5, minute, "Content-Type: text/x"),
				get.with("Range: bytes=0-1, 4-5").hits().as(206).shows("Content-Type: ~multipart/byteranges; boundary=", "!Content-Range").
					reads("--*\r\nContent-Range: bytes 0-1/10\r\nContent-Type: text/x\r\n\r\n01\r\n--*\r\nContent-Range: bytes 4-5/10\r\nContent-Type: text/x\r\n\r\n45\r\n--*--\r\n"),
			}},
			{"3.3", "one of several ranges is not there", []step{
				part("0-5", 0, 5, minute), get.with("Range: bytes=0-1, 7-8").text(numbers).gives(minute).asks("Range: bytes=0-1, 7-8"), get.hits(2),
			}},
			{"3.3", "a part does not answer for the whole", []step{part("2-6", 2, 6, minute), get.gives(minute).asks("!Range").shows("Cache-Status: ~fwd=partial"), get.hits(2)}},
			{"3.3", "nor a range that is partly there", []step{part("2-6", 2, 6, minute), part("5-8", 5, 8, minute).asks("Range: bytes=5-8")}},
			{"3.3", "nor one beside it", []step{part("2-6", 2, 6, minute), part("7-8", 7, 8, minute).asks("Range: bytes=7-8")}},
			{"3.3", "nor one that there is not", []step{part("2-6", 2, 6, minute), get.with("Range: bytes=20-").code(416).gives("Content-Range: bytes */10").asks("Range: bytes=20-")}},
			{"3.3", "nor a HEAD", []step{part("2-6", 2, 6, minute), head.gives(minute, "Content-Length: 10").shows("Content-Length: 10")}},
			{"3.3", "nor a range that is ignored", []step{part("2-6", 2, 6, minute), get.with("Range: lines=3-4").text(numbers).gives(minute)}},
			{"3.3", "a complete response takes the place of parts", []step{part("2-6", 2, 6, minute), get.text(numbers).gives(minute), get.hits(2), kept("0-3", 0, 3, 2)}},
			{"3.3", "a part that is all there is", []step{part("0-", 0, 9, minute), get.hits().as(200).reads(numbers).shows("!Content-Range")}},

			unparted("3.3", "no lifetime of its own", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/10"),
			unparted("3.3", "a heuristic is none", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/10", "Last-Modified: {now-100000}"),
			unparted("3.3", "no-store", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/10", control("max-age=60, no-store")),
			unparted("3.3", "private", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/10", control("max-age=60, private")),
			unparted("3.3", "a part without Content-Range", "bytes=0-3", 206, "0123", minute),
			unparted("3.3", "an unknown complete length", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/*", minute),
			unparted("3.3", "fewer bytes than Content-Range says", "bytes=0-4", 206, "0123", "Content-Range: bytes 0-4/10", minute),
			unparted("3.3", "more bytes than Content-Range says", "bytes=0-2", 206, "0123", "Content-Range: bytes 0-2/10", minute),
			unparted("3.3", "a part that ends before it begins", "bytes=0-3", 206, "0123", "Content-Range: bytes 3-0/10", minute),
			unparted("3.3", "a part beyond the end", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/3", minute),
			unparted("3.3", "another unit", "bytes=0-3", 206, "0123", "Content-Range: lines 0-3/10", minute),
			unparted("3.3", "a length beyond any number", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/"+strings.Repeat("9", 30), minute),
			unparted("3.3", "two Content-Ranges", "bytes=0-3", 206, "0123", "Content-Range: bytes 0-3/10", "Content-Range: bytes 4-7/10", minute),
			unparted("3.3", "a part that nobody asked for", "", 206, "0123", "Content-Range: bytes 0-3/10", minute),
			unparted("3.3", "a 200 with Content-Range", "bytes=0-3", 200, "0123", "Content-Range: bytes 0-3/10", minute),
		},
		[]script{
			{"3.4", "parts with the same ETag are combined", []step{part("0-4", 0, 4, minute, tag), part("5-9", 5, 9, minute, tag), get.hits(2).as(200).reads(numbers).shows("!Content-Range", "Content-Length: 10", tag)}},
			{"3.4", "also where they overlap", []step{part("0-6", 0, 6, minute, tag), part("4-", 4, 9, minute, tag), get.hits(2).as(200).reads(numbers)}},
			{"3.4", "also where something is missing", []step{part("0-2", 0, 2, minute, tag), part("6-8", 6, 8, minute, tag), kept("1-2", 1, 2, 2), kept("7-8", 7, 8, 2), get.with("Range: bytes=2-6").code(206).text("345").gives(minute, tag, "Content-Range: bytes 3-5/10").asks("Range: bytes=3-5", `If-Range: "a"`).reads("23456").shows("Content-Range: bytes 2-6/10")}},
			{"3.4", "parts with the same strong date are combined", []step{part("0-4", 0, 4, minute, modified), part("5-9", 5, 9, minute, modified), get.hits(2).as(200).reads(numbers)}},
			{"3.4", "with a date of just now they are not", []step{part("0-4", 0, 4, minute, "Last-Modified: {start}"), part("5-9", 5, 9, minute, "Last-Modified: {start}"), get.gives(minute)}},
			{"3.4", "with a weak ETag they are not", []step{part("0-4", 0, 4, minute, `ETag: W/"a"`), part("5-9", 5, 9, minute, `ETag: W/"a"`), kept("6-8", 6, 8, 2), get.gives(minute)}},
			{"3.4", "without a validator they are not", []step{part("0-4", 0, 4, minute), part("5-9", 5, 9, minute), kept("6-8", 6, 8, 2), get.gives(minute).asks("!Range")}},
			{"3.4", "with another ETag they are not", []step{part("0-4", 0, 4, minute, tag), part("5-9", 5, 9, minute, `ETag: "b"`), kept("6-8", 6, 8, 2), part("0-4", 0, 4, minute, tag)}},
			{"3.4", "with another length they are not", []step{
				part("0-4", 0, 4, minute, tag), get.with("Range: bytes=5-6").code(206).text("56").gives(minute, tag, "Content-Range: bytes 5-6/11"),
				part("0-4", 0, 4, minute, tag),
			}},
			{"3.4", "what contradicts what is known takes its place", []step{
				part("0-4", 0, 4, minute, tag), get.with("Range: bytes=5-6").code(206).text("xxx").gives(minute, tag, "Content-Range: bytes 4-6/10"),
				get.with("Range: bytes=4-6").hits(2).as(206).reads("xxx"), part("0-3", 0, 3, minute, tag).asks("Range: bytes=0-3"),
			}},
			{"3.4", "the newest fields win, and the others stay", []step{
				part("0-4", 0, 4, minute, tag, "X-A: 1", "X-B: 1"), part("5-9", 5, 9, minute, tag, "X-A: 2"), get.hits(2).as(200).reads(numbers).shows("X-A: 2", "X-B: 1"),
			}},
			{"3.4", "a part makes the others fresh again", []step{
				part("0-4", 0, 4, ten, tag), part("5-7", 5, 7, ten, tag).after(20), kept("0-7", 0, 7, 2).after(5).shows("Age: 5"),
			}},
			{"3.4", "what is missing of the whole is asked for", []step{
				part("-5", 0, 4, minute, tag), get.code(206).text("56789").gives(minute, tag, "Content-Range: bytes 5-9/10").asks("Range: bytes=5-", `If-Range: "a"`).as(200).reads(numbers).shows("!Content-Range", "Content-Length: 10"),
				get.hits(2).as(200).reads(numbers),
			}},
			{"3.4", "what is missing before a part", []step{
				part("5-", 5, 9, minute, tag), get.code(206).text("01234").gives(minute, tag, "Content-Range: bytes 0-4/10").asks("Range: bytes=0-4", `If-Range: "a"`).as(200).reads(numbers),
			}},
			{"3.4", "what is missing, where all has changed", []step{
				part("0-4", 0, 4, minute, tag), get.text("abc").gives(minute, `ETag: "b"`).asks("Range: bytes=5-", `If-Range: "a"`), get.hits(2),
			}},
			{"3.4", "what is missing, by a strong date", []step{
				part("0-4", 0, 4, minute, modified), get.code(206).text("56789").gives(minute, modified, "Content-Range: bytes 5-9/10").asks("Range: bytes=5-", "If-Range: {start-60}").as(200).reads(numbers),
			}},
			{"3.4", "what is missing is not asked for by a date of just now", []step{part("0-4", 0, 4, minute, "Last-Modified: {start}"), get.gives(minute).asks("!Range", "!If-Range"), get.hits(2)}},
			{"3.4", "nor by a weak ETag", []step{part("0-4", 0, 4, minute, `ETag: W/"a"`, modified), get.gives(minute).asks("!Range", "!If-Range"), get.hits(2)}},
			{"3.4", "nor without a validator", []step{part("0-4", 0, 4, minute), get.gives(minute).asks("!Range", "!If-Range"), get.hits(2)}},
			{"3.4", "a client's condition, when the whole is completed", []step{
				part("0-4", 0, 4, minute, tag), get.with(`If-None-Match: "a"`).code(206).text("56789").gives(minute, tag, "Content-Range: bytes 5-9/10").asks("!If-None-Match").as(304).reads(""),
				get.hits(2).as(200).reads(numbers),
			}},
			{"3.4", "a part of another version, in place of what is missing, reaches nobody", []step{
				part("0-4", 0, 4, minute, tag), get.code(206).text("fghij").gives(minute, `ETag: "b"`, "Content-Range: bytes 5-9/10").as(502).reads("").shows("!Content-Range"),
				get.gives(minute), get.hits(3),
			}},
			{"3.4", "an error in place of what is missing is passed on", []step{part("0-4", 0, 4, minute, tag), get.code(500).gives(), kept("1-3", 1, 3)}},
			{"3.4", "404 in place of what is missing is passed on, and there is nothing any more", []step{part("0-4", 0, 4, minute, tag), get.code(404).gives(), part("1-3", 1, 3, minute, tag)}},
			{"3.4", "parts of variants are not combined", []step{
				part("0-4", 0, 4, minute, tag, "Vary: X").with("X: 1"), part("5-9", 5, 9, minute, tag, "Vary: X").with("X: 2"),
				kept("1-2", 1, 2).with("X: 1"), kept("6-7", 6, 7, 2).with("X: 2"), get.with("X: 3").gives(minute),
			}},
			{"3.4", "an unsafe method removes parts", []step{part("0-4", 0, 4, minute, tag), send("POST").gives(), part("0-4", 0, 4, minute, tag)}},

			{"4.3.1", "a part is validated where it has what is asked for", []step{
				part("0-4", 0, 4, ten, tag), get.after(20).with("Range: bytes=1-3").validates(ten).asks(`If-None-Match: "a"`, "!Range").as(206).reads("123"), kept("0-4", 0, 4),
			}},
			{"4.3.2", "If-None-Match and a range within a part", []step{part("0-4", 0, 4, minute, tag), get.with(`If-None-Match: "a"`, "Range: bytes=1-3").hits().as(304)}},
			{"4.2.4", "a stale part in place of an error", []step{part("0-4", 0, 4, ten, tag), get.after(20).with("Range: bytes=1-3").fails().stale().as(206).reads("123")}},
			{"4.2.4", "and not where it is not enough", []step{part("0-4", 0, 4, ten, tag), get.after(20).with("Range: bytes=1-6").fails()}},
			{"5.2.1.7", "only-if-cached with a range within a part", []step{part("0-4", 0, 4, minute), kept("1-3", 1, 3).with(control("only-if-cached")), get.with(control("only-if-cached")).refused(), get.with("Range: bytes=3-6", control("only-if-cached")).refused()}},
			{"RFC 9110 13.1.5", "If-Range with the ETag of a part", []step{part("0-4", 0, 4, minute, tag), kept("1-3", 1, 3).with(`If-Range: "a"`)}},
			{"RFC 9110 13.1.5", "If-Range with another one", []step{part("0-4", 0, 4, minute, tag), get.with("Range: bytes=1-3", `If-Range: "b"`).text(numbers).gives(minute, tag).asks(`If-Range: "b"`)}},
		},
	)
}
