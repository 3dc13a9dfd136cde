package examples

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/storetest"
)

// healthOf asks a program's address for those who start it and route to it.
func healthOf(t *testing.T, base, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control %q, want no-store", path, got)
	}
	if got := res.Header.Get("Cache-Status"); got != "" {
		t.Errorf("%s went through the cache: %s", path, got)
	}
	return res.StatusCode
}

func (p *process) health() string {
	p.t.Helper()
	m, err := p.Says(`health url=(\S+)`, 10*time.Second)
	if err != nil {
		p.t.Fatal(err)
	}
	return m[1]
}

// TestHealth: a service starts before the server of its cache, uses it as soon as it is
// there, is ready all the time, without it as well, and only when it shuts down it is not,
// while it still answers.
func TestHealth(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			store := storetest.StartServer(t)
			store.Kill()
			p := start(t, name, "-dragonfly", "redis://"+store.Addr, "-lazy-connect", "-health", "127.0.0.1:0", "-drain", "5s")
			base := p.health()
			ready := func(when string) {
				t.Helper()
				for _, path := range []string{"/livez", "/readyz"} {
					if got := healthOf(t, base, path); got != http.StatusOK {
						t.Errorf("%s %s: %d, want 200", path, when, got)
					}
				}
				if got := p.get("/users/1"); got.Status != http.StatusOK {
					t.Errorf("a request %s: %d %s", when, got.Status, got.Err)
				}
			}
			ready("before the server is there")
			store.Start()
			eventually(t, "the server is used", func() bool {
				return strings.Contains(p.get("/users/2").Header.Get("Cache-Status"), "; hit")
			})
			ready("with the server")
			store.Kill()
			ready("without the server")
			if got := p.get("/readyz"); got.Status != http.StatusNotFound {
				t.Errorf("the public gets %d for /readyz", got.Status)
			}

			if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is not ready", func() bool { return healthOf(t, base, "/readyz") == http.StatusServiceUnavailable })
			if got := healthOf(t, base, "/livez"); got != http.StatusOK {
				t.Errorf("/livez of a service that shuts down: %d", got)
			}
			if got := p.get("/users/3"); got.Status != http.StatusOK {
				t.Errorf("a service that is to end in a moment answers %d %s", got.Status, got.Err)
			}
			client.CloseIdleConnections() // fasthttp waits for those that never had a request
			select {
			case <-p.Done:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("ended with %v, want exit status 0", p.Cmd.ProcessState)
			}
		})
	}
}

// TestProbe: the program itself is the health check of its container.
func TestProbe(t *testing.T) {
	p := start(t, "chi", "-health", "127.0.0.1:0")
	base := p.health()
	for url, want := range map[string]string{
		base + "/readyz":           "",
		base + "/nothing":          "404 Not Found",
		"http://127.0.0.1:1/ready": "connection refused",
	} {
		out, err := command(t.TempDir(), "gin", "-probe", url).CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("-probe %s: %v %s, want %q", url, err, out, want)
		}
	}
	p.stop()
}

// TestSecretsInFiles: passwords and tokens come from files and from the environment, and are
// in no output.
func TestSecretsInFiles(t *testing.T) {
	store := storetest.StartServer(t)
	admin, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{store.Addr}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	const password, token = "p@ss/word%20?#", "a token of 27 bytes or so.."
	for _, command := range [][]string{
		{"ACL", "SETUSER", "service", "on", ">" + password, "~*", "+@all"}, {"ACL", "SETUSER", "default", "off"},
	} {
		if err := admin.Do(t.Context(), admin.B().Arbitrary(command...).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addr := "redis://service@" + store.Addr
	for i, env := range [][]string{
		{"DRAGONFLY_ADDR=" + addr, "DRAGONFLY_PASSWORD=" + password, "PURGE_TOKEN=" + token},
		{"DRAGONFLY_ADDR=" + addr, "DRAGONFLY_PASSWORD_FILE=" + file(password+"\n"), "PURGE_TOKEN_FILE=" + file(token)},
	} {
		p := startEnv(t, "chi", env)
		eventually(t, "a hit", func() bool { return strings.Contains(p.get("/users/1").Header.Get("Cache-Status"), "; hit") })
		bearer := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		if got := p.do(http.MethodPost, "/purge", bearer, `{"tags":["user-1"]}`); got.Status/100 != 2 {
			t.Errorf("%d: purge: %d %s", i, got.Status, got.Body)
		}
		if strings.Contains(p.Output(), password) || strings.Contains(p.Output(), token) {
			t.Errorf("%d: a secret in\n%s", i, p.Output())
		}
		p.stop()
	}
	for _, c := range []struct {
		env  []string
		code int
		want string
	}{
		{[]string{"PURGE_TOKEN_FILE=/nowhere/token"}, 2, "PURGE_TOKEN_FILE, for flag -purge-token-file: open /nowhere/token"},
		{[]string{"PURGE_TOKEN_FILE=" + file("\n")}, 2, "is empty"},
		{[]string{"PURGE_TOKEN_FILE=" + file("secret of a\nsecret second line\n")}, 2, "more than one line"},
		{[]string{"PURGE_TOKEN_FILE=" + file("secret")}, 2, "shorter than 16 bytes"},
		{[]string{"PURGE_TOKEN_FILE=" + file(token), "PURGE_TOKEN=" + token}, 2, "PURGE_TOKEN and PURGE_TOKEN_FILE of the environment, are both set: leave one out"},
		{[]string{"DRAGONFLY_PASSWORD=secret"}, 1, "set -dragonfly as well"},
		{[]string{"DRAGONFLY_ADDR=redis://service:secret@" + store.Addr, "DRAGONFLY_PASSWORD=secret"}, 1, "has a password as well"},
		{[]string{"DRAGONFLY_ADDR=" + addr, "DRAGONFLY_PASSWORD=secret"}, 1, "does not accept the user or password"},
		{[]string{"LAZY_CONNECT=perhaps"}, 2, "LAZY_CONNECT, for flag -lazy-connect: not one of true and false"},
		{[]string{"HEALTH=8081"}, 2, "HEALTH, for flag -health"},
		{[]string{"HEALTH=192.0.2.1:1"}, 1, "flag -health: "},
		{[]string{"DRAIN=-1s"}, 2, "-drain: negative"},
	} {
		cmd := command(t.TempDir(), "gin", "-addr", "127.0.0.1:0")
		cmd.Env = append(cmd.Env, c.env...)
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		out, err := cmd.CombinedOutput()
		timer.Stop()
		if err == nil || cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "secret of") || strings.Contains(string(out), token) {
			t.Errorf("%s: %v, want exit status %d and %q in\n%s", fmt.Sprint(c.env), err, c.code, c.want, out)
		}
	}
}
