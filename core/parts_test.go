package cacheaside_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/memory"
)

// library is an origin of one file, whose versions follow one another. Each response says
// in X-Version which one it is, for the test alone.
type library struct {
	r        *rand.Rand
	versions [][]byte
	made     []time.Time // by version
	clock    *clock
	by       string // its validators: "etag", "date", "weak", "none"
	deaf     bool   // it does not heed If-Range
	moody    bool   // now and then it answers otherwise
}

func (l *library) renew() {
	b := make([]byte, 60+60*l.r.IntN(3)) // often of the same length
	for i := range b {
		b[i] = byte('a' + l.r.IntN(26))
	}
	l.versions, l.made = append(l.versions, b), append(l.made, l.clock.Now().Truncate(time.Second))
}

func (l *library) validator(version int) (name, value string) {
	switch l.by {
	case "etag":
		return "Etag", fmt.Sprintf(`"%d"`, version)
	case "weak":
		return "Etag", fmt.Sprintf(`W/"%d"`, version)
	case "date":
		return "Last-Modified", l.made[version].UTC().Format(http.TimeFormat)
	}
	return "", ""
}

func (l *library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version := len(l.versions) - 1
	body := l.versions[version]
	h := w.Header()
	h.Set("Cache-Control", "max-age="+strconv.Itoa(10+l.r.IntN(60)))
	h.Set("X-Version", strconv.Itoa(version))
	h.Set("Content-Type", "text/plain")
	h.Set("Date", l.clock.Now().UTC().Format(http.TimeFormat))
	name, validator := l.validator(version)
	if name != "" {
		h.Set(name, validator)
	}
	if l.moody {
		switch l.r.IntN(12) {
		case 0:
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		case 1:
			h.Set("Cache-Control", "no-store")
		case 2:
			h.Del("Cache-Control")
		case 3:
			h.Set("Set-Cookie", "a=1")
		case 4: // as if there were no Range
			_, _ = w.Write(body)
			return
		case 5:
			http.NotFound(w, r)
			return
		}
	}
	inm, ims := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
	if validator != "" && (inm == validator || inm == "" && ims == validator) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	wanted, ifRange := r.Header.Get("Range"), r.Header.Get("If-Range")
	ranges, verdict := httprules.ParseRange(wanted, int64(len(body)))
	switch {
	case wanted == "", ifRange != "" && ifRange != validator && !l.deaf, verdict == httprules.RangeNone, len(ranges) > 1:
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
		return
	case verdict == httprules.RangeUnsatisfiable:
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(body)))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	one := ranges[0]
	if l.moody && l.r.IntN(6) == 0 && one.Length > 1 { // less than what was asked for
		one.Length = 1 + l.r.Int64N(one.Length)
	}
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", one.Start, one.Start+one.Length-1, len(body)))
	w.WriteHeader(http.StatusPartialContent)
	part := body[one.Start : one.Start+one.Length]
	if l.moody && l.r.IntN(3) == 0 {
		half := len(part) / 2
		_, _ = w.Write(part[:half])
		_ = http.NewResponseController(w).Flush()
		part = part[half:]
	}
	_, _ = w.Write(part)
}

// check says what is wrong with an answer: its body is that of the version that it says it
// is of, and it is what was asked for, or what the handler may give instead.
func (l *library) check(wanted string, res *http.Response, body []byte) string {
	version, err := strconv.Atoi(res.Header.Get("X-Version"))
	switch {
	case res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusNotFound:
		return ""
	case err != nil:
		return "an answer of nobody"
	}
	of := l.versions[version]
	if name, validator := l.validator(version); name != "" && res.Header.Get(name) != validator {
		return "the validator of another version"
	}
	switch res.StatusCode {
	case http.StatusOK:
		if !bytes.Equal(body, of) || res.Header.Get("Content-Range") != "" {
			return "another body than that of the version"
		}
	case http.StatusPartialContent:
		r, size, ok := httprules.ParseContentRange(res.Header.Values("Content-Range"))
		if wanted == "" || !ok || size != int64(len(of)) || !bytes.Equal(body, of[r.Start:r.Start+r.Length]) {
			return "another part than that of the version"
		}
		ranges, _ := httprules.ParseRange(wanted, size)
		if len(ranges) != 1 || r.Start < ranges[0].Start || r.Start+r.Length > ranges[0].Start+ranges[0].Length ||
			r != ranges[0] && (!l.moody || strings.Contains(res.Header.Get("Cache-Status"), "; hit")) {
			return "another part than the one that was asked for"
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if _, verdict := httprules.ParseRange(wanted, int64(len(of))); verdict != httprules.RangeUnsatisfiable {
			return "416 for what is there"
		}
	default:
		return "an unexpected status"
	}
	return ""
}

// TestParts asks for random ranges of a file that changes, of handlers of all kinds, and
// compares every byte. Nothing is answered with parts of two versions, ever.
func TestParts(t *testing.T) {
	for _, by := range []string{"etag", "date", "weak", "none"} {
		for _, kind := range []string{"heeds If-Range", "deaf", "moody", "moody and deaf"} {
			t.Run(by+", "+kind, func(t *testing.T) {
				hits, partials := 0, 0
				for seed := range uint64(20) {
					h, p := walk(t, seed, by, strings.Contains(kind, "deaf"), strings.Contains(kind, "moody"), 60)
					hits, partials = hits+h, partials+p
				}
				if hits == 0 || partials == 0 {
					t.Errorf("%d hits, %d requests for more than the parts there were", hits, partials)
				}
			})
		}
	}
}

func FuzzParts(f *testing.F) {
	f.Add(uint64(1), uint8(0))
	f.Add(uint64(2), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, kind uint8) {
		by := []string{"etag", "date", "weak", "none"}[kind%4]
		walk(t, seed, by, kind&4 != 0, kind&8 != 0, 40)
	})
}

