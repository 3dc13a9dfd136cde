package dragonfly

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url   string
		addrs string
		user  string
		pass  string
		db    int
		tls   string // server name; "-" for TLS without one
		set   string
	}{
		{url: "localhost:6379", addrs: "localhost:6379"},
		{url: "localhost", addrs: "localhost:6379"},
		{url: " 10.0.0.1:1 ", addrs: "10.0.0.1:1"},
		{url: "[::1]:7000", addrs: "[::1]:7000"},
		{url: "[::1]", addrs: "[::1]:6379"},
		{url: "redis://localhost", addrs: "localhost:6379"},
		{url: "redis://localhost/", addrs: "localhost:6379"},
		{url: "REDIS://localhost:1/3", addrs: "localhost:1", db: 3},
		{url: "redis://[::1]:7000/1", addrs: "[::1]:7000", db: 1},
		{url: "redis://:secret@cache:6380", addrs: "cache:6380", pass: "secret"},
		{url: "redis://app@cache", addrs: "cache:6379", user: "app"},
		{url: "redis://app:p%40ss%2Fw%23rd%3F@cache:6380/2", addrs: "cache:6380", user: "app", pass: "p@ss/w#rd?", db: 2},
		{url: "redis://app:p@ss@cache", addrs: "cache:6379", user: "app", pass: "p@ss"},
		{url: "rediss://app:secret@cache.example:6380/2", addrs: "cache.example:6380", user: "app", pass: "secret", db: 2, tls: "cache.example"},
		{url: "redis://a:1?addr=b:2&addr=c", addrs: "a:1 b:2 c:6379"},
		{url: "rediss://a:1?addr=b:2", addrs: "a:1 b:2", tls: "-"},
		{url: "redis://s1:26379?addr=s2:26379&master_set=cache", addrs: "s1:26379 s2:26379", set: "cache"},
	} {
		got, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%q: %v", c.url, err)
			continue
		}
		var tls string
		if got.TLSConfig != nil {
			if tls = got.TLSConfig.ServerName; tls == "" {
				tls = "-"
			}
		}
		if strings.Join(got.InitAddress, " ") != c.addrs || got.Username != c.user || got.Password != c.pass ||
			got.SelectDB != c.db || tls != c.tls || got.Sentinel.MasterSet != c.set {
			t.Errorf("%q gives %q user %q password %q db %d tls %q set %q",
				c.url, got.InitAddress, got.Username, got.Password, got.SelectDB, tls, got.Sentinel.MasterSet)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                         "empty",
		"http://cache:6379":        `scheme "http"`,
		"memcached://cache":        `scheme "memcached"`,
		"redis+tls://cache":        `scheme "redis+tls"`,
		"unix:///run/redis.sock":   `scheme "unix"`,
		"://cache":                 "scheme",
		"redis://":                 "host is missing",
		"redis:///1":               "host is missing",
		"redis://:6379":            "host is missing",
		":6379":                    "host is missing",
		"cache:":                   "port",
		"cache:redis":              "port",
		"cache:0":                  "port",
		"cache:65536":              "port",
		"redis://cache:65536":      "port",
		"cache:6379:1":             "host:port",
		"::1":                      "host:port",
		"redis:cache:6379":         "host:port",
		"ca che:6379":              "host",
		"cache/1":                  "host",
		"cache:6379/1":             "port",
		"redis://cache/one":        "database",
		"redis://cache/-1":         "database",
		"redis://cache/1/2":        "database",
		"redis://cache?db=1":       "query",
		"redis://cache?timeout=1s": "query",
		"redis://cache?master_set=a&master_set=b": "query",
		"redis://cache?addr=:1":                   "addr",
		"app:hunter2@cache:6379":                  "scheme",
		"redis://app:hunter2/x@cache:6379":        "percent-encoded",
		"redis://app:hunter2?x@cache:6379":        "percent-encoded",
		"redis://app:hunter2#x@cache:6379":        "percent-encoded",
		"redis://app:hunter2%zz@cache:6379":       "percent-encoded",
		"redis://app:6379/hunter2@cache:1":        "percent-encoded",
		"redis://app:6379?hunter2@cache:1":        "query",
		"redis://app:6379#hunter2@cache:1":        "percent-encoded",
		"hunter2:x@y://cache":                     "scheme",
	} {
		_, err := parseURL(url)
		if err == nil {
			t.Errorf("%q is taken", url)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "redis://[user") {
			t.Errorf("%q: %q does not say %q and what is allowed", url, err, want)
		}
		if strings.Contains(strings.SplitN(err.Error(), urlForms, 2)[0], "hunter2") {
			t.Errorf("%q: %q shows the password", url, err)
		}
	}
}

// FuzzParseURL: no text makes it panic, an error tells no password, and what it
// takes has an address.
func FuzzParseURL(f *testing.F) {
	for _, url := range []string{"redis://u:secret@h:1/2?addr=a:1&addr=b:2", "rediss://:secret@h?master_set=m", "h:1", "[::1]:6379", "redis://u:se/cret@h", "redis://%", "redis://h/x"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		option, err := parseURL(url)
		switch {
		case err == nil && (len(option.InitAddress) == 0 || option.InitAddress[0] == ""):
			t.Fatalf("%q has no address", url)
		case err != nil:
			user := strings.SplitN(url, "@", 2)
			if _, password, ok := strings.Cut(user[0], ":"); ok && len(user) == 2 {
				if _, password, ok = strings.Cut(password, ":"); ok && len(password) > 12 && strings.Contains(err.Error(), password) {
					t.Fatalf("%q is told by %q", password, err)
				}
			}
		}
	})
}

// TestParseURLForAll: it is what Open uses, with the errors that show nothing.
func TestParseURLForAll(t *testing.T) {
	got, err := ParseURL("rediss://app:secret@cache.example:6380/2")
	if err != nil || got.Username != "app" || got.Password != "secret" || got.SelectDB != 2 || got.TLSConfig == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseURL("redis://app:hunter2/x@cache"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
