package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

const (
	host    = "example.com" // what all requests are for
	version = "X-Version"   // the field that has a row's version
)

// check is one run.
type check struct {
	server                       string
	seed                         uint64
	reads, processes, rows, near int
	most                         int // reads, where something has not happened until then
	Features
}

// database are the rows, in order and by path.
type database struct {
	all    []*row
	byPath map[string]*row
	calm   *atomic.Bool // the origin does not fail any more
}

func newDatabase(policies []*policy, rows int) database {
	t := database{byPath: map[string]*row{}, calm: new(atomic.Bool)}
	for i := range rows {
		r := &row{policy: policies[i%len(policies)], n: i / len(policies)}
		t.all = append(t.all, r)
		t.byPath[r.path()] = r
	}
	return t
}

func (c check) run(ctx context.Context) (*result, error) {
	dir, err := os.MkdirTemp("", "cacheaside-consistency-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var own *servers.Server
	if c.server == "" {
		// No script may ask for a time that is perhaps set back. Dragonfly cannot forget a command.
		if own, err = server.StartStore(ctx, dir, servers.WhereRedis("--rename-command", "TIME", "")); err != nil {
			return nil, err
		}
		defer own.Kill()
		c.server = own.Addr
	}
	rows := newDatabase(c.policies(), c.rows)
	from, err := c.serveRows(ctx, rows)
	if err != nil {
		return nil, err
	}
	t := traffic{check: c, database: rows, token: rand.Text(), result: new(result)}
	for i := range c.processes {
		n, stop, err := startWorker(ctx, worker{
			Framework: []string{"fiber", "gin", "echo", "chi"}[i%4], Store: c.server, Origin: from, Token: t.token,
			Number: i, Near: c.near, Features: c.Features,
		})
		if err != nil {
			return nil, err
		}
		defer stop()
		t.nodes = append(t.nodes, n)
	}
	chaos, err := server.Patiently(ctx, func() (rueidis.Client, error) { return dragonfly.NewClient(ctx, c.server) })
	if err != nil {
		return nil, err
	}
	defer chaos.Close()

	t.began = time.Now()
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	work := func(n int, start func() func(rng *mathrand.Rand) error) {
		for k := range n {
			rng := mathrand.New(mathrand.NewPCG(c.seed, uint64(n*1000+k)))
			f := start()
			wg.Go(func() {
				for working.Err() == nil {
					if err := f(rng); err != nil && working.Err() == nil {
						select {
						case failed <- err:
						default:
						}
						cancel()
					}
				}
			})
		}
	}
	var tickets atomic.Int64
	work(16, func() func(*mathrand.Rand) error {
		known := etags{}
		return func(rng *mathrand.Rand) error {
			if enough, err := t.enough(working, tickets.Add(1)); enough || err != nil {
				cancel()
				return err
			}
			return t.read(working, t.request(rng, t.all[rng.IntN(len(t.all))], known), known)
		}
	})
	work(3, func() func(*mathrand.Rand) error {
		return func(rng *mathrand.Rand) error { return t.write(working, rng) }
	})
	work(1, func() func(*mathrand.Rand) error {
		return func(rng *mathrand.Rand) error { return t.harm(working, ctx, rng, chaos, own) }
	})
	if c.Pause {
		work(1, func() func(*mathrand.Rand) error {
			return func(rng *mathrand.Rand) error { return t.pause(working, rng) }
		})
	}
	wg.Wait()
	t.took = time.Since(t.began)
	select {
	case err := <-failed:
		return nil, err
	default:
	}
	if err := t.ask(ctx); err != nil || ctx.Err() != nil { // interrupted: this is what there is
		return t.result, nil
	}
	return t.result, t.settle(ctx)
}

// serveRows is the database: it takes its time before and after it looks, so
// that purges come while responses are under way.
func (c check) serveRows(ctx context.Context, rows database) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		row, ok := rows.byPath[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		c.answer(w, r, row, rows.calm.Load())
	})}
	go func() { _ = s.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return "http://" + l.Addr().String(), nil
}

func (c check) answer(w http.ResponseWriter, r *http.Request, row *row, calm bool) {
	p := row.policy
	time.Sleep(mathrand.N(2 * time.Millisecond))
	v := row.version.Load()
	time.Sleep(mathrand.N(4 * time.Millisecond))
	if p.slow && mathrand.IntN(3) == 0 {
		time.Sleep(mathrand.N(40 * time.Millisecond))
	}
	if p.fails && !calm && (row.out() || mathrand.IntN(6) == 0) {
		w.WriteHeader([]int{500, 502, 503, 504}[mathrand.IntN(4)])
		return
	}
	h := w.Header()
	selected := row.selected(r.Header.Get("Accept-Language"), r.Header.Get("X-Part"), r.URL.RawQuery)
	h.Set(version, strconv.FormatInt(v, 10))
	h.Set("Content-Type", "text/plain")
	if row.tagged() {
		h.Set("Cache-Tag", strings.Join([]string{everyRow, p.name, row.tag()}, ","))
	}
	if row.variants() {
		h.Set("Vary", "Accept-Language")
	}
	if p.stated != "" {
		h.Set("Cache-Control", p.stated)
	}
	if !p.untagged {
		tag := etag(v, selected)
		h.Set("Etag", tag)
		if c.Validate && slices.Contains(strings.Split(r.Header.Get("If-None-Match"), ", "), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = io.WriteString(w, text(v, selected))
}

// node is where a worker listens.
type node struct {
	base, beside string
	process      *os.Process
}

func startWorker(ctx context.Context, w worker) (n node, stop func(), err error) {
	settings, err := json.Marshal(w)
	if err != nil {
		return n, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return n, nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asWorker+"="+string(settings))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return n, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return n, nil, err
	}
	if err := cmd.Start(); err != nil {
		return n, nil, err
	}
	stop = func() {
		_ = in.Close() // it ends with its input
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return n, nil, fmt.Errorf("a worker in %s does not start: %w", w.Framework, err)
	}
	n.process = cmd.Process
	n.base, n.beside, _ = strings.Cut(strings.TrimSpace(line), " ")
	return n, stop, nil
}

var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

func send(ctx context.Context, method, url string, header http.Header, body string) (int, http.Header, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Host = host
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}
