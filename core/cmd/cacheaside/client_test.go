package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// answering is a server that is no inspector.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// TestNoInspector: whatever is wrong with what answers, or that nothing does, is said.
func TestNoInspector(t *testing.T) {
	jsonly := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, c := range map[string]struct {
		url  string
		says string
	}{
		"html": {answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}), "is no inspector"},
		"not found":   {answering(t, http.NotFound), "it answers 404"},
		"other JSON":  {answering(t, jsonly(200, `{"status":"ok"}`)), "has no"},
		"other types": {answering(t, jsonly(200, `{"instance":7}`)), "other types"},
		"no object":   {answering(t, jsonly(200, `[]`)), "is no inspector"},
		"cut":         {answering(t, jsonly(200, `{"instance":{`)), "is no inspector"},
		"mute":        {answering(t, jsonly(500, `{}`)), "answers 500 without a word"},
		"failing":     {answering(t, jsonly(503, `{"error":"the store has failed: repeat"}`)), "the store has failed: repeat"},
		"hostile":     {answering(t, jsonly(503, `{"error":"a \u001b[31m \u202e https://u:p-sEcReT@h/?q=s-sEcReT"}`)), `\u{1b}[31m \u{202e} https://…@h/?q=…`},
		"redirect": {answering(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://user:redirect-sEcReT@example.com/?token=redirect-sEcReT", http.StatusFound)
		}), "but the token goes nowhere else"},
		"huge": {answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for r.Context().Err() == nil { // until nobody reads any more
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}), "exceeds 8 MiB"},
		"broken off": {answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}), "cannot be reached"},
		"refusing": {refusing(t), "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			call(t, []string{"CACHEASIDE_TOKEN=" + token}, "stats", "--inspect", c.url).wants(t, 1, c.says)
		})
	}
}

// TestSilent: what accepts connections and never answers is given up.
func TestSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	env := []string{"CACHEASIDE_TOKEN=" + token, "CACHEASIDE_INSPECT=http://" + l.Addr().String()}
	for _, args := range [][]string{
		{"stats"}, {"stats", "--watch"}, {"tail"}, {"top"}, {"get", "http://example.com/"}, {"explain", "http://example.com/"}, {"purge", "all", "--yes"},
	} {
		run(t, env, append(args, "--timeout", "50ms")...).wants(t, 1, "has not answered within 50ms", "--timeout")
	}
}

// TestSilentServer: the same of a server, whose password nobody sees.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	env := []string{"CACHEASIDE_STORE=redis://user:password-sEcReT@" + l.Addr().String()}
	for _, args := range [][]string{{"ls"}, {"get", "http://example.com/"}, {"get", "http://example.com/", "--body"}, {"purge", "all", "--yes"}} {
		run(t, env, append(args, "--timeout", "50ms")...).wants(t, 1, "gives no answer", l.Addr().String())
	}
}

