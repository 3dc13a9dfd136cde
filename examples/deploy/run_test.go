package deploy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/program"
)

// client is that of the tests, which sends the name that the front is known by.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}

// service builds the program that the Dockerfile has.
func service(t *testing.T) string {
	t.Helper()
	text := readFile(t, "Dockerfile")
	name := regexp.MustCompile(`(?m)^ARG SERVICE=(\w+)$`).FindStringSubmatch(text)
	if name == nil || !strings.Contains(text, " ./examples/$SERVICE") {
		t.Fatal("the Dockerfile builds no service")
	}
	bin := filepath.Join(t.TempDir(), "service")
	cmd := exec.Command("go", "build", "-ldflags=-w", "-o", bin, "./examples/"+name[1]) // no debugger needs it
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "GOWORK=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// dragonfly returns the one on the PATH, or else builds the stand-in for tests, which runs
// the redis-server that is there.
func dragonfly(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("dragonfly"); err == nil {
		return path
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CACHEASIDE_REQUIRE_SERVER") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	bin := filepath.Join(t.TempDir(), "dragonfly")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/cacheaside/cacheaside/core/storetest/fakedragonfly").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// here replaces paths in the container by those of the files that would be mounted there.
func (w workload) here(text, secrets string) string {
	paths := slices.Sorted(maps.Keys(w.mounts))
	slices.Reverse(paths)
	for _, path := range paths {
		text = strings.ReplaceAll(text, path, filepath.Join(secrets, w.mounts[path]))
	}
	return text
}

// server is the Dragonfly of a stack.
type server struct {
	t    *testing.T
	bin  string
	args []string
	addr string
	p    *program.Process
}

func (s *server) start() {
	s.t.Helper()
	var err error
	if s.p, err = program.Start(exec.Command(s.bin, s.args...)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.kill)
}

func (s *server) kill() {
	_ = s.p.Cmd.Process.Kill()
	<-s.p.Done
}

// instance is a service of a stack.
type instance struct {
	t            *testing.T
	p            *program.Process
	base, health string
}

func startInstance(t *testing.T, bin string, env []string) *instance {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = env
	p, err := program.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, p: p}
	t.Cleanup(func() {
		_ = p.Cmd.Process.Kill()
		<-p.Done
		if t.Failed() {
			t.Log(p.Output())
		}
	})
	for pattern, to := range map[string]*string{`listening addr=(\S+)`: &i.base, `health url=http://(\S+)`: &i.health} {
		m, err := p.Says(pattern, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		*to = "http://" + m[1]
	}
	return i
}

func (i *instance) do(method, url, body string, header http.Header) (status int, cache string) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Host = "blog.example.com"
	maps.Copy(req.Header, header)
	res, err := client.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		i.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Cache-Status")
}

func (i *instance) hit(path string) bool {
	_, cache := i.do(http.MethodGet, i.base+path, "", nil)
	return strings.Contains(cache, "; hit")
}

// ready requires that the service is, and answers.
func (i *instance) ready(when string) {
	i.t.Helper()
	for _, url := range []string{i.health + "/livez", i.health + "/readyz", i.base + "/users/1"} {
		if status, _ := i.do(http.MethodGet, url, "", nil); status != http.StatusOK {
			i.t.Errorf("%s %s: %d, want 200", url, when, status)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

// environment is that of an instance, with what is another here: addresses, and folders.
func (w workload) environment(t *testing.T, secrets, server string) (env []string) {
	t.Helper()
	for name, value := range w.env {
		value = w.here(value, secrets)
		switch name {
		case "ADDR", "HEALTH", "ADMIN":
			value = "127.0.0.1:0"
		case "DB":
			value = filepath.Join(t.TempDir(), "blog.db")
		case "DRAGONFLY_ADDR":
			if !strings.Contains(value, "@dragonfly:6379?") {
				t.Fatalf("DRAGONFLY_ADDR is %s, want user, name and port of Dragonfly", value)
			}
			value = strings.Replace(value, "dragonfly:6379", server, 1) + "&server_name=dragonfly"
		}
		env = append(env, name+"="+value)
	}
	return append(env, "TMPDIR="+t.TempDir(), "STORE_TIMEOUT=10s") // a busy machine is no failure
}

// ask sends lines to Dragonfly, and returns what it answers each.
func ask(t *testing.T, addr, secrets string, lines ...string) (answers []string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(readFile(t, filepath.Join(secrets, "blog/ca.crt"))))
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "dragonfly", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	for _, line := range lines {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, strings.TrimSpace(answer))
	}
	return answers
}

// TestStacks starts what the manifests say: Dragonfly with their flags, certificates and
// users, and two instances with their environment. One instance has what the other stored,
// a purge holds for both, and without Dragonfly they are ready and answer.
func TestStacks(t *testing.T) {
	store, bin := dragonfly(t), service(t)
	for name, load := range stacks {
		t.Run(name, func(t *testing.T) {
			secrets := makeSecrets(t)
			cache, blog := load(t)
			port, err := servers.FreePort(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := &server{t: t, bin: store, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), args: []string{"--bind=127.0.0.1"}}
			for _, arg := range cache.args {
				if arg == "--port=6379" {
					arg = fmt.Sprint("--port=", port)
				}
				s.args = append(s.args, cache.here(arg, secrets))
			}
			var both []*instance
			for range blog.replicas {
				both = append(both, startInstance(t, bin, blog.environment(t, secrets, s.addr)))
			}
			a, b := both[0], both[1]
			for _, i := range both {
				i.ready("before Dragonfly is there")
			}

			s.start()
			for _, i := range both { // the circuit breakers give it another try
				eventually(t, "Dragonfly is used", func() bool { return i.hit("/users/1") })
			}
			if status, cache := a.do(http.MethodGet, a.base+"/users/2", "", nil); status != http.StatusOK || !strings.Contains(cache, "fwd=miss") {
				t.Errorf("the first time: %d %s", status, cache)
			}
			eventually(t, "what one instance stored is a hit in the other", func() bool { return b.hit("/users/2") })
			token := strings.TrimSpace(readFile(t, filepath.Join(secrets, "blog/purge-token")))
			header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token + "x"}}
			if status, _ := b.do(http.MethodPost, b.base+"/purge", `{"tags":["user-2"]}`, header); status != http.StatusUnauthorized {
				t.Errorf("a purge with a wrong token: %d", status)
			}
			header.Set("Authorization", "Bearer "+token)
			if status, _ := b.do(http.MethodPost, b.base+"/purge", `{"tags":["user-2"]}`, header); status/100 != 2 {
				t.Errorf("a purge: %d", status)
			}
			if a.hit("/users/2") {
				t.Error("one instance has what was purged in the other")
			}

			password := strings.TrimSpace(readFile(t, filepath.Join(secrets, "blog/password")))
			root := strings.TrimSpace(strings.TrimPrefix(readFile(t, filepath.Join(secrets, "dragonfly/dragonfly.flags")), "--requirepass="))
			for n, got := range ask(t, s.addr, secrets, "PING", "AUTH default "+root, "AUTH cacheaside "+password, "PING", "GET other", "FLUSHALL") {
				if want := []string{"-NOAUTH", "-WRONGPASS", "+OK", "+PONG", "-NOPERM", "-NOPERM"}[n]; !strings.HasPrefix(got, want) {
					t.Errorf("Dragonfly answers line %d with %s, want %s", n, got, want)
				}
			}
			for _, i := range both {
				if strings.Contains(i.p.Output(), password) || strings.Contains(i.p.Output(), token) {
					t.Error("a secret is in the log")
				}
			}

			s.kill()
			for _, i := range both {
				i.ready("without Dragonfly")
			}
			s.start() // empty
			eventually(t, "Dragonfly is used again", func() bool { return a.hit("/users/3") && b.hit("/users/3") })

			if err := a.p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is not ready", func() bool {
				status, _ := a.do(http.MethodGet, a.health+"/readyz", "", nil)
				return status == http.StatusServiceUnavailable
			})
			client.CloseIdleConnections() // which fasthttp waits for
			ctx, cancel := context.WithTimeout(t.Context(), blog.grace)
			defer cancel()
			select {
			case <-a.p.Done:
			case <-ctx.Done():
				t.Fatal("the service would be killed")
			}
			if code := a.p.Cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("ended with %v", a.p.Cmd.ProcessState)
			}
			b.ready("while the other one is away")
		})
	}
}

// TestEnvironmentIsKnown: a misspelled variable would mean nothing.
func TestEnvironmentIsKnown(t *testing.T) {
	out, _ := exec.Command(service(t), "-help").CombinedOutput() // its status is 0 or 2
	known := map[string]bool{"GOMEMLIMIT": true}
	for _, m := range regexp.MustCompile(`environment (\w+)`).FindAllStringSubmatch(string(out), -1) {
		known[m[1]] = true
	}
	if len(known) < 10 || known["DRAGONFLY_ADRR"] {
		t.Fatalf("-help says\n%s", out)
	}
	for name, load := range stacks {
		_, blog := load(t)
		for variable := range blog.env {
			if !known[variable] {
				t.Errorf("%s: the service knows no %s", name, variable)
			}
		}
		if len(blog.args) > 0 {
			t.Errorf("%s: the service has arguments, which are for all to see: %v", name, blog.args)
		}
	}
}
