package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/direct"
	"github.com/cacheaside/cacheaside/core/inspect"
)

// decoded is the JSON that a command has printed.
func decoded[T any](t *testing.T, r ran) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	return v
}

func TestGet(t *testing.T) {
	s := newService(t)
	s.get(t, "/blogs/1?page=query-sEcReT")
	s.get(t, "/languages", "Accept-Language", "de")
	s.get(t, "/languages", "Accept-Language", "fr")

	r := run(t, s.env(), "get", s.front+"/blogs/1?page=query-sEcReT", "--headers")
	r.wants(t, 0, "/blogs/1?page=…", "hit", "response 1 of 1, selected", "status  200", "1h of 1h", "body 6 B", "blog-1 (handler, valid", "Content-Type: text/plain")
	l := decoded[inspect.Lookup](t, run(t, s.env(), "get", s.front+"/blogs/1?page=query-sEcReT", "--json"))
	if len(l.Found) != 1 || len(l.Found[0].Entries) != 1 || l.Found[0].Entries[0].BodyBytes != 6 {
		t.Errorf("%+v", l)
	}
	run(t, s.env(), "get", s.front+"/blogs/2").wants(t, 3, "nothing is stored", "cold")
	absent := run(t, s.env(), "get", s.front+"/blogs/2", "--json")
	absent.wants(t, 3)
	decoded[inspect.Lookup](t, absent)
	run(t, s.env(), "get", "-I", s.front+"/blogs/1?page=query-sEcReT").wants(t, 0, "hit")
	run(t, s.env(), "get", "-H", "X-User: partition-sEcReT", s.front+"/blogs/1?page=query-sEcReT").wants(t, 3, "partition=…")

	r = run(t, s.env(), "get", s.front+"/languages", "-H", "Accept-Language: fr")
	r.wants(t, 0, "vary", "Accept-Language", "response 1 of 2", "response 2 of 2")
	if strings.Count(r.out, ", selected") != 1 {
		t.Error(r.out)
	}
	run(t, s.env(), "get", s.front+"/languages", "-H", "Accept-Language: it").wants(t, 0, "miss, vary")
}

