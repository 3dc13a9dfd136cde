package warm

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var own = []string{"localhost:8080", "example.com", "plain.example:80"}

// urls are those that a list has in it.
func urls(requests []*http.Request) (all []string) {
	for _, r := range requests {
		all = append(all, r.URL.String())
	}
	return all
}

func TestLists(t *testing.T) {
	const sitemap = `<?xml version="1.0" encoding="UTF-8"?>
<!-- of today -->
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc> https://example.com/a?b=1&amp;c=2 </loc><lastmod>2026-01-01</lastmod>
    <image:image><image:loc>https://elsewhere.example/x.png</image:loc></image:image>
  </url>
  <url><loc><![CDATA[http://EXAMPLE.com:80/b]]></loc></url>
</urlset>`
	for in, want := range map[string][]string{
		"/":                                  {"http://localhost:8080/"},
		"# a comment\r\n\r\n  /a?b=c#d \r\n": {"http://localhost:8080/a?b=c"},
		"\xef\xbb\xbf/a\n/a\nhttp://localhost:8080/a\n":     {"http://localhost:8080/a"},
		"http://LOCALHOST:8080/a b":                         {"http://localhost:8080/a%20b"},
		"https://example.com:443":                           {"http://example.com/"},
		"http://plain.example/x\nhttp://plain.example:80/x": {"http://plain.example:80/x"},
		sitemap: {"http://example.com/a?b=1&c=2", "http://example.com/b"},
		strings.ReplaceAll(sitemap, ` xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"`, ""): {"http://example.com/a?b=1&c=2", "http://example.com/b"},
	} {
		got, err := parse([]byte(in), own)
		if err != nil || !slices.Equal(urls(got), want) {
			t.Errorf("%.100q: %v, %v; want %v", in, urls(got), err, want)
		}
	}
}

// TestHostileLists: nothing of a list is used in which anything is wrong.
func TestHostileLists(t *testing.T) {
	sitemap := func(s string) string {
		return `<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">` + s + `</urlset>`
	}
	for in, want := range map[string]string{
		"":                                   "there is no URL in it",
		"# nothing\n":                        "there is no URL in it",
		"/a\nhttp://evil.example/\n":         `line 2: "http://evil.example/" is of another host than localhost:8080, example.com`,
		"//evil.example/a":                   `line 1: "//evil.example/a" is neither`,
		"http://localhost:8081/a":            "another host",
		"http://localhost/a":                 "another host",
		"https://example.com:8443/":          "another host",
		"http://example.com.evil.example/":   "another host",
		"http://example.com@evil.example/":   "a user and a password",
		"http://me:secret@example.com/":      "a user and a password",
		"http://evil.example\\@example.com/": "is no URL",
		"http://example.com\t.evil/":         "is no URL",
		"ftp://example.com/":                 "is neither",
		"javascript:alert(1)":                "is neither",
		"http:example.com":                   "is neither",
		"a/b":                                "is neither",
		"/%zz":                               "is no URL",
		"http://[::1/":                       "is no URL",
		"/a\x00b":                            "is no URL",
		"/" + strings.Repeat("a", maxURL):    "line 1: a URL of more than 8192 bytes",
		"/a\n/" + strings.Repeat("a", 1<<20): "line 2 is longer than 8192 bytes",
		strings.Repeat("/a", maxBytes):       "longer than 10485760 bytes",
		strings.Repeat("x\n", 30):            "and 20 more",
		"\x1f\x8b\x08":                       "compressed",

		"<html><body>no</body></html>": "line 1: <html> is no sitemap",
		"<urlset><url>":                "it is no sitemap",
		"<urlset>":                     "it is no sitemap",
		`<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><sitemap><loc>http://example.com/1.xml</loc></sitemap></sitemapindex>`: "an index of sitemaps",
		`<!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + sitemap("<url><loc>&b;</loc></url>"):                           "no DOCTYPE",
		`<!DOCTYPE urlset SYSTEM "file:///etc/passwd">` + sitemap(""):                                                                             "no DOCTYPE",
		sitemap("<url><loc>http://example.com/&b;</loc></url>"):                                                                                   "it is no sitemap",
		sitemap("\n<url><loc>http://evil.example/</loc></url>"):                                                                                   "line 2: \"http://evil.example/\" is of another host",
		sitemap("<url><loc/></url>"): "is neither",
		sitemap("<url><loc>http://example.com/" + strings.Repeat("a", 1<<20) + "</loc></url>"): "more than 8192 bytes",
		sitemap(strings.Repeat("<url>", 1000)):                                                 "more than 32 elements",
		sitemap(""):                                                                            "there is no URL in it",
		`<?xml version="1.0" encoding="UTF-7"?>` + sitemap("<url><loc>http://example.com/</loc></url>"): "it is no sitemap",
	} {
		got, err := parse([]byte(in), own)
		if err == nil || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("%.80q: %v, %.300v; want %s", in, urls(got), err, want)
		}
		if err != nil && (len(err.Error()) > 4000 || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%.80q: the error is %.5000s", in, err)
		}
	}
	many := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "/%d\n", i)
		}
		return []byte(b.String())
	}
	if got, err := parse(many(maxURLs), own); err != nil || len(got) != maxURLs {
		t.Errorf("%d URLs, %v", len(got), err)
	}
	if _, err := parse(many(maxURLs+1), own); err == nil || !strings.Contains(err.Error(), "line 100001: more than 100000 URLs") {
		t.Errorf("one URL too many: %v", err)
	}
}

// FuzzList: whatever a file has in it, only own hosts are asked.
func FuzzList(f *testing.F) {
	for _, s := range []string{"/a\n# b\nhttp://example.com/c", "https://example.com@evil.example/", "//evil", "<urlset><url><loc>http://example.com/</loc></url></urlset>", "<!DOCTYPE a>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		requests, err := parse(b, own)
		if (err == nil) != (len(requests) > 0) {
			t.Fatalf("%d requests, %v", len(requests), err)
		}
		for _, r := range requests {
			if !slices.Contains(own, r.URL.Host) || !slices.Contains(own, r.Host) && r.Host != "plain.example" || r.URL.Scheme != "http" || r.URL.User != nil || !strings.HasPrefix(r.URL.RequestURI(), "/") {
				t.Fatalf("asks %v of %q", r.URL, r.Host)
			}
		}
	})
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "urls.txt")
	if err := os.WriteFile(file, []byte("/a\nftp://x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		file:                           file + ": line 2: ",
		dir:                            "is no plain file",
		"/dev/zero":                    "is no plain file",
		filepath.Join(dir, "none.txt"): "none.txt",
	} {
		if _, err := Read(name, own); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
