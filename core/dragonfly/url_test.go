package dragonfly

import (
	neturl "net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"
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
		{url: "rediss://s1:26379?master_set=cache", addrs: "s1:26379", set: "cache", tls: "-"}, // masters have names of their own
		{url: "redis://a/3?db=3", addrs: "a:6379", db: 3},
		{url: "redis://a?db=4", addrs: "a:6379", db: 4},
		{url: "redis://a/?db=4", addrs: "a:6379", db: 4},
		{url: "rediss://10.0.0.1?server_name=cache.example", addrs: "10.0.0.1:6379", tls: "cache.example"},
		{url: "rediss://a:1?addr=b:2&server_name=cache.example", addrs: "a:1 b:2", tls: "cache.example"},
		{url: "unix:///run/dragonfly.sock", addrs: "/run/dragonfly.sock"},
		{url: "UNIX:///run/dragonfly.sock?db=0", addrs: "/run/dragonfly.sock"},
		{url: "unix://app:p%40ss@/run/a%20b%40c%3F.sock?db=5", addrs: "/run/a b@c?.sock", user: "app", pass: "p@ss", db: 5},
		{url: "unix://:secret@/s", addrs: "/s", pass: "secret"},
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
		"":                                  "empty",
		"http://cache:6379":                 `scheme "http"`,
		"memcached://cache":                 `scheme "memcached"`,
		"redis+tls://cache":                 `scheme "redis+tls"`,
		"unix://":                           "path of the socket is missing",
		"unix:///":                          "path of the socket is missing",
		"unix:///run/":                      "path of the socket is missing",
		"unix://run/redis.sock":             "third '/'",
		"unix:/run/redis.sock":              "unix://",
		"/run/redis.sock":                   "unix://",
		"unix:///run/a%00b":                 "NUL",
		"unix+tls:///run/a":                 `scheme "unix+tls"`,
		"unix://app:hunter2/x@/s":           "percent-encoded",
		"unix://app:1/hunter2@/s":           "percent-encoded",
		"unix:///run/hunter2@s":             "percent-encoded",
		"unix://app:1?hunter2@/s":           "third '/'",
		"cache:6379?db=1":                   "scheme",
		"://cache":                          "scheme",
		"redis://":                          "host is missing",
		"redis:///1":                        "host is missing",
		"redis://:6379":                     "host is missing",
		":6379":                             "host is missing",
		"cache:":                            "port",
		"cache:redis":                       "port",
		"cache:0":                           "port",
		"cache:65536":                       "port",
		"redis://cache:65536":               "port",
		"cache:6379:1":                      "host:port",
		"::1":                               "host:port",
		"redis:cache:6379":                  "host:port",
		"ca che:6379":                       "host",
		"cache/1":                           "host",
		"cache:6379/1":                      "port",
		"redis://cache/one":                 "database",
		"redis://cache/-1":                  "database",
		"redis://cache/1/2":                 "database",
		"redis://cache/1?db=2":              "db in its query",
		"redis://cache/0?db=2":              "db in its query",
		"redis://cache?db=one":              "db in its query",
		"redis://cache?db=-1":               "db in its query",
		"redis://cache?db=":                 "db in its query: it has no value",
		"redis://cache?timeout=1s":          "dial_timeout",
		"redis://cache?hunter2=1":           "may only have addr, master_set",
		"redis://cache?DB=1":                "may only have addr, master_set",
		"redis://cache?db=1;addr=a":         "cannot be parsed",
		"redis://cache?addr=%zz":            "cannot be parsed",
		"redis://cache?client_name=a&x=%zz": "cannot be parsed",
		"redis://cache?master_set=a&master_set=b":                 "master_set in its query: it is given more than once",
		"redis://cache?db=1&db=1":                                 "db in its query: it is given more than once",
		"redis://cache?master_set=":                               "master_set in its query: it has no value",
		"redis://cache?client_name=a%20b":                         "client_name in its query",
		"redis://cache?client_name=ä":                             "client_name in its query",
		"redis://cache?protocol=4":                                "protocol in its query",
		"redis://cache?dial_timeout=5":                            "dial_timeout in its query",
		"redis://cache?dial_timeout=-5s":                          "dial_timeout in its query",
		"redis://cache?write_timeout=0":                           "write_timeout in its query",
		"redis://cache?write_timeout=1h":                          "write_timeout in its query",
		"redis://cache?max_retries=3":                             "max_retries in its query: nothing is retried",
		"redis://cache?client_cache=0":                            "WithNear",
		"redis://cache?password=hunter2":                          "in front of the host",
		"redis://cache?skip_verify":                               "skip_verify in its query: it needs rediss://",
		"redis://cache?server_name=a":                             "server_name in its query: it needs rediss://",
		"redis://cache?ssl_ca_certs=a":                            "ssl_ca_certs in its query: it needs rediss://",
		"redis://cache?ssl_keyfile=a":                             "ssl_keyfile in its query: it needs rediss://",
		"unix:///s?skip_verify=true":                              "skip_verify in its query: it needs rediss://",
		"unix:///s?addr=cache:1":                                  "addr in its query: it is not for a socket",
		"unix:///s?master_set=a":                                  "master_set in its query: it is not for a socket",
		"unix:///s?db=x":                                          "db in its query",
		"rediss://cache?skip_verify=maybe":                        "skip_verify in its query",
		"rediss://cache?server_name=a/b":                          "server_name in its query",
		"rediss://cache?ssl_ca_certs=/hunter2":                    "ssl_ca_certs in its query: the file cannot be read",
		"rediss://cache?ssl_ca_certs=/":                           "ssl_ca_certs in its query: it must name a file",
		"rediss://cache?ssl_ca_certs=/dev/zero":                   "ssl_ca_certs in its query: it must name a file",
		"rediss://cache?ssl_ca_certs=url_test.go":                 "ssl_ca_certs in its query: there is no certificate",
		"rediss://cache?ssl_certfile=a":                           "need each other",
		"rediss://cache?ssl_keyfile=a":                            "need each other",
		"rediss://cache?ssl_certfile=url.go&ssl_keyfile=/hunter2": "ssl_keyfile in its query: the file cannot be read",
		"rediss://cache?ssl_certfile=url.go&ssl_keyfile=url.go":   "no pair",
		"redis://cache?addr=:1":                                   "addr",
		"app:hunter2@cache:6379":                                  "scheme",
		"redis://app:hunter2/x@cache:6379":                        "percent-encoded",
		"redis://app:hunter2?x@cache:6379":                        "percent-encoded",
		"redis://app:hunter2#x@cache:6379":                        "percent-encoded",
		"redis://app:hunter2%zz@cache:6379":                       "percent-encoded",
		"redis://app:6379/hunter2@cache:1":                        "percent-encoded",
		"redis://app:6379?hunter2@cache:1":                        "query",
		"redis://app:6379#hunter2@cache:1":                        "percent-encoded",
		"hunter2:x@y://cache":                                     "scheme",
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

// coherent checks what holds for every URL that is taken: it has an address, and what
// rueidis makes of it is the same wherever that takes it, too.
func coherent(t *testing.T, url string, option rueidis.ClientOption) {
	t.Helper()
	scheme, _, ok := strings.Cut(strings.ToLower(strings.TrimSpace(url)), "://")
	switch {
	case len(option.InitAddress) == 0 || option.InitAddress[0] == "":
		t.Fatalf("%q has no address", url)
	case (ok && scheme == "rediss") != (option.TLSConfig != nil):
		t.Fatalf("%q: TLS is %v", url, option.TLSConfig != nil)
	case (ok && scheme == "unix") != (option.DialCtxFn != nil), isSocket(option) != (option.DialCtxFn != nil):
		t.Fatalf("%q is a socket at %q: %v", url, option.InitAddress, option.DialCtxFn != nil)
	case !ok:
		return
	}
	theirs, err := rueidis.ParseURL(strings.TrimSpace(url))
	if err != nil || slices.ContainsFunc(option.InitAddress, func(a string) bool { return !isSocket(option) && !strings.Contains(url, a) }) {
		return // they take no '/' without a database, and have other defaults for a node without a port
	}
	if !isSocket(option) {
		theirs.InitAddress = append([]string{option.InitAddress[0]}, theirs.InitAddress[1:]...) // case, brackets
	}
	if !slices.Equal(theirs.InitAddress, option.InitAddress) && strings.TrimSpace(option.InitAddress[0]) == option.InitAddress[0] ||
		theirs.Username != option.Username || theirs.Password != option.Password || theirs.SelectDB != option.SelectDB ||
		theirs.ClientName != option.ClientName || theirs.AlwaysRESP2 != option.AlwaysRESP2 || theirs.DisableRetry != option.DisableRetry ||
		theirs.Sentinel.MasterSet != option.Sentinel.MasterSet || theirs.Dialer.Timeout != option.Dialer.Timeout ||
		theirs.ConnWriteTimeout != option.ConnWriteTimeout ||
		option.TLSConfig != nil && theirs.TLSConfig.InsecureSkipVerify != option.TLSConfig.InsecureSkipVerify {
		t.Fatalf("%q: rueidis makes %+v of it, and we %+v", url, theirs, option)
	}
}

// TestParseURLGivesBack: what is put into a URL, encoded, comes out.
func TestParseURLGivesBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		user, password := rapid.String().Draw(r, "user"), rapid.StringN(1, 20, -1).Draw(r, "password")
		db := rapid.IntRange(0, 1<<31-1).Draw(r, "db")
		name := rapid.StringMatching(`[!-~]{1,20}`).Draw(r, "name")
		took := rapid.Int64Range(int64(minURLTimeout), int64(maxURLTimeout)).Draw(r, "timeout")
		path := "/" + rapid.StringMatching(`[^\x00]{0,40}[^\x00/]`).Draw(r, "path")
		u := neturl.URL{User: neturl.UserPassword(user, password), RawQuery: neturl.Values{
			"db": {strconv.Itoa(db)}, "client_name": {name}, "dial_timeout": {time.Duration(took).String()}, "write_timeout": {time.Duration(took).String()},
		}.Encode()}
		want := path
		if u.Scheme = rapid.SampledFrom([]string{"unix", "redis", "rediss"}).Draw(r, "scheme"); u.Scheme == "unix" {
			u.Path, u.RawPath = path, strings.ReplaceAll(neturl.PathEscape(path), "%2F", "/")
			u.RawPath = strings.ReplaceAll(u.RawPath, "@", "%40")
		} else {
			want = "cache:7000"
			u.Host = want
		}
		// The package leaves out "//" where there is a path and no host.
		raw := u.Scheme + "://" + u.User.String() + "@" + u.Host + u.EscapedPath() + "?" + u.RawQuery
		got, err := parseURL(raw)
		if err != nil {
			r.Fatalf("%q: %v", raw, err)
		}
		if got.InitAddress[0] != want || got.Username != user || got.Password != password || got.SelectDB != db || got.ClientName != name ||
			got.Dialer.Timeout != time.Duration(took) || got.ConnWriteTimeout != time.Duration(took) || got.Sentinel.Dialer.Timeout != time.Duration(took) {
			r.Fatalf("%q gives %+v", raw, got)
		}
	})
}