// TestGetByStore: without an inspector, keys are read.
func TestGetByStore(t *testing.T) {
	s := newService(t)
	env := []string{"CACHEASIDE_STORE=" + s.store}
	s.get(t, "/blogs/1?page=query-sEcReT")
	s.get(t, "/blogs/1?page=query-sEcReT", "X-User", "partition-sEcReT")
	s.get(t, "/languages", "Accept-Language", "fr")
	u := s.front + "/blogs/1?page=query-sEcReT"
	run(t, env, "get", u, "--headers").wants(t, 0, "/blogs/1?page=…", "partition=…", "hit", "blog-1 (handler, valid", "Content-Type: text/plain")
	l := decoded[inspect.Lookup](t, run(t, env, "get", u, "--json"))
	if len(l.Found) != 2 || len(l.Found[0].Entries) != 1 {
		t.Errorf("%+v", l)
	}
	run(t, env, "get", s.front+"/blogs/2").wants(t, 3, "nothing is stored")
	run(t, env, "get", s.front+"/languages", "-H", "Accept-Language: fr").wants(t, 0, "vary", "hit", "selected")
	run(t, env, "get", s.front+"/blogs/0", "--namespace", "other").wants(t, 3, "nothing is stored")
	// The flag counts, whatever the environment says.
	run(t, s.env(), "get", s.front+"/blogs/0", "--store", s.store).wants(t, 0, "for requests with what else is in the key")
	run(t, append(s.env(), env...), "get", s.front+"/blogs/0").wants(t, 0, "(default)")

	// What is no entry of ours says what it is.
	c := s.client(t)
	put := func(key, value string) {
		t.Helper()
		if err := c.Do(t.Context(), c.B().Set().Key(key).Value(value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	put("cacheaside:2:{GET:"+s.front+"/corrupt}", "value-sEcReT")
	run(t, env, "get", s.front+"/corrupt").wants(t, 0, "it is no entry", "miss")
	run(t, env, "get", s.front+"/corrupt", "--body").wants(t, 3, "nothing is stored")
	put("cacheaside:foreign", "value-sEcReT")
	put("cacheaside:1:{GET:"+s.front+"/older}", "value-sEcReT")
	run(t, env, "ls").wants(t, 0, "response", "stamp", "tag blog-1", "/blogs/1?page=…", "foreign", "other format", "corrupt", "variants")
}

func TestBody(t *testing.T) {
	s := newService(t)
	env := append(s.env(), "CACHEASIDE_STORE="+s.store)
	if r := run(t, env, "get", s.front+"/blogs/0", "--body"); r.code != 0 || r.out != "blog 0" || r.err != "" {
		t.Errorf("%+v", r)
	}
	s.get(t, "/binary")
	if r := run(t, env, "get", s.front+"/binary", "--body"); r.code != 0 || r.out != binary {
		t.Errorf("%+v", r)
	}
	b := decoded[struct{ Body []byte }](t, run(t, env, "get", s.front+"/binary", "--body", "--json"))
	if string(b.Body) != binary {
		t.Errorf("%q", b.Body)
	}
	run(t, env, "get", s.front+"/absent", "--body").wants(t, 3, "nothing is stored")
	s.get(t, "/blogs/0", "X-User", "partition-sEcReT")
	run(t, env, "get", s.front+"/blogs/0", "--body").wants(t, 1, "2 responses", "partition")
}

func TestLs(t *testing.T) {
	s := newService(t)
	env := []string{"CACHEASIDE_STORE=" + s.store}
	for _, path := range []string{"/blogs/1", "/blogs/2", "/blogs/3?k=query-sEcReT", "/languages"} {
		s.get(t, path)
	}
	r := call(t, env, "ls", s.front+"/blogs/")
	r.wants(t, 0, "KIND", "/blogs/0", "/blogs/3?k=…", "200", "1h")
	if strings.Contains(r.out, "/languages") || strings.Contains(r.out, "stamp") {
		t.Error(r.out)
	}
	call(t, env, "ls", "/blogs/2").wants(t, 0, "/blogs/2")
	call(t, env, "ls", "tag:blog-").wants(t, 0, "tag blog-1")
	call(t, env, "ls", "/absent").wants(t, 3)
	call(t, env, "ls", "absent").wants(t, 2, "a prefix is")
	call(t, env, "ls", "--limit", "0").wants(t, 2, "--limit")
	call(t, env, "ls", "--cursor", "x").wants(t, 2, "cursor")

	// All of it, by pages.
	for i := range 60 {
		s.get(t, "/blogs/many-"+strconv.Itoa(i))
	}
	seen, cursor := map[string]bool{}, ""
	for pages := 0; ; pages++ {
		p := decoded[direct.Page](t, call(t, env, "ls", "/blogs/many-", "--limit", "10", "--cursor", cursor, "--json"))
		for _, it := range p.Items {
			seen[it.Key.Text] = true
		}
		if cursor = p.Next; cursor == "" {
			if pages == 0 {
				t.Error("there was one page")
			}
			break
		}
	}
	if len(seen) != 60 {
		t.Errorf("%d keys", len(seen))
	}
	call(t, env, "ls", "--limit", "10").wants(t, 0, "there is more: --cursor ")
}

func TestExplain(t *testing.T) {
	s := newService(t)
	run(t, s.env(), "explain", s.front+"/blogs/0").wants(t, 0, "hit", "/blogs/{id...}", "steps", "decide")
	run(t, s.env(), "explain", s.front+"/blogs/7?k=query-sEcReT").wants(t, 3, "miss", "cold", "k=…")
	run(t, s.env(), "explain", s.front+"/blogs/7", "--send").wants(t, 3, "is being stored", "status", "200", "Cache-Status")
	run(t, s.env(), "explain", s.front+"/blogs/7", "--send").wants(t, 0, "hit")
	run(t, s.env(), "explain", s.front+"/private", "--send").wants(t, 3, "not stored: private", "Key.Partition")
	run(t, s.env(), "explain", s.front+"/cookie", "--send").wants(t, 3, "set-cookie", "Set-Cookie: …")
	x := decoded[inspect.Explanation](t, run(t, s.env(), "explain", s.front+"/blogs/0", "--json"))
	if x.Result != "hit" || x.Sent {
		t.Errorf("%+v", x)
	}
	run(t, []string{"CACHEASIDE_STORE=" + s.store}, "explain", s.front+"/blogs/0").wants(t, 2, "--inspect")
	run(t, []string{"CACHEASIDE_INSPECT=" + s.inspector, "CACHEASIDE_TOKEN=" + readToken}, "explain", s.front+"/blogs/8", "--send").wants(t, 1, "may only read")
	run(t, []string{"CACHEASIDE_INSPECT=" + s.inspector, "CACHEASIDE_TOKEN=" + readToken}, "explain", s.front+"/blogs/0").wants(t, 0, "hit")
}

func TestStats(t *testing.T) {
	s := newService(t)
	s.get(t, "/blogs/0")
	s.get(t, "/private")
	r := run(t, s.env(), "stats")
	r.wants(t, 0, "web-1", "hit share", "33.3 %", "handler time saved", "results", "causes of misses", "cold", "breaker", "near tier", "store calls", s.server.Addr)
	st := decoded[inspect.Status](t, run(t, s.env(), "stats", "--json"))
	if st.Started.Requests != 3 || st.Started.Results["hit"] != 1 {
		t.Errorf("%+v", st.Started)
	}
}

func TestTop(t *testing.T) {
	s := newService(t)
	s.get(t, "/blogs/0")
	s.get(t, "/languages")
	r := run(t, s.env(), "top", "--limit", "1")
	r.wants(t, 0, "by requests", "COUNT", "/blogs/0")
	if strings.Contains(r.out, "/languages") {
		t.Error(r.out)
	}
	top := decoded[inspect.Top](t, run(t, s.env(), "top", "--by", "misses", "--json"))
	if top.By != "misses" || len(top.Keys) != 2 {
		t.Errorf("%+v", top)
	}
	run(t, s.env(), "top", "--by", "bytes").wants(t, 0, " B ")
	run(t, s.env(), "top", "--previous").wants(t, 0, "no keys")
}

func TestTailOnce(t *testing.T) {
	s := newService(t)
	s.get(t, "/private?k=query-sEcReT")
	s.get(t, "/blogs/3")
	run(t, s.env(), "tail", "--once").wants(t, 0, "request", "miss", "private", "/private?k=…", "/blogs/3", "store")
	r := run(t, s.env(), "tail", "--once", "--kind", "request", "--reason", "private", "--json")
	r.wants(t, 0)
	e := decoded[inspect.Event](t, r) // one line
	if e.Reason != "private" || e.Kind != "request" {
		t.Errorf("%+v", e)
	}
	for _, filter := range []string{"--result=hit", "--cause=lost", "--outcome=timeout", "--route=/nowhere", "--key=nowhere"} {
		if r := run(t, s.env(), "tail", "--once", filter); r.code != 0 || r.out != "" {
			t.Errorf("%s: %+v", filter, r)
		}
	}
	if r := run(t, s.env(), "tail", "--once", "-n", "1"); strings.Count(r.out, "\n") != 1 {
		t.Error(r.out)
	}
}

func TestPurge(t *testing.T) {
	s := newService(t)
	s.get(t, "/blogs/1")
	is := func(path string, code int, text string) {
		t.Helper()
		run(t, s.env(), "get", s.front+path).wants(t, code, text)
	}
	// Nobody can be asked.
	run(t, s.env(), "purge", "tag", "blog-1").wants(t, 2, "--yes", "nothing was purged")
	is("/blogs/1", 0, "hit")
	run(t, s.env(), "purge", "all").wants(t, 2, "--yes")
	run(t, s.env(), "purge", "tag", "blog-1", "--soft", "--yes").wants(t, 0, "made stale: tag blog-1")
	is("/blogs/1", 0, "stale")
	run(t, s.env(), "purge", "tag", "blog-1", "--yes").wants(t, 0, "purged: tag blog-1")
	is("/blogs/1", 0, "it was purged")
	is("/blogs/0", 0, "hit")
	run(t, s.env(), "purge", "url", "-y", s.front+"/blogs/0?k=query-sEcReT", s.front+"/blogs/0").wants(t, 0, "/blogs/0?k=…")
	is("/blogs/0", 0, "it was purged")
	s.get(t, "/blogs/0")
	run(t, s.env(), "purge", "prefix", "-y", s.front+"/blogs").wants(t, 0, "purged: prefix")
	is("/blogs/0", 0, "it was purged")
	s.get(t, "/blogs/0")
	p := decoded[map[string]any](t, run(t, s.env(), "purge", "all", "-y", "--json"))
	if p["purged"] != true {
		t.Error(p)
	}
	is("/blogs/0", 0, "it was purged")

	run(t, []string{"CACHEASIDE_INSPECT=" + s.inspector, "CACHEASIDE_TOKEN=" + readToken}, "purge", "all", "-y").wants(t, 1, "may only read")
	run(t, s.env(), "purge", "url", "-y", "nothing").wants(t, 2, "lacks a scheme or host")
	run(t, s.env(), "purge", "url", "-y", "--soft", s.front+"/").wants(t, 2, "--soft")
	run(t, s.env(), "purge", "all", "-y", "more").wants(t, 2)
	run(t, s.env(), "purge", "tag", "-y").wants(t, 2)
	run(t, s.env(), "purge").wants(t, 2, "tag, url, prefix or all")

	// The store alone.
	env := []string{"CACHEASIDE_STORE=" + s.store}
	s.get(t, "/blogs/1")
	run(t, env, "purge", "tag", "blog-1").wants(t, 2, "--yes")
	run(t, env, "purge", "tag", "blog-1", "-y", "--soft").wants(t, 0, "made stale: tag blog-1")
	is("/blogs/1", 0, "stale")
	run(t, env, "purge", "url", "-y", s.front+"/blogs/1").wants(t, 0, "purged: url")
	is("/blogs/1", 0, "it was purged")
	s.get(t, "/blogs/1")
	run(t, env, "purge", "prefix", "-y", s.front+"/blogs").wants(t, 0, "purged: prefix")
	is("/blogs/1", 0, "it was purged")
	s.get(t, "/blogs/1")
	run(t, env, "purge", "all", "-y", "--json").wants(t, 0, `"purged": true`)
	is("/blogs/1", 0, "it was purged")
	run(t, env, "purge", "url", "-y", "nothing").wants(t, 2, "lacks a scheme or host")

	// The server answers, but takes no writes.
	c := s.client(t)
	if err := c.Do(t.Context(), c.B().ClientPause().Timeout(600_000).Write().Build()).Error(); err != nil {
		t.Fatal(err)
	}
	run(t, env, "purge", "tag", "blog-1", "-y", "--timeout", "5s").wants(t, 4, "not acknowledged: repeat")

	s.server.Kill()
	run(t, env, "purge", "tag", "blog-1", "-y").wants(t, 1, "refuses connections")
	run(t, s.env(), "purge", "tag", "blog-1", "-y", "--timeout", "100s").wants(t, 4, "not acknowledged: repeat")
}
