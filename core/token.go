package cacheaside

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// passStart begins a note, which stands under a lock in place of a token and says that
	// the handler's response is not for others. Like a token it is unique, and a claim
	// can be made of it.
	passStart = "pass:"
	// freeStart begins the token of a run that nobody has to wait for.
	freeStart = "free:"
	// maxHold bounds how long a token is prolonged for one run of a handler.
	maxHold = 2 * time.Minute
)

// tokenStart is how long the beginning of a token is that tells processes apart.
const tokenStart = 17

// token returns a text that nobody else has.
func (c *claims) token() string { return c.process + strconv.FormatUint(c.tokens.Add(1), 36) }

// isLockToken reports whether s has the form of a token, of whatever process.
func isLockToken(s string) bool {
	if len(s) <= tokenStart || s[tokenStart-1] != '-' {
		return false
	}
	return !strings.ContainsFunc(s[:tokenStart-1], func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') })
}

func isNote(token string) bool { return strings.HasPrefix(token, passStart) }

func isFree(token string) bool { return strings.HasPrefix(token, freeStart) }

// live are the tokens of this process whose runs are not over. Several runs may use one,
// as where a handle further in takes that of the handle further out.
type live struct {
	mu     sync.Mutex
	tokens map[string]users
}

type users struct {
	runs int
	used bool // a response was stored by it, and it is gone
}

func (l *live) add(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tokens == nil {
		l.tokens = map[string]users{}
	}
	l.tokens[token] = users{runs: 1}
}

// join reports whether the token is alive, and counts one run more that uses it.
func (l *live) join(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, ok := l.tokens[token]
	if ok {
		u.runs++
		l.tokens[token] = u
	}
	return ok
}

// leave counts one run less, and reports whether the token is unused by now and has to
// be removed from the store.
func (l *live) leave(token string, used bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.tokens[token]
	u.used = u.used || used
	if u.runs--; u.runs > 0 {
		l.tokens[token] = u
		return false
	}
	delete(l.tokens, token)
	return !u.used
}

// used reports whether another run has stored a response by the token.
func (l *live) used(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens[token].used
}
