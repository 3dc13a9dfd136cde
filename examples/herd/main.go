// Command herd counts how often the handler runs when many clients ask for one
// cold URL at once:
//
//	go run ./examples/herd -dragonfly localhost:6379
//
// It builds the example services, starts one or three processes of each on the
// same server and prints a table in Markdown. Without -dragonfly it starts the
// redis-server, valkey-server or dragonfly on the PATH for itself.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

func main() {
	addr := flag.String("dragonfly", os.Getenv("DRAGONFLY_ADDR"), "Dragonfly or Redis `address`, host:port (empty: start one that is on the PATH)")
	latency := flag.Duration("db-latency", 500*time.Millisecond, "how long the handler takes")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "herd counts the calls of the handler when 500 and 1,000 clients ask for one cold URL at once,\n"+
			"in one and in three processes of each framework, and prints a table. Run it in a clone of the repository.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *latency <= 0 {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "-db-latency must be positive, and there are no arguments")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr, *latency)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "herd:", err)
		os.Exit(1)
	}
}

var (
	frameworks = []string{"fiber", "gin", "echo", "chi"}
	coalesce   = []string{"none", "process", "all"} // what the services take as -coalesce
)

func run(ctx context.Context, addr string, latency time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "cacheaside-herd-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if addr == "" {
		store, err := server.StartStore(ctx, dir)
		if err != nil {
			return err
		}
		defer store.Stop()
		addr = store.Addr
	}
	build := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range frameworks {
		build = append(build, "github.com/cacheaside/cacheaside/examples/"+name)
	}
	if out, err := exec.CommandContext(ctx, "go", build...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}

	fmt.Println("| clients | processes | `-coalesce` | " + strings.Join(frameworks, " | ") + " |")
	fmt.Println("|---|---|---|" + strings.Repeat("---|", len(frameworks)))
	for _, clients := range []int{500, 1000} {
		for _, processes := range []int{1, 3} {
			for _, mode := range coalesce {
				fmt.Printf("| %d | %d | %s |", clients, processes, mode)
				for _, name := range frameworks {
					h := herd{
						service: filepath.Join(dir, name), processes: processes, clients: clients,
						args: []string{"-addr", "127.0.0.1:0", "-dragonfly", addr, "-db-latency", latency.String(),
							"-coalesce", mode, "-wait-timeout", "30s", "-store-timeout", "10s"}, // a busy machine is no failure
					}
					calls, err := h.run(ctx)
					if err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
					fmt.Printf(" %d |", calls)
				}
				fmt.Println()
			}
		}
	}
	return nil
}

// herd is one cell of the table.
type herd struct {
	service            string
	args               []string
	processes, clients int
}

// run returns how often the handlers of all processes ran.
func (h herd) run(ctx context.Context) (calls int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	host := strings.ToLower(rand.Text()) + ".test" // part of the key: it is cold, and the same for all
	urls := make([]string, h.processes)
	for i := range urls {
		url, stop, err := startService(ctx, h.service, h.args)
		if err != nil {
			return 0, err
		}
		defer stop()
		urls[i] = url
	}

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	failed := make([]error, h.clients)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range failed {
		all.Go(func() {
			<-begin
			_, failed[i] = get(ctx, client, host, urls[i%len(urls)]+"/users/1")
		})
	}
	close(begin)
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return 0, err // one of what may be a thousand
		}
	}
	for _, url := range urls {
		var stats struct {
			OriginReads int `json:"origin_reads"`
		}
		b, err := get(ctx, client, host, url+"/stats")
		if err == nil {
			err = json.Unmarshal(b, &stats)
		}
		if err != nil {
			return 0, err
		}
		calls += stats.OriginReads
	}
	return calls, nil
}

func get(ctx context.Context, client *http.Client, host, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// startService starts an example on a free port, which its log tells.
func startService(ctx context.Context, path string, args []string) (url string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, path, args...)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	var log strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "listening addr="); ok {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return "http://" + addr, func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				_ = cmd.Wait()
			}, nil
		}
		log.WriteString(lines.Text() + "\n")
	}
	return "", nil, fmt.Errorf("%w: %s", cmd.Wait(), log.String())
}
