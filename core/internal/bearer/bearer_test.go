package bearer

import (
	"net/http"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	const good = "0123456789abcdef"
	for text, want := range map[string]string{good: "", "": "", good[1:]: "15 bytes are too few: use 16 or more", " " + good: "a space", good + "\n": "a space"} {
		token, err := NewToken(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		for _, given := range []string{"", good, good[1:], good + "0", strings.ToUpper(good)} {
			if is := token.Is(given); is != (err == nil && text == given && given != "") {
				t.Errorf("%q is %q: %v", text, given, is)
			}
		}
		if token.Set() != (text == good) {
			t.Errorf("%q is set: %v", text, token.Set())
		}
	}
}

func TestSent(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
		sent  bool
	}{
		{nil, "", false},
		{[]string{"Bearer x"}, "x", true},
		{[]string{"bEARER  x "}, "x", true},
		{[]string{"Bearer "}, "", true},
		{[]string{"Bearer"}, "", false},
		{[]string{"Basic x"}, "", false},
		{[]string{"Bearer x", "Bearer x"}, "", false},
	} {
		if got, sent := Sent(http.Header{"Authorization": c.lines}); got != c.want || sent != c.sent {
			t.Errorf("%q: %q, %v", c.lines, got, sent)
		}
	}
}
