// Command load asks the services of the examples as clients would: some pages more than
// others, some that there are not, some that must be fresh, and now and then it writes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	to := flag.String("to", "localhost:8080", "services, host:port, separated by commas")
	host := flag.String("host", "example.com", "field Host, the same for all services, as behind a load balancer")
	rate := flag.Float64("rate", 50, "requests a second")
	pages := flag.Uint64("pages", 300, "pages of each kind, of which the first are asked for most")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *to, *host, *rate, *pages); err != nil {
		slog.Error(err.Error())
		stop()
		os.Exit(2) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, to, host string, rate float64, pages uint64) error {
	services := strings.Split(to, ",")
	for _, s := range services {
		if h, p, err := net.SplitHostPort(s); err != nil || h == "" || p == "" {
			return fmt.Errorf("flag -to: %q is not an address such as localhost:8080", s)
		}
	}
	if !(rate > 0 && rate <= 100_000) {
		return errors.New("flag -rate: not a number from 0 to 100000")
	}
	if pages < 1 || pages > 1000 {
		return errors.New("flag -pages: not a number from 1 to 1000")
	}
	l := loader{services: services, host: host, client: &http.Client{Timeout: 30 * time.Second}}
	slog.Info("asking", "services", services, "rate", rate)
	// What waits does not make the rate lower.
	free := make(chan struct{}, 256)
	var requests sync.WaitGroup
	defer requests.Wait()
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	popular := rand.NewZipf(random, 1.1, 1, pages-1)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, kind, service := 1+popular.Uint64(), random.IntN(1000), services[random.IntN(len(services))]
		select {
		case free <- struct{}{}:
		default: // all of them wait
			continue
		}
		requests.Go(func() {
			defer func() { <-free }()
			l.ask(ctx, service, n, kind)
		})
	}
}

type loader struct {
	services []string
	host     string
	client   *http.Client
	failed   sync.Once
}

// ask asks for page n; kind, below 1000, says how.
func (l *loader) ask(ctx context.Context, service string, n uint64, kind int) {
	method, path, body, header := http.MethodGet, fmt.Sprintf("/blogs/%d", n), "", http.Header{}
	switch {
	case kind < 10: // a write, which purges
		method, path = http.MethodPut, fmt.Sprintf("/users/%d", n)
		body = fmt.Sprintf(`{"name":"User %d","email":"user%d@example.com"}`, n, n)
	case kind < 40: // there is none
		path = fmt.Sprintf("/users/%d", 1_000_000+n)
	case kind < 50: // reloaded
		header.Set("Cache-Control", "no-cache")
	case kind < 60: // none of the cache's business
		header.Set("If-Match", `"1"`)
	case kind < 80:
		method = http.MethodHead
	case kind < 500:
		path = fmt.Sprintf("/users/%d", n)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+service+path, strings.NewReader(body))
	if err == nil {
		req.Host, req.Header = l.host, header
		var res *http.Response
		if res, err = l.client.Do(req); err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	if err != nil && ctx.Err() == nil {
		l.failed.Do(func() { slog.Warn("a service does not answer; this is said once", "error", err) })
	}
}
