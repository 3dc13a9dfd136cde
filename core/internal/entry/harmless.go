package entry

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"
)

// A checksum keeps damage away, not somebody who may write to the store. What is
// read there is at least never more than a response: none of its header fields
// can end the header, begin another response, or say where the body ends.

// ValidField reports whether a field may be stored.
func ValidField(name, value string) bool {
	if !ordinary(name) && (!token(name) || reserved(name)) {
		return false
	}
	return printable(value)
}

// Harmless reports whether the header of a response is one that may be stored. It
// is for what somebody else may have written.
func (e *Entry) Harmless() bool {
	for f := range e.Header {
		if !ValidField(f.Name, f.Value) {
			return false
		}
		if len(f.Name) == len("Content-Length") && strings.EqualFold(f.Name, "Content-Length") {
			if n, err := strconv.ParseUint(f.Value, 10, 63); err != nil || n != e.Length() {
				return false
			}
		}
	}
	return true
}

// Sound reports whether b, if it is an entry at all, is whole and harmless.
func Sound(b []byte) bool {
	if recognise(b) != nil {
		return true
	}
	var e Entry
	return Decode(b, &e) == nil && (e.Kind != KindResponse || e.Harmless())
}

// ordinary spares the names that are in most responses a closer look.
func ordinary(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Cache-Control", "Date", "Etag", "Expires",
		"Last-Modified", "Location", "Vary", "Link", "Server", "Access-Control-Allow-Origin", "Strict-Transport-Security",
		"X-Content-Type-Options", "X-Frame-Options", "X-Request-Id", "Referrer-Policy", "Content-Security-Policy", "Cdn-Cache-Control":
		return true
	}
	return false
}

// printable reports whether there are no control characters but tabs (RFC 9110
// section 5.5). It looks at eight bytes at a time.
func printable(value string) bool {
	b := unsafe.Slice(unsafe.StringData(value), len(value))
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		// A byte below 0x20, or one that is 0x7f; perhaps also its neighbour.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&high != 0 {
			for _, c := range b[:8] {
				if forbidden[c] {
					return false
				}
			}
		}
		b = b[8:]
	}
	for _, c := range b {
		if forbidden[c] {
			return false
		}
	}
	return true
}

// reserved are the fields that are the connection's own, in any case.
func reserved(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 7:
		return strings.EqualFold(name, "Trailer") || strings.EqualFold(name, "Upgrade")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

func token(name string) bool {
	for i := range len(name) {
		if !nameByte[name[i]] {
			return false
		}
	}
	return name != ""
}

var (
	// nameByte are those of a token (RFC 9110 section 5.6.2).
	nameByte = func() (t [256]bool) {
		for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			t[c] = true
		}
		return t
	}()
	// forbidden are the bytes that no value has (RFC 9110 section 5.5).
	forbidden = func() (t [256]bool) {
		for c := range 0x20 {
			t[c] = c != '\t'
		}
		t[0x7f] = true
		return t
	}()
)
