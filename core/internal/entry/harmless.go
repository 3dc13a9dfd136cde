package entry

import (
	"strconv"
	"strings"
)

// A checksum keeps damage away, not somebody who may write to the store. What is
// read there is at least never more than a response: none of its header fields
// can end the header, begin another response, or say where the body ends.

// ValidField reports whether a field may be stored.
func ValidField(name, value string) bool {
	if !token(name) || reserved(name) {
		return false
	}
	for i := range len(value) {
		if forbidden[value[i]] {
			return false
		}
	}
	return true
}

// harmless reports whether the header is one that Encode has been given.
func (e *Entry) harmless() bool {
	for f := range e.Header {
		if !ValidField(f.Name, f.Value) {
			return false
		}
		if len(f.Name) == len("Content-Length") && strings.EqualFold(f.Name, "Content-Length") {
			if n, err := strconv.ParseUint(f.Value, 10, 63); err != nil || n != uint64(len(e.Body)) {
				return false
			}
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