// TestPurgeUnknown: where nobody knows whether a purge has arrived, it is to be repeated.
func TestPurgeUnknown(t *testing.T) {
	var how atomic.Value
	how.Store(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux := http.NewServeMux()
	mux.HandleFunc("/api/preview", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"targets":[{"kind":"all"}]}`)
	})
	mux.HandleFunc("/api/purge", func(w http.ResponseWriter, r *http.Request) {
		how.Load().(func(http.ResponseWriter, *http.Request))(w, r)
	})
	env := []string{"CACHEASIDE_TOKEN=" + token, "CACHEASIDE_INSPECT=" + answering(t, mux.ServeHTTP)}
	run(t, env, "purge", "all", "-y").wants(t, 4, "not acknowledged: repeat")
	how.Store(func(w http.ResponseWriter, _ *http.Request) { // as a proxy does
		w.WriteHeader(http.StatusBadGateway)
	})
	run(t, env, "purge", "all", "-y").wants(t, 4, "not acknowledged: repeat")
	how.Store(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	run(t, env, "purge", "all", "-y").wants(t, 4, "not acknowledged: repeat")
	how.Store(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotImplemented)
		fmt.Fprint(w, `{"error":"the store keeps no purge stamps"}`)
	})
	run(t, env, "purge", "all", "-y").wants(t, 1, "keeps no purge stamps")
}

func TestToken(t *testing.T) {
	s := newService(t)
	at := "CACHEASIDE_INSPECT=" + s.inspector
	call(t, []string{at}, "stats").wants(t, 1, "wants a token", "CACHEASIDE_TOKEN", "--token-file")
	call(t, []string{at, "CACHEASIDE_TOKEN=wrong-sEcReT"}, "stats").wants(t, 1, "not accepted", "CACHEASIDE_TOKEN")
	call(t, []string{at, "CACHEASIDE_TOKEN=wrong sEcReT"}, "stats").wants(t, 2, "no token")

	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token + "\n")
	call(t, []string{at, "CACHEASIDE_TOKEN=wrong-sEcReT"}, "stats", "--token-file", file).wants(t, 0, "hit share")
	write("\n")
	call(t, []string{at}, "stats", "--token-file", file).wants(t, 2, "is empty")
	write(strings.Repeat("x", 1<<20))
	call(t, []string{at}, "stats", "--token-file", file).wants(t, 2, "too long")
	call(t, []string{at}, "stats", "--token-file", file+"no").wants(t, 2, "--token-file", "no such file")
	call(t, []string{at}, "stats", "--token", token).wants(t, 2, "unknown flag: --token", "CACHEASIDE_TOKEN")
	call(t, []string{at}, "stats", "--token="+token).wants(t, 2, "unknown flag: --token")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"nothing"},
		{"stats", "more"},
		{"stats", "--nothing"},
		{"stats", "--timeout", "never"},
		{"stats", "--timeout", "-1s"},
		{"stats", "--namespace", "a b"},
		{"stats", "--watch", "--every", "0s"},
		{"stats"}, // no inspector
		{"top"},
		{"tail"},
		{"get"},
		{"get", "http://example.com/"}, // neither
		{"ls"},                         // no store
		{"ls", "http://example.com/"},
		{"explain"},
		{"explain", "http://example.com/"},
		{"purge", "all", "-y"},
		{"stats", "--inspect", "127.0.0.1:9090"},
		{"stats", "--inspect", "ftp://example.com"},
		{"stats", "--inspect", "http://"},
		{"stats", "--inspect", "http://user:url-sEcReT@example.com/"},
		{"stats", "--inspect", "http://example.com/?token=url-sEcReT"},
		{"stats", "--inspect", "http://example.com/#token=url-sEcReT"},
		{"stats", "--inspect", "http://user:url-sEcReT@exa mple.com/"},
		{"top", "--inspect", "http://127.0.0.1:1", "--by", "age"},
		{"top", "--inspect", "http://127.0.0.1:1", "--limit", "0"},
		{"tail", "--inspect", "http://127.0.0.1:1", "--limit", "501"},
		{"get", "--inspect", "http://127.0.0.1:1", "/path"},
		{"get", "--inspect", "http://127.0.0.1:1", "http://user:url-sEcReT@example.com/"},
		{"get", "--inspect", "http://127.0.0.1:1", "http://example.com/", "-H", "value-sEcReT"},
		{"get", "--inspect", "http://127.0.0.1:1", "--body", "http://example.com/"}, // bodies are in the store
		{"ls", "--inspect", "http://127.0.0.1:1", "http://example.com/"},
		{"ls", "--store", "redis://:store-sEcReT@exa mple", "http://example.com/"},
		{"get", "--store", "http://:store-sEcReT@example.com", "http://example.com/"},
		{"purge", "--store", "redis://:store/sEcReT@example.com", "tag", "a", "-y"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := call(t, nil, args...)
			r.wants(t, 2, "cacheaside: ")
			if r.out != "" || strings.Count(r.err, "\n") != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
	call(t, nil, "ls", "http://example.com/", "--store", "redis://:store-sEcReT@exa mple").wants(t, 2, "--store", "percent-encoded")
	call(t, nil, "get", "http://example.com/", "--store", "http://:store-sEcReT@example.com").wants(t, 2, "--store", "scheme")
	call(t, []string{"CACHEASIDE_STORE=redis://:store/sEcReT@example.com"}, "purge", "all", "-y").wants(t, 2, "--store", "percent-encoded")
	for _, args := range [][]string{nil, {"--help"}, {"help", "purge"}, {"get", "--help"}} {
		r := call(t, []string{"CACHEASIDE_STORE=redis://:store-sEcReT@example.com"}, args...)
		r.wants(t, 0, "Usage:")
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		call(t, nil, "completion", shell).wants(t, 0, "cacheaside")
	}
	call(t, nil, "__complete", "top", "--by", "").wants(t, 0, "misses")
	call(t, nil, "__complete", "purge", "").wants(t, 0, "prefix")
}