// TestParseURLNames: every parameter of rueidis has an answer, and so have those that we
// know from other clients; none is known twice.
func TestParseURLNames(t *testing.T) {
	for name := range elsewhere {
		for _, p := range parameters {
			if p.name == name {
				t.Errorf("%s is both known and not", name)
			}
		}
		if _, err := parseURL("redis://cache?" + name + "=hunter2"); err == nil || !strings.Contains(err.Error(), name+" is not for its query: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"db", "dial_timeout", "write_timeout", "addr", "skip_verify", "protocol", "client_cache", "max_retries", "client_name", "master_set"} {
		if _, err := parseURL("rediss://cache?" + name + "=~"); err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseURL: no text makes it panic, an error tells no password, and what it
// takes is what it says.
func FuzzParseURL(f *testing.F) {
	for _, url := range []string{"redis://u:secret@h:1/2?addr=a:1&addr=b:2", "rediss://:secret@h?master_set=m", "h:1", "[::1]:6379", "redis://u:se/cret@h", "redis://%", "redis://h/x",
		"unix://u:p@/s?db=1&client_name=c", "rediss://h?skip_verify&server_name=n", "redis://h?dial_timeout=1s&write_timeout=2s&protocol=2&max_retries=0"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		option, err := parseURL(url)
		switch {
		case err == nil:
			coherent(t, url, option)
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
