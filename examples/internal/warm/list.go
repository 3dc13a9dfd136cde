package warm

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Bounds of a list, which may come from elsewhere.
const (
	maxBytes  = 10 << 20 // of the file
	maxURLs   = 100_000
	maxURL    = 8 << 10 // bytes of one
	maxDepth  = 32      // of elements of XML
	maxErrors = 10      // that are told of
)

// Read reads the URLs of a file: one a line, where "#" begins a comment, or a sitemap.xml.
// They have to be of one of the hosts, of which the first stands for those that are a path
// alone. Of a foreign host nothing may be stored. The error says by line what is wrong.
func Read(file string, hosts []string) ([]*http.Request, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // it may never end
		return nil, fmt.Errorf("%s is no plain file", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	requests, err := parse(b, hosts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return requests, nil
}

// parse is Read of what the file has in it.
func parse(b []byte, hosts []string) ([]*http.Request, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	l := list{hosts: hosts, seen: map[string]bool{}}
	var err error
	switch {
	case len(b) > maxBytes:
		return nil, fmt.Errorf("it is longer than %d bytes: split it", maxBytes)
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return nil, errors.New("it is compressed: unpack it with gunzip")
	case bytes.HasPrefix(bytes.TrimSpace(b), []byte("<")):
		err = l.sitemap(b)
	default:
		err = l.lines(b)
	}
	if err == nil && len(l.errs) == 0 && len(l.requests) == 0 {
		err = errors.New("there is no URL in it")
	}
	if l.more > 0 {
		l.errs = append(l.errs, fmt.Errorf("and %d more", l.more))
	}
	if err = errors.Join(append(l.errs, err)...); err != nil {
		return nil, err
	}
	return l.requests, nil
}

// list is what was read so far.
type list struct {
	hosts    []string
	seen     map[string]bool
	requests []*http.Request
	errs     []error
	more     int // errors that are not told of
}

// lines reads one URL a line.
func (l *list) lines(b []byte) error {
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, maxURL+2)
	n := 0
	for s.Scan() {
		n++
		text := strings.TrimSpace(s.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if err := l.add(n, text); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes", n+1, maxURL)
	}
	return s.Err()
}

const sitemaps = "http://www.sitemaps.org/schemas/sitemap/0.9"

// sitemap reads the locations of a sitemap.xml (sitemaps.org). A declaration of a type,
// where entities would be, is refused.
func (l *list) sitemap(b []byte) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	var path []string
	var loc strings.Builder
	inLoc := func() bool { return slices.Equal(path, []string{"urlset", "url", "loc"}) }
	for {
		token, err := d.Token()
		line, _ := d.InputPos()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("it is no sitemap: %w", err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return fmt.Errorf("line %d: a sitemap has no DOCTYPE: remove it", line)
		case xml.StartElement:
			name := t.Name.Local
			if t.Name.Space != sitemaps && t.Name.Space != "" { // an extension's
				name = t.Name.Space + " " + name
			}
			switch path = append(path, name); {
			case len(path) == 1 && name == "sitemapindex":
				return fmt.Errorf("line %d: it is an index of sitemaps, which are not fetched: name one of them", line)
			case len(path) == 1 && name != "urlset":
				return fmt.Errorf("line %d: <%.40s> is no sitemap: its root is <urlset>", line, t.Name.Local)
			case len(path) > maxDepth:
				return fmt.Errorf("line %d: more than %d elements in one another", line, maxDepth)
			}
			loc.Reset()
		case xml.CharData:
			if inLoc() && loc.Len() <= maxURL {
				_, _ = loc.Write(t)
			}
		case xml.EndElement:
			if inLoc() {
				if err := l.add(line, strings.TrimSpace(loc.String())); err != nil {
					return err
				}
			}
			path = path[:len(path)-1]
		}
	}
}

// add adds a URL, or an error. The error that it returns ends it all.
func (l *list) add(line int, text string) error {
	r, err := l.request(text)
	if err != nil {
		if len(l.errs) == maxErrors {
			l.more++
		} else {
			l.errs = append(l.errs, fmt.Errorf("line %d: %w", line, err))
		}
		return nil
	}
	if l.seen[r.URL.String()] {
		return nil
	}
	if len(l.requests) == maxURLs {
		return fmt.Errorf("line %d: more than %d URLs: split it", line, maxURLs)
	}
	l.seen[r.URL.String()] = true
	l.requests = append(l.requests, r)
	return nil
}

// request is the one that a URL stands for.
func (l *list) request(text string) (*http.Request, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("a URL of more than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // the URL may be long
		}
		return nil, fmt.Errorf("%.100q is no URL: %w", text, err)
	case u.User != nil:
		return nil, fmt.Errorf("a URL with a user and a password: leave them out")
	case u.Host == "" && u.Scheme == "" && strings.HasPrefix(text, "/"):
		u.Host = l.hosts[0]
	case u.Host == "" || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%.100q is neither http://%s/path nor a path such as /path", text, l.hosts[0])
	}
	own := slices.IndexFunc(l.hosts, func(host string) bool { return sameHost(host, u.Host, u.Scheme) })
	if own < 0 {
		return nil, fmt.Errorf("%.100q is of another host than %s: take it out, or name its host with -warm-host", text, strings.Join(l.hosts, ", "))
	}
	u.Scheme, u.Host, u.Fragment, u.RawFragment = "http", l.hosts[own], "", "" // TLS ends in front of the service
	if u.Path == "" {
		u.Path = "/"
	}
	return http.NewRequest(http.MethodGet, u.String(), nil) //nolint:noctx // it is given one when it is sent
}

// sameHost reports whether host, as clients name the service, is meant by that of a URL.
func sameHost(host, named, scheme string) bool {
	if scheme == "https" {
		named = strings.TrimSuffix(named, ":443")
	} else {
		named = strings.TrimSuffix(named, ":80")
	}
	return strings.EqualFold(strings.TrimSuffix(host, ":80"), named)
}
