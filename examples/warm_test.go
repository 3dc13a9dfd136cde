package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWarm: what a list names is in the cache when the summary says so, and nothing of
// another host is.
func TestWarm(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "sitemap.xml")
	if err := os.WriteFile(list, []byte(`<?xml version="1.0"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
  <url><loc>https://blog.example/blogs/1000</loc></url>
  <url><loc>https://blog.example/users/1</loc></url>
  <url><loc>https://blog.example/stats</loc></url>
  <url><loc>https://blog.example/users/5000</loc></url>
</urlset>`), 0o600); err != nil {
		t.Fatal(err)
	}
	onBothStores(t, func(t *testing.T, args ...string) {
		for _, name := range frameworks {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // it mostly waits
				own := fmt.Sprintf("%s-%d.example", name, time.Now().UnixNano())
				b, err := os.ReadFile(list)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "sitemap.xml")
				if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), "blog.example", own)), 0o600); err != nil {
					t.Fatal(err)
				}
				p := start(t, name, append([]string{"-warm", file, "-warm-host", own, "-ttl", "1h"}, args...)...)
				p.host = own
				// The cache leaves /stats to its handler; there is no user 5000.
				if _, err := p.Says(`warm-up is over" stored=2 present=0 not_stored=1 failed=1`, 30*time.Second); err != nil {
					t.Fatal(err)
				}
				before := p.stats().OriginReads
				for _, path := range []string{"/blogs/1000", "/users/1"} {
					if a := p.get(path); !strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
						t.Errorf("%s: Cache-Status %q", path, a.Header.Get("Cache-Status"))
					}
				}
				if n := p.stats().OriginReads - before; n != 0 {
					t.Errorf("the database was read %d times", n)
				}
				p.stop()
			})
		}
	})
}

// TestWarmPaths: paths alone are of the host that the service listens on.
func TestWarmPaths(t *testing.T) {
	p := start(t, "gin", "-warm", "urls.txt")
	if _, err := p.Says(`warm-up is over" stored=5 present=0 not_stored=0 failed=0`, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	p.host = strings.TrimPrefix(p.base, "http://")
	if a := p.get("/users/1"); !strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
		t.Errorf("Cache-Status %q", a.Header.Get("Cache-Status"))
	}
	p.stop()
}

// TestWarmEndsWithTheService: it does not hold up the end, and says what it has left out.
func TestWarmEndsWithTheService(t *testing.T) {
	var list strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&list, "/users/%d\n", i+1)
	}
	file := filepath.Join(t.TempDir(), "urls.txt")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "echo", "-warm", file, "-db-latency", "1s")
	p.stop()
	if out := p.Output(); !strings.Contains(out, "warm-up is over") || !strings.Contains(out, "not_run=") {
		t.Errorf("it has said\n%s", out)
	}
}

// TestWarmBadList: the service does not start.
func TestWarmBadList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "urls.txt")
	if err := os.WriteFile(file, []byte("/users/1\nhttp://evil.example/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range frameworks {
		cmd := command(t.TempDir(), name, "-addr", "127.0.0.1:0", "-warm", file)
		out, err := cmd.CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "flag -warm") ||
			!strings.Contains(string(out), "line 2:") || !strings.Contains(string(out), "evil.example") || strings.Contains(string(out), "listening") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
