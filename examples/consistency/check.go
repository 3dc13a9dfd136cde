package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
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
	"github.com/cacheaside/cacheaside/examples/internal/server"
)

const host = "example.com" // what all requests are for

// check is one run.
type check struct {
	server                       string
	seed                         uint64
	reads, processes, rows, near int
}

// row is a row of the database: its version, and the newest one that a purge was
// acknowledged for.
type row struct {
	version  atomic.Int64
	promised atomic.Pointer[promise]
	mu       sync.Mutex // of its writer
}

type promise struct {
	version int64
	at      time.Time
}

// result is what a run has counted.
type result struct {
	reads, hits, near, collapsed, stored atomic.Int64
	purges, refused                      atomic.Int64
	evictions, cuts, losses              atomic.Int64
	violations                           atomic.Int64
	mu                                   sync.Mutex
	traces                               []string
	delays                               []time.Duration // by which a purge was too late for a read
	took                                 time.Duration
}

func (c check) run(ctx context.Context) (*result, error) {
	dir, err := os.MkdirTemp("", "cacheaside-consistency-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var own *server.StoreProcess
	if c.server == "" {
		if own, err = server.StartStore(ctx, dir); err != nil {
			return nil, err
		}
		defer own.Kill()
		c.server = own.Addr
	}
	rows := make([]row, c.rows)
	origin, err := serveRows(ctx, rows)
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	var nodes []node
	for i := range c.processes {
		n, stop, err := startWorker(ctx, worker{
			Framework: []string{"fiber", "gin", "echo", "chi"}[i%4], Store: c.server, Origin: origin, Token: token, Near: c.near,
		})
		if err != nil {
			return nil, err
		}
		defer stop()
		nodes = append(nodes, n)
	}
	chaos, err := dragonfly.Connect(ctx, c.server)
	if err != nil {
		return nil, err
	}
	defer chaos.Close()

	r := new(result)
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	work := func(n int, f func(rng *mathrand.Rand) error) {
		for k := range n {
			rng := mathrand.New(mathrand.NewPCG(c.seed, uint64(n*1000+k)))
			wg.Go(func() {
				for ctx.Err() == nil {
					if err := f(rng); err != nil && ctx.Err() == nil {
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
	work(16, func(rng *mathrand.Rand) error {
		if r.reads.Add(1) > int64(c.reads) {
			cancel()
			return nil
		}
		return r.read(ctx, rng, rows, nodes)
	})
	work(3, func(rng *mathrand.Rand) error { return r.write(ctx, rng, rows, nodes, token) })
	work(1, func(rng *mathrand.Rand) error { return r.harm(ctx, rng, chaos, own, c.near > 0) })
	wg.Wait()
	cancel()
	r.took = time.Since(began)
	r.reads.Store(min(r.reads.Load(), int64(c.reads)))
	select {
	case err := <-failed:
		return nil, err
	default:
		return r, nil
	}
}

// serveRows is the database: it takes its time before and after it looks, so
// that purges come while responses are under way. Odd rows are tagged, every
// third has variants.
func serveRows(ctx context.Context, rows []row) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil || i < 0 || i >= len(rows) {
			http.NotFound(w, r)
			return
		}
		time.Sleep(mathrand.N(2 * time.Millisecond))
		v := rows[i].version.Load()
		time.Sleep(mathrand.N(4 * time.Millisecond))
		if i%2 == 1 {
			w.Header().Set("Cache-Tag", "rows,"+tagOf(i))
		}
		if i%3 == 0 {
			w.Header().Set("Vary", "Accept-Language")
		}
		_, _ = fmt.Fprint(w, v)
	})}
	go func() { _ = s.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return "http://" + l.Addr().String(), nil
}

func tagOf(row int) string { return "row-" + strconv.Itoa(row) }

// node is where a worker listens.
type node struct{ base, purge string }

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
	n.base, n.purge, _ = strings.Cut(strings.TrimSpace(line), " ")
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

func (r *result) read(ctx context.Context, rng *mathrand.Rand, rows []row, nodes []node) error {
	i, n := rng.IntN(len(rows)), nodes[rng.IntN(len(nodes))]
	header := http.Header{}
	if i%3 == 0 {
		header.Set("Accept-Language", []string{"de", "en", "fr"}[rng.IntN(3)])
	}
	began, promised := time.Now(), rows[i].promised.Load()
	code, h, body, err := send(ctx, http.MethodGet, fmt.Sprint(n.base, "/", i), header, "")
	if err != nil {
		return err
	}
	got, err := strconv.ParseInt(body, 10, 64)
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("row %d: status %d: %q", i, code, body)
	}
	status := h.Get("Cache-Status")
	for part, count := range map[string]*atomic.Int64{"; hit": &r.hits, "detail=near": &r.near, "; collapsed": &r.collapsed, "; stored": &r.stored} {
		if strings.Contains(status, part) {
			count.Add(1)
		}
	}
	if promised != nil && got < promised.version {
		r.violations.Add(1)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.delays = append(r.delays, began.Sub(promised.at))
		if len(r.traces) < 10 {
			r.traces = append(r.traces, fmt.Sprintf("row %d: %d, %v after %d was promised; %s", i, got, began.Sub(promised.at), promised.version, status))
		}
	}
	return nil
}

func (r *result) write(ctx context.Context, rng *mathrand.Rand, rows []row, nodes []node, token string) error {
	time.Sleep(time.Duration(rng.IntN(12)) * time.Millisecond)
	i, n := rng.IntN(len(rows)), nodes[rng.IntN(len(nodes))]
	rows[i].mu.Lock()
	defer rows[i].mu.Unlock()
	v := rows[i].version.Add(1)
	url := fmt.Sprint("http://", host, "/", i)
	var order string
	switch k := rng.IntN(400); {
	case k == 0:
		order = `{"all": true}`
	case k == 1:
		order = `{"prefixes": ["http://` + host + `/"]}`
	case i%2 == 1 && k < 10:
		order = `{"tags": ["rows"]}`
	case i%2 == 1 && k < 250:
		order = `{"tags": ["` + tagOf(i) + `"]}`
	default:
		order = `{"urls": ["` + url + `"]}`
	}
	code, _, body, err := send(ctx, http.MethodPost, n.purge, http.Header{"Authorization": {"Bearer " + token}}, order)
	switch {
	case err != nil:
		return err
	case code == http.StatusServiceUnavailable: // not acknowledged: nothing is promised
		r.refused.Add(1)
	case code != http.StatusOK:
		return fmt.Errorf("purging %s: status %d: %s", order, code, body)
	default:
		r.purges.Add(1)
		rows[i].promised.Store(&promise{v, time.Now()})
	}
	return nil
}

// harm does what can happen to a server.
func (r *result) harm(ctx context.Context, rng *mathrand.Rand, c rueidis.Client, own *server.StoreProcess, near bool) error {
	time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	do := func(cmd ...string) rueidis.RedisResult {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return c.Do(ctx, c.B().Arbitrary(cmd...).Build())
	}
	k := rng.IntN(400)
	if near && rng.IntN(10) > 0 { // all copies go with a connection: leave them some time
		k = 0
	}
	switch {
	case k < 300:
		if key, err := do("RANDOMKEY").ToString(); err == nil {
			do("DEL", key)
			r.evictions.Add(1)
		}
	case k < 390:
		do("CLIENT", "KILL", "TYPE", "normal")
		r.cuts.Add(1)
	case k < 396 || own == nil:
		do("FLUSHALL")
		r.losses.Add(1)
	default:
		own.Kill()
		r.losses.Add(1)
		return own.Start(ctx)
	}
	return nil
}

// broken says what was promised and did not hold.
func (r *result) broken(c check) error {
	const most = dragonfly.DefaultNearMaxAge
	switch {
	case c.near == 0 && r.violations.Load() > 0:
		return errors.New("an acknowledged purge did not hold")
	case c.near > 0 && len(r.delays) > 0 && slices.Max(r.delays) > most:
		return fmt.Errorf("a purge came later to a near tier than after %v", most)
	}
	return nil
}

func (r *result) table(c check) string {
	var b strings.Builder
	row := func(what string, n any) { _, _ = fmt.Fprintf(&b, "| %s | %v |\n", what, n) }
	row("seed", c.seed)
	row("---", "---")
	row("processes", c.processes)
	row("time", r.took.Round(100*time.Millisecond))
	row("reads", r.reads.Load())
	row("hits", r.hits.Load())
	if c.near > 0 {
		row("of these near", r.near.Load())
	}
	row("collapsed", r.collapsed.Load())
	row("stored", r.stored.Load())
	row("purges acknowledged", r.purges.Load())
	row("purges not acknowledged", r.refused.Load())
	row("keys evicted", r.evictions.Load())
	row("all connections cut", r.cuts.Load())
	row("all data lost", r.losses.Load())
	if c.near > 0 {
		slices.Sort(r.delays)
		at := func(q float64) time.Duration {
			if len(r.delays) == 0 {
				return 0
			}
			return r.delays[int(q*float64(len(r.delays)-1))].Round(10 * time.Microsecond)
		}
		row("reads that a purge came too late for", len(r.delays))
		row("by p50, p99, max", fmt.Sprint(at(0.5), ", ", at(0.99), ", ", at(1)))
		return b.String()
	}
	row("violations", r.violations.Load())
	for _, t := range r.traces {
		b.WriteString(t + "\n")
	}
	return b.String()
}
