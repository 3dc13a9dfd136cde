package httprules

import (
	"strconv"

	"github.com/dunglas/httpsfv"
)

// CacheStatus is one member of the Cache-Status field (RFC 9211).
type CacheStatus struct {
	Name              string
	Hit               bool
	Fwd               string // a token; without it FwdStatus, Stored and Collapsed mean nothing and are left out
	FwdStatus         int
	TTL               int64 // seconds
	HasTTL            bool
	Stored, Collapsed bool
	Key, Detail       string
}

// Append appends the member in its structured form, like
// "cacheaside; hit; ttl=27".
func (s CacheStatus) Append(dst []byte) []byte {
	dst = appendTokenOrString(dst, s.Name)
	switch {
	case s.Hit: // excludes fwd (RFC 9211 section 2.2)
		dst = append(dst, "; hit"...)
	case isSFToken(s.Fwd):
		dst = append(append(dst, "; fwd="...), s.Fwd...)
		if s.FwdStatus != 0 {
			dst = appendInteger(append(dst, "; fwd-status="...), int64(s.FwdStatus))
		}
	}
	if s.HasTTL {
		dst = appendInteger(append(dst, "; ttl="...), s.TTL)
	}
	if !s.Hit && isSFToken(s.Fwd) {
		if s.Stored {
			dst = append(dst, "; stored"...)
		}
		if s.Collapsed {
			dst = append(dst, "; collapsed"...)
		}
	}
	if s.Key != "" {
		dst = appendString(append(dst, "; key="...), s.Key)
	}
	if s.Detail != "" {
		dst = appendTokenOrString(append(dst, "; detail="...), s.Detail)
	}
	return dst
}

func appendTokenOrString(dst []byte, s string) []byte {
	if isSFToken(s) {
		return append(dst, s...)
	}
	return appendString(dst, s)
}

// appendString appends a String of RFC 9651 section 3.3.3. It has no way to
// hold anything but printable ASCII.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
			dst = append(dst, '?')
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		default:
			dst = append(dst, byte(r))
		}
	}
	return append(dst, '"')
}

// appendInteger appends an Integer of RFC 9651 section 3.3.1: 15 digits.
func appendInteger(dst []byte, n int64) []byte {
	const limit = 999_999_999_999_999
	return strconv.AppendInt(dst, min(max(n, -limit), limit), 10)
}

// isSFToken reports whether s is a Token of RFC 9651 section 3.3.4.
func isSFToken(s string) bool {
	if s == "" {
		return false
	}
	if c := lowerByte(s[0]); s[0] != '*' && (c < 'a' || c > 'z') {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != ':' && c != '/' && !isTokenByte(c) {
			return false
		}
	}
	return true
}

// ParseCacheStatus reads the members of the Cache-Status field of which lines are the
// lines, in their order: the last one is of the cache nearest to the client. What RFC 9211
// does not define is left out, a parameter of another type than its own as well. It fails
// where the field is no list of tokens and strings by RFC 9651.
func ParseCacheStatus(lines []string) (members []CacheStatus, ok bool) {
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil, false
	}
	for _, member := range list {
		item, isItem := member.(httpsfv.Item)
		name, named := tokenOrString(item.Value)
		if !isItem || !named {
			return nil, false
		}
		s := CacheStatus{Name: name}
		for _, key := range item.Params.Names() {
			v, _ := item.Params.Get(key)
			s.set(key, v)
		}
		members = append(members, s)
	}
	return members, true
}

// set sets a parameter.
func (s *CacheStatus) set(key string, value any) {
	switch key {
	case "hit":
		s.Hit, _ = value.(bool)
	case "fwd":
		token, _ := value.(httpsfv.Token)
		s.Fwd = string(token)
	case "fwd-status":
		n, _ := value.(int64)
		s.FwdStatus = int(n)
	case "ttl":
		s.TTL, s.HasTTL = value.(int64)
	case "stored":
		s.Stored, _ = value.(bool)
	case "collapsed":
		s.Collapsed, _ = value.(bool)
	case "key":
		s.Key, _ = value.(string)
	case "detail":
		s.Detail, _ = tokenOrString(value)
	}
}

func tokenOrString(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case httpsfv.Token:
		return string(v), true
	}
	return "", false
}
