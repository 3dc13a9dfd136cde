package redact

import (
	"errors"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	for wire, want := range map[string]string{
		"cacheaside:2:{GET:https://example.com/blogs/1000?page=2}":                                               "https://example.com/blogs/1000?page=…",
		"cacheaside:2:{GET:https://example.com/?wsdl}:0123456789abcdef0123456789abcdef":                          "https://example.com/?wsdl (variant)",
		"cacheaside:2:{GET:https://example.com/a}:lock":                                                          "https://example.com/a (lock)",
		"cacheaside:2:{QUERY:https://example.com/a|b:" + strings.Repeat("0", 64) + "}":                           "QUERY https://example.com/a content=…",
		"cacheaside:2:{POST:https://example.com/a|h:A=1|b:" + strings.Repeat("0", 64) + "}":                      "POST https://example.com/a A: … content=…",
		"cacheaside:2:{GET:////a|p:*?x=1|t:/b?y=2|u:me|h:A=1|=2|c:sid=3}":                                        "////a*?x=… as /b?y=… partition=… A: … cookie sid=…",
		"cacheaside:2:{GET:https://example.com/" + strings.Repeat("a", 50) + "~" + strings.Repeat("0", 64) + "}": "https://example.com/" + strings.Repeat("a", 50) + "~…",
		"": "",
		"cacheaside:2:{GET:https://example.com/a?b=x": "https://example.com/a?b=…", // cut
	} {
		if got := Key(wire); got != want {
			t.Errorf("%s: %s", wire, got)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("cacheaside:2:{GET:https://example.com/blogs/1000?page=2|u:x}:0123")
	f.Fuzz(func(t *testing.T, wire string) {
		got := Key(wire)
		if len(got) > MaxKey+40 || strings.ContainsAny(got, "\x00\x1b\u202e\u2066\n") {
			t.Errorf("%q", got)
		}
		Text(wire, 1000)
	})
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"GET cacheaside:2:{GET:https://example.com/?a=x}: refused":        "GET https://example.com/?a=… refused",
		"dial redis://user:word@example.com:6379: refused":                "dial redis://…@example.com:6379: refused",
		"url: https://example.com/?token=x, try ?a=b":                     "url: https://example.com/?token=… try ?a=…",
		errors.Join(errors.New("one"), errors.New("another\x1b")).Error(): `one; another\u{1b}`,
	} {
		if got := Text(text, 100); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