// walk makes n requests.
func walk(t *testing.T, seed uint64, by string, deaf, moody bool, n int) (hits, partials int) {
	t.Helper()
	l := &library{r: rand.New(rand.NewPCG(seed, 1)), by: by, deaf: deaf, moody: moody, clock: newClock()}
	m := cacheaside.Must(memory.New(16<<20, memory.WithClock(l.clock.Now)))
	defer func() { _ = m.Close() }()
	limited := l.r.IntN(4) == 0
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { l.ServeHTTP(w, r) }, func(c *cacheaside.Config) {
		c.Store, c.Now = m, l.clock.Now
		if limited {
			c.Policy.Storing.MaxBytes = 100
		}
		c.Policy.Requests.AcceptRanges = l.r.IntN(2) == 0
		c.Policy.Requests.LenientParts = l.r.IntN(2) == 0
	})
	defer func() { _ = s.cache.Close(context.Background()) }()
	l.renew()
	l.clock.Advance(5 * time.Second)
	server := &http.Server{Handler: s.Handler}
	var log []string
	for range n {
		switch l.r.IntN(12) {
		case 0:
			l.renew()
			l.clock.Advance(2 * time.Second)
		case 1:
			l.clock.Advance(time.Duration(l.r.IntN(40)) * time.Second)
		case 2:
			if err := s.cache.Purge(context.Background(), cacheaside.Purge{URLs: []string{"http://example.com/file"}}); err != nil {
				t.Fatal(err)
			}
		}
		now := len(l.versions) - 1
		size := len(l.versions[now])
		wanted := ""
		switch first := l.r.IntN(size); l.r.IntN(5) {
		case 0:
		case 1:
			wanted = fmt.Sprintf("bytes=%d-", first)
		case 2:
			wanted = fmt.Sprintf("bytes=-%d", 1+first)
		default:
			wanted = fmt.Sprintf("bytes=%d-%d", first, first+l.r.IntN(80))
		}
		r := httptest.NewRequest(http.MethodGet, "/file", nil)
		if wanted != "" {
			r.Header.Set("Range", wanted)
			if l.r.IntN(6) == 0 {
				_, validator := l.validator(l.r.IntN(now + 1))
				r.Header.Set("If-Range", validator)
			}
		}
		if l.r.IntN(10) == 0 {
			r.Header.Set("Cache-Control", "no-cache")
		}
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, server)))
		_ = s.cache.Flush(context.Background())
		res := rec.Result()
		body, _ := io.ReadAll(res.Body)
		status := res.Header.Get("Cache-Status")
		log = append(log, fmt.Sprintf("version %d of %d: %v -> %d %q %q", now, size, r.Header, res.StatusCode, res.Header.Get("Content-Range"), status))
		if res.StatusCode == http.StatusBadGateway && limited { // what was asked for anew is too long to be held back
			continue
		}
		if why := l.check(wanted, res, body); why != "" {
			t.Fatalf("%s\n%s: version %s, %q", strings.Join(log, "\n"), why, res.Header.Get("X-Version"), body)
		}
		if strings.Contains(status, "; hit") && res.StatusCode == http.StatusPartialContent {
			hits++
		}
		if strings.Contains(status, "fwd=partial") {
			partials++
		}
	}
	return hits, partials
}
