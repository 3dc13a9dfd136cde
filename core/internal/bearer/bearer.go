// Package bearer lets those use an endpoint who have its token (RFC 6750).
package bearer

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// minToken keeps tokens from being guessed.
const minToken = 16

// Token is what a request has to carry. The zero value is none, which no request has.
type Token struct {
	sum [sha256.Size]byte
	set bool
}

// NewToken refuses what no request could carry, and what could be guessed. An empty text
// is the zero Token.
func NewToken(text string) (Token, error) {
	switch {
	case text != strings.TrimSpace(text):
		return Token{}, errors.New("it begins or ends with a space, which no request can: remove it")
	case text != "" && len(text) < minToken:
		return Token{}, fmt.Errorf("%d bytes are too few: use %d or more", len(text), minToken)
	}
	return Token{sha256.Sum256([]byte(text)), text != ""}, nil
}

// Set reports whether there is one.
func (t Token) Set() bool { return t.set }

// Is compares in constant time.
func (t Token) Is(given string) bool {
	sum := sha256.Sum256([]byte(given)) // lengths are equal then
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 && t.set
}

// Sent is the token that a request carries.
func Sent(h adapter.Header) (token string, sent bool) {
	if lines := h.Values("Authorization"); len(lines) == 1 {
		if scheme, rest, found := strings.Cut(lines[0], " "); found && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}
