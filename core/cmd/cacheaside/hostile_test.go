package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestSecrets: nothing that is secret by its place is shown by any command, whatever way
// it takes, and neither are things that a terminal would obey.
func TestSecrets(t *testing.T) {
	s := newService(t)
	hostile := "/blogs/%1B%5D0;evil%07/%E2%80%AEnrut/%C2%9B2J?k=query-sEcReT&long-query-sEcReT"
	fields := []string{"X-User", "partition-sEcReT", "Cookie", "sid=cookie-sEcReT", "Accept-Language", "field-sEcReT"}
	s.get(t, hostile, fields...)
	for _, path := range []string{hostile, hostile, "/languages"} { // what comes with a cookie is not stored
		s.get(t, path, "X-User", "partition-sEcReT", "Accept-Language", "field-sEcReT")
	}
	s.get(t, "/cookie", fields...)
	u := s.front + hostile
	user := strings.Replace(u, "http://", "http://user:user-sEcReT@", 1)
	h := []string{"-H", "X-User: partition-sEcReT", "-H", "Accept-Language: field-sEcReT", "-H", "Authorization: Bearer field-sEcReT"}
	commands := [][]string{
		{"stats"}, {"top"}, {"top", "--by", "bytes"}, {"top", "--by", "misses"}, {"tail", "--once"}, {"tail", "--once", "--key", "query-sEcReT"},
		{"ls"}, {"ls", s.front}, {"ls", user}, {"ls", "--cursor", "cursor-sEcReT"},
		{"get", u}, slices.Concat([]string{"get", u, "--headers"}, h), {"get", user}, slices.Concat([]string{"get", s.front + "/languages", "--headers"}, h),
		slices.Concat([]string{"get", u, "--body"}, h),
		{"explain", u}, slices.Concat([]string{"explain", u, "--send"}, h), {"explain", user}, {"explain", s.front + "/cookie", "--send"},
		{"purge", "url", u, "-y"}, {"purge", "url", user, "-y"}, {"purge", "prefix", user, "-y"}, {"purge", "tag", "https://u:tag-sEcReT@h/?q=tag-sEcReT", "-y"},
		{"purge", "tag", "blog-1\x1b[31m\u202e", "-y"}, {"purge", "all", "-y"}, {"purge", "all"}, {"doctor"},
	}
	both := append(s.env(), "CACHEASIDE_STORE="+s.store)
	for _, env := range [][]string{s.env(), {"CACHEASIDE_STORE=" + s.store}} {
		run(t, env, "get", u, "-H", "X-User: partition-sEcReT").wants(t, 0, "hit")
		run(t, env, "get", s.front+"/languages", "-H", "X-User: partition-sEcReT").wants(t, 0, "vary")
	}
	for name, env := range map[string][]string{
		"inspector":      s.env(),
		"store":          {"CACHEASIDE_STORE=" + s.store},
		"both":           both,
		"wrong token":    append(s.env(), "CACHEASIDE_TOKEN=wrong-sEcReT"),
		"wrong password": {"CACHEASIDE_STORE=redis://user-sEcReT:wrong-sEcReT@" + s.server.Addr},
		"no server":      {"CACHEASIDE_STORE=redis://user-sEcReT:wrong-sEcReT@127.0.0.1:1", "CACHEASIDE_INSPECT=" + refusing(t)},
		"malformed":      {"CACHEASIDE_STORE=redis://user:a/sEcReT@h", "CACHEASIDE_INSPECT=http://user:a-sEcReT@h/#token=sEcReT"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range commands {
				for _, how := range []string{"", "--json", "--help"} {
					if how != "" {
						args = append(slices.Clip(args), how)
					}
					r := call(t, env, args...)
					all := r.out + r.err
					if strings.Contains(all, secret) {
						t.Errorf("%q: a secret is shown: %s", args, all)
					}
					if i := strings.IndexFunc(all, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 && !slices.Contains(args, "--body") {
						t.Errorf("%q: at %d: %q", args, i, all)
					}
					if how == "--json" && r.out != "" && args[0] != "tail" && !json.Valid([]byte(r.out)) {
						t.Errorf("%q: no JSON: %s", args, r.out)
					}
				}
			}
		})
	}
}

// TestBrokenPipe: | head is no error.
func TestBrokenPipe(t *testing.T) {
	s := newService(t)
	for _, args := range [][]string{{"stats"}, {"stats", "--json"}, {"stats", "--watch", "--every", "1ms"}, {"top"}, {"tail", "--every", "1ms"}, {"get", s.front + "/blogs/0"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := command(ctx, s.env(), args...)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close() // nobody reads
		var errs strings.Builder
		cmd.Stdout, cmd.Stderr = w, &errs
		if err := cmd.Run(); err != nil || errs.Len() > 0 {
			t.Errorf("%q: %v %s", args, err, errs.String())
		}
		w.Close()
		cancel()
	}
}

// TestPiped: what goes on writes lines to a pipe, says when a service is away, and ends
// with 0 when it is interrupted.
func TestPiped(t *testing.T) {
	s := newService(t)
	down := make(chan bool, 1)
	down <- false
	proxy := answering(t, func(w http.ResponseWriter, r *http.Request) {
		is := <-down
		down <- is
		if is {
			panic(http.ErrAbortHandler)
		}
		req, _ := http.NewRequestWithContext(r.Context(), r.Method, s.inspector+r.URL.RequestURI(), nil)
		req.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	})
	set := func(is bool) { <-down; down <- is }
	for _, c := range []struct {
		args []string
		line string
	}{
		{[]string{"stats", "--watch"}, "requests 1  hits"},
		{[]string{"stats", "--watch", "--json"}, `"hit_share":`},
		{[]string{"tail"}, "/blogs/0"},
		{[]string{"tail", "--json"}, `"kind":"request"`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := command(ctx, []string{"CACHEASIDE_INSPECT=" + proxy, "CACHEASIDE_TOKEN=" + token}, append(c.args, "--every", "5ms")...)
		var out, errs synced
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.sees(t, c.line)
		set(true)
		errs.sees(t, "(asking on)")
		set(false)
		errs.sees(t, "it answers again")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v: %s", c.args, err, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if slices.Contains(c.args, "--json") && !json.Valid([]byte(line)) {
				t.Errorf("%q: %s", c.args, line)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q in a pipe", out.String())
		}
		cancel()
	}
}
