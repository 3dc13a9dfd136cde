package keys

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// request is one as it is written to a connection.
type request struct {
	target string
	lines  []line
}

type line struct{ name, value string }

// parse reads a target and, below it, lines of fields. The method and the content are
// fields "=method", "=content" and, where its length is not declared, "=chunks".
func parse(s string) request {
	target, rest, more := strings.Cut(s, "\n")
	r := request{target: strings.NewReplacer("\r", "", " ", "").Replace(target)}
	for more {
		var text string
		text, rest, more = strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(text, ":")
		r.lines = append(r.lines, line{name, strings.TrimPrefix(value, " ")})
	}
	return r
}

// text is the request with n as the first part of its path, which no other pair
// has. Fields that say how long it is are left out.
func (r *request) text(n int64) string {
	var b strings.Builder
	prefix := "/" + strconv.FormatInt(n, 10)
	target := prefix + r.target
	if i := strings.Index(r.target, "://"); i >= 0 {
		end := i + 3
		for end < len(r.target) && r.target[end] != '/' && r.target[end] != '?' {
			end++
		}
		target = r.target[:end] + prefix + r.target[end:]
	}
	method, content, chunked := r.content()
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	host := false
	for _, l := range r.lines {
		name := lower(strings.TrimSpace(l.name))
		switch name {
		case "content-length", "transfer-encoding", "connection", "expect", "upgrade", "trailer", "", "=method", "=content", "=chunks":
			continue
		case "host":
			host = true
		}
		fmt.Fprintf(&b, "%s: %s\r\n", l.name, strings.ReplaceAll(l.value, "\n", ""))
	}
	if !host {
		b.WriteString("Host: h.example\r\n")
	}
	switch {
	case chunked && content != "":
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(content), content)
	case chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	case content != "" || method != http.MethodGet:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(content), content)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// content gives the method, and the content with how it is sent.
func (r *request) content() (method, content string, chunked bool) {
	method = http.MethodGet
	for _, l := range r.lines {
		switch l.name {
		case "=method":
			if slices.Contains(methods, l.value) {
				method = l.value
			}
		case "=content", "=chunks":
			content, chunked = l.value, l.name == "=chunks"
		}
	}
	return method, content, chunked
}

var methods = []string{http.MethodGet, "QUERY", http.MethodPost}

var (
	blanks     = []string{" ", "\t", "  ", "\u00a0", "\u0085", "\v", "\f", "\u2003", "\r", "\x00"}
	delimiters = []string{",", ";", "=", "&", "\"", "%", "+", "#", "?", "/", "\\", ":"}
	names      = slices.Concat(forwarded, []string{"X-Tenant", "Cookie", "Cookie", "Accept", "Accept-Language", "Accept-Encoding", "Host", "Forwarded", "Spelled", "Content-Type", "Content-Encoding", "Content-Language", "Content-Digest", "=content", "=content", "=chunks", "=method"})
	values     = []string{
		"a", "b", "", "a,b", "role=a", "role", "role=b; k=1", "=role=a", "k", "host=a;proto=https", "for=1", "on", "https", "http", "de, en;q=0.5", "gzip, br;q=0", "*",
		"QUERY", "POST", "id=1&id=2", `{"id": 1}`, "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain; charset=utf-8", "gzip, gzip", "identity",
		"--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1\r\n--b--\r\n", "content-type=text/plain",
		"x-tenant=a", "cookie=role=a", "X-TENANT=b", "h.example", "h.example:80", "H.example",
	}
	parameters = []string{"id=1", "id=2", "%69d=3", "a+b=1", "a%20b=2", "a b=3", "utm_a=1", "utm%5fb", "x;id=1", "%zz=1", "id", "=1", "", "a%zb=2"}
)

func pick[T any](rnd *rand.Rand, of []T) T { return of[rnd.IntN(len(of))] }

// mutate makes one to three changes to a copy of r, each of which somebody might
// think to be none.
func mutate(rnd *rand.Rand, r request) request {
	r.lines = slices.Clone(r.lines)
	for range 1 + rnd.IntN(3) {
		if len(r.lines) == 0 || rnd.IntN(3) == 0 {
			r.target = mutateTarget(rnd, r.target)
		} else {
			mutateLines(rnd, &r)
		}
	}
	return r
}

