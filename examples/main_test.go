package examples

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"

	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/examples/internal/program"
)

// frameworks are the examples that must answer alike; the first is the measure.
var frameworks = []string{"chi", "gin", "echo", "fiber"}

// bin is where TestMain has put the programs. The tests run them as a user
// does, so that each main.go can be read from top to bottom.
var bin string

func TestMain(m *testing.M) {
	storetest.Waiting(12)
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "cacheaside-examples-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(bin) }()
		services, proxy := []string{}, []string{"./proxy"}
		for _, name := range frameworks {
			services = append(services, "./"+name)
		}
		if raceEnabled { // not for the services: SQLite takes minutes to compile then
			proxy = append([]string{"-race"}, proxy...)
		}
		for _, what := range [][]string{services, proxy} {
			args := append([]string{"build", "-ldflags=-w", "-o", bin + string(filepath.Separator)}, what...) // no debugger needs them
			if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(args, " "), err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// process is a running example.
type process struct {
	*program.Process
	t    *testing.T
	name string
	host string // unlike that of all other processes, which may share a server
	base string
	tmp  string
}

// start runs an example on a free port until the test ends.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startEnv(t, name, nil, args...)
}

// startEnv is start with variables of the environment.
func startEnv(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, tmp: t.TempDir(), host: strings.ToLower(name + "-" + rand.Text() + ".test")}
	cmd := command(p.tmp, name, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	var err error
	if p.Process, err = program.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Cmd.Process.Kill() // it has ended, or the test has failed
		<-p.Done
		if t.Failed() {
			t.Logf("%s %v wrote:\n%s", p.name, args, p.Output())
		}
	})
	listening, err := p.Says(`listening addr=(\S+)`, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p.base = "http://" + listening[1]
	return p
}

// command is an example with nothing of the test's own environment that it
// would read.
func command(tmp, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Env = append(os.Environ(), "STORE_TIMEOUT=10s", "TMPDIR="+tmp, // a busy machine is no failure
		"ADDR=", "DRAGONFLY_ADDR=", "TTL=", "DB_LATENCY=", "FRAMEWORK=", "ORIGIN=",
		"STALE_WHILE_REVALIDATE=", "STALE_IF_ERROR=", "SOFT_TIMEOUT=", "REFRESH_AHEAD=", "TTL_JITTER=",
		"NOT_FOUND_TTL=", "COALESCE=", "WAIT_TIMEOUT=", "DB=", "PURGE_TOKEN=", "NEAR=", "COMPRESS=", "ADMIN=", "ADMIN_TOKEN=", "WARM=", "WARM_HOST=",
		"DRAGONFLY_PASSWORD=", "DRAGONFLY_PASSWORD_FILE=", "PURGE_TOKEN_FILE=", "ADMIN_TOKEN_FILE=", "LAZY_CONNECT=", "HEALTH=", "DRAIN=")
	cmd.SysProcAttr = servers.DieWithParent()
	return cmd
}

// stop asks the program to end and requires that it does so in good order.
func (p *process) stop() {
	p.t.Helper()
	client.CloseIdleConnections() // fasthttp waits for those that never had a request
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.Done:
	case <-time.After(8 * time.Second):
		_ = p.Cmd.Process.Signal(syscall.SIGQUIT) // it tells what it waits for
		<-p.Done
		p.t.Fatalf("%s does not end after SIGTERM", p.name)
	}
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended with %v, want exit status 0", p.name, p.Cmd.ProcessState)
	}
	if left, _ := filepath.Glob(filepath.Join(p.tmp, "*")); len(left) > 0 {
		p.t.Errorf("%s left behind %v", p.name, left)
	}
}

var client = &http.Client{
	Timeout:       20 * time.Second,
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is a response, read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Err    string // where the body broke off
}

func (p *process) do(method, target string, header http.Header, body string) answer {
	p.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base, r)
	if err != nil {
		p.t.Fatal(err)
	}
	req.URL.Opaque, req.URL.RawQuery, _ = strings.Cut(target, "?") // sent as it is
	req.Host = p.host
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{Err: "no response"}
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Status: resp.StatusCode, Header: resp.Header}
	b, err := io.ReadAll(resp.Body)
	a.Body = string(b)
	if err != nil {
		a.Err = "broken off"
	}
	return a
}

func (p *process) get(target string) answer {
	p.t.Helper()
	return p.do(http.MethodGet, target, nil, "")
}

// stats is what GET /stats answers.
type stats struct {
	OriginReads int            `json:"origin_reads"`
	Cache       map[string]int `json:"cache"`
}

func (p *process) stats() stats {
	p.t.Helper()
	a := p.get("/stats")
	var s stats
	if err := json.Unmarshal([]byte(a.Body), &s); err != nil || a.Status != http.StatusOK {
		p.t.Fatalf("%s: GET /stats: %d %q: %v", p.name, a.Status, a.Body, err)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		p.t.Errorf("%s: GET /stats: Cache-Control %q, want no-store", p.name, got)
	}
	if got := a.Header.Get("Cache-Status"); got != "" {
		p.t.Errorf("%s: GET /stats went through the cache: %s", p.name, got)
	}
	for name := range s.Cache { // how a framework holds a body is its own
		if strings.HasPrefix(name, "capture_") {
			delete(s.Cache, name)
		}
	}
	return s
}
