package examples

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMissThenHit is what the README lets people try.
func TestMissThenHit(t *testing.T) {
	onBothStores(t, func(t *testing.T, args ...string) {
		for _, name := range frameworks {
			t.Run(name, func(t *testing.T) {
				p := start(t, name, args...)
				began := time.Now()
				first := p.get("/blogs/1000")
				if took := time.Since(began); took < 50*time.Millisecond {
					t.Errorf("the first answer took %v, want the 50ms of the database", took)
				}
				second := p.get("/blogs/1000")
				t.Logf("%s | %s", first.Header.Get("Cache-Status"), second.Header.Get("Cache-Status"))
				if got := first.Header.Get("Cache-Status"); !strings.Contains(got, "fwd=miss") {
					t.Errorf("first: Cache-Status %q, want fwd=miss", got)
				}
				if got := second.Header.Get("Cache-Status"); !strings.Contains(got, "; hit") {
					t.Errorf("second: Cache-Status %q, want hit", got)
				}
				if first.Body != second.Body || first.Status != 200 {
					t.Errorf("first %d %q, second %q", first.Status, first.Body, second.Body)
				}
				// The hit may come before the server's answer to the write.
				eventually(t, "the response counts as stored", func() bool { return p.stats().Cache["stores"] > 0 })
				if s := p.stats(); s.OriginReads != 1 || s.Cache["hits"] != 1 || s.Cache["misses"] != 1 || s.Cache["stores"] != 1 {
					t.Errorf("/stats: %+v, want one read, hit, miss and store", s)
				}
				line, _, _ := strings.Cut(p.Output(), "\n")
				if want := map[bool]string{true: "embedded memory store", false: "on a server"}[len(args) == 0]; !strings.Contains(line, want) {
					t.Errorf("the first line of the log is %q, want %q in it", line, want)
				}
				p.stop()
			})
		}
	})
}

// TestFinishesRequests stops each service while it answers.
func TestFinishesRequests(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			p := start(t, name, "-db-latency", "800ms")
			got := make(chan answer, 1)
			go func() { got <- p.get("/users/1") }()
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if p.stats().OriginReads == 1 {
					break
				}
			}
			p.stop()
			if a := <-got; a.Status != 200 || a.Err != "" {
				t.Errorf("the request under way got %d %s", a.Status, a.Err)
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  string
		code int
		want string
	}{
		{"chi", []string{"-ttl", "soon"}, "", 2, "-ttl"},
		{"chi", []string{"-ttl", "-5s"}, "", 2, "-ttl: negative"},
		{"fiber", nil, "TTL=soon", 2, "-ttl"},
		{"gin", []string{"-db-latency", "-1ms"}, "", 2, "-db-latency"},
		{"gin", nil, "DB_LATENCY=x", 2, "DB_LATENCY"},
		{"echo", []string{"-addr", "8080"}, "", 2, "-addr"},
		{"echo", []string{"-dragonfly", "http://localhost:6379"}, "", 2, "-dragonfly"},
		{"echo", nil, "DRAGONFLY_ADDR=localhost:", 2, "DRAGONFLY_ADDR"},
		{"chi", []string{"-stale-while-revalidate", "-1s"}, "", 2, "-stale-while-revalidate: negative"},
		{"gin", []string{"-stale-if-error", "long"}, "", 2, "-stale-if-error"},
		{"echo", []string{"-soft-timeout", "31s"}, "", 2, "-soft-timeout"},
		{"fiber", []string{"-refresh-ahead", "1"}, "", 2, "-refresh-ahead"},
		{"chi", []string{"-refresh-ahead", "NaN"}, "", 2, "-refresh-ahead"},
		{"gin", []string{"-ttl-jitter", "0.95"}, "", 2, "-ttl-jitter"},
		{"echo", nil, "NOT_FOUND_TTL=x", 2, "NOT_FOUND_TTL"},
		{"fiber", []string{"-coalesce", "some"}, "", 2, "-coalesce"},
		{"proxy", nil, "COALESCE=some", 2, "-coalesce"},
		{"gin", []string{"-compress", "deflate"}, "", 2, `-compress: "deflate" is not one of zstd, br and gzip`},
		{"echo", []string{"-compress", "br,gzip,br"}, "", 2, `-compress: "br" is there twice`},
		{"fiber", []string{"-compress", "gzip br"}, "", 2, "-compress"},
		{"chi", []string{"-compress", "zstd,,gzip"}, "", 2, "-compress: a comma too many"},
		{"proxy", nil, "COMPRESS=identity", 2, "COMPRESS, for flag -compress"},
		{"chi", []string{"-near", "1000"}, "", 2, "-near"},
		{"proxy", []string{"-wait-timeout", "x"}, "", 2, "-wait-timeout"},
		{"chi", []string{"-purge-token", "fifteen bytes.."}, "", 2, "-purge-token: shorter than 16 bytes"},
		{"fiber", nil, "PURGE_TOKEN=secret", 2, "PURGE_TOKEN"},
		{"gin", []string{"-db", "/nowhere/blog.db"}, "", 2, "-db"},
		{"gin", []string{"-warm-host", "example.com,http://x"}, "", 2, `-warm-host: "http://x" is no host`},
		{"gin", nil, "WARM_HOST=a/b", 2, "WARM_HOST"},
		{"fiber", []string{"extra"}, "", 2, `"extra"`},
		{"chi", []string{"-ttl", "9000h"}, "", 1, "TTL"},
		{"fiber", []string{"-dragonfly", "127.0.0.1:1"}, "", 1, "127.0.0.1:1"},
		{"gin", []string{"-dragonfly", "127.0.0.1:1"}, "", 1, "127.0.0.1:1"},
		{"echo", []string{"-dragonfly", "127.0.0.1:1"}, "", 1, "127.0.0.1:1"},
		{"chi", []string{"-dragonfly", "redis://u:secret@127.0.0.1:1"}, "", 1, "127.0.0.1:1"},
		{"fiber", []string{"-dragonfly", "unix://u:secret@/nowhere/dragonfly.sock"}, "", 1, "/nowhere/dragonfly.sock"},
		{"gin", []string{"-dragonfly", "unix://nowhere/dragonfly.sock"}, "", 2, "unix:///path"},
		{"chi", []string{"-addr", "192.0.2.1:1"}, "", 1, "192.0.2.1:1"},
		{"proxy", nil, "", 2, "-origin is missing"},
		{"proxy", []string{"-origin", "localhost:9000"}, "", 2, "-origin"},
		{"proxy", []string{"-origin", "ftp://localhost"}, "", 2, "-origin"},
		{"proxy", []string{"-origin", "http://localhost/?q"}, "", 2, "-origin"},
		{"proxy", []string{"-origin", "http://localhost", "-framework", "martini"}, "", 2, "-framework"},
		{"proxy", []string{"-origin", "http://localhost", "-dragonfly", "127.0.0.1:1"}, "", 1, "127.0.0.1:1"},
	} {
		t.Run(c.name+" "+strings.Join(c.args, " ")+c.env, func(t *testing.T) {
			args := c.args
			if c.code != 1 || c.want != "192.0.2.1:1" {
				args = append([]string{"-addr", "127.0.0.1:0"}, args...)
			}
			cmd := command(t.TempDir(), c.name, args...)
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want exit status %d and %q in\n%s", err, c.code, c.want, out)
			}
			if strings.Contains(string(out), "secret") || strings.Contains(string(out), "goroutine") {
				t.Errorf("a password or a panic in\n%s", out)
			}
		})
	}
}