func mutateLines(rnd *rand.Rand, r *request) {
	i := rnd.IntN(len(r.lines))
	l := &r.lines[i]
	switch rnd.IntN(10) {
	case 0:
		j := rnd.IntN(len(r.lines))
		r.lines[i], r.lines[j] = r.lines[j], r.lines[i]
	case 1:
		r.lines = slices.Insert(r.lines, rnd.IntN(len(r.lines)), *l)
	case 2:
		r.lines = slices.Delete(r.lines, i, i+1)
	case 3:
		l.name = respell(rnd, l.name)
	case 4: // one line becomes two
		if a, b, ok := strings.Cut(l.value, pick(rnd, []string{",", ";", ", ", "; "})); ok {
			l.value = a
			r.lines = slices.Insert(r.lines, i+1, line{l.name, b})
		}
	case 5: // two become one
		for j := i + 1; j < len(r.lines); j++ {
			if lower(r.lines[j].name) == lower(l.name) {
				l.value += pick(rnd, []string{",", ", ", ";", "; "}) + r.lines[j].value
				r.lines = slices.Delete(r.lines, j, j+1)
				break
			}
		}
	case 6:
		r.lines = append(r.lines, line{pick(rnd, names), pick(rnd, values)})
	case 7:
		l.value = pick(rnd, values)
	default:
		l.value = mutateText(rnd, l.value)
	}
}

func respell(rnd *rand.Rand, s string) string {
	switch rnd.IntN(4) {
	case 0:
		return lower(s)
	case 1:
		return strings.ToUpper(s)
	case 2:
		return similar(rnd, s)
	}
	b := []byte(s)
	for i, c := range b {
		if ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') && rnd.IntN(3) == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}

// similar puts a letter in the place of another one that Unicode takes for its
// other case.
func similar(rnd *rand.Rand, s string) string {
	return strings.NewReplacer(pick(rnd, [][]string{{"k", "\u212a"}, {"s", "\u017f"}})...).Replace(s)
}

// mutateText changes blanks, delimiters, order and case.
func mutateText(rnd *rand.Rand, s string) string {
	at := rnd.IntN(len(s) + 1)
	switch rnd.IntN(8) {
	case 0:
		at = pick(rnd, []int{0, len(s)})
		return s[:at] + pick(rnd, blanks) + s[at:]
	case 1: // beside a delimiter
		if i := strings.IndexAny(s, ",;=&"); i >= 0 {
			at = i + rnd.IntN(2)
		}
		return s[:at] + pick(rnd, blanks) + s[at:]
	case 2:
		return s[:at] + pick(rnd, delimiters) + s[at:]
	case 3: // the parts of a list change places
		sep := pick(rnd, []string{",", ";", "; ", ", "})
		parts := strings.Split(s, sep)
		rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		return strings.Join(parts, sep)
	case 4:
		if name, value, ok := strings.Cut(s, "="); ok {
			return name + "=" + pick(rnd, []string{`"` + value + `"`, "", " " + value, strings.Trim(value, `" `)})
		}
		return s + "="
	case 5:
		return strings.TrimSpace(s)
	case 6:
		return respell(rnd, s)
	}
	if s == "" {
		return "a"
	}
	at = rnd.IntN(len(s))
	return s[:at] + s[at+1:]
}

func mutateTarget(rnd *rand.Rand, s string) string {
	path, query, asks := strings.Cut(s, "?")
	parts := strings.Split(query, "&")
	i := rnd.IntN(len(parts))
	switch rnd.IntN(11) {
	case 0:
		rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	case 1:
		parts = slices.Insert(parts, i, pick(rnd, parameters))
	case 2:
		parts = slices.Delete(parts, i, i+1)
	case 3, 4:
		parts[i] = recode(rnd, parts[i])
	case 5:
		parts[i] = strings.ReplaceAll(mutateText(rnd, parts[i]), " ", "+")
	case 6:
		return path + "?" + strings.Replace(query, "&", ";", 1)
	case 7:
		return path + "?" + strings.Replace(query, ";", "&", 1)
	case 8:
		return recode(rnd, path) + "?" + query
	case 9:
		if i := strings.Index(s, "://"); i >= 0 {
			return s[i+3+max(strings.IndexByte(s[i+3:], '/'), 0):]
		}
		return pick(rnd, []string{"http", "https", "HTTP", "x"}) + "://" + pick(rnd, []string{"", "", "", "u@"}) +
			pick(rnd, []string{"h.example", "H.example", "h.example:80", "k.example", "h.example:"}) + s
	default:
		return s + pick(rnd, []string{"#", "#a", "?", "&", "=", "%", "%2", "/", "//", "/../", "/."})
	}
	if query = strings.Join(parts, "&"); query == "" && !asks {
		return path
	}
	return path + "?" + query
}

// recode writes one byte of s as an escape sequence, or one escape sequence as a byte.
func recode(rnd *rand.Rand, s string) string {
	if s == "" {
		return s
	}
	at := rnd.IntN(len(s))
	if i := strings.IndexByte(s[at:], '%'); i >= 0 && at+i+2 < len(s) {
		at += i
		if c, err := strconv.ParseUint(s[at+1:at+3], 16, 8); err == nil {
			if rnd.IntN(2) == 0 {
				return s[:at] + strings.ToLower(s[at:at+3]) + s[at+3:]
			}
			if c > ' ' && c < 0x7f {
				return s[:at] + string(rune(c)) + s[at+3:]
			}
		}
	}
	return s[:at] + fmt.Sprintf("%%%02X", s[at]) + s[at+1:]
}
