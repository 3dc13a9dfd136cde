package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// health is what those ask who start the program and send requests to it: /livez, whether it
// runs, and /readyz, whether it takes requests. Neither asks the server of the cache: without
// it the handlers answer, and a program that would not be ready then, or be started again,
// would make an outage of a slower answer.
type health struct {
	ready  atomic.Bool
	server *http.Server // nil: there is none
}

// serveHealth listens at the address of the flag -health, if it is set.
func (o *Options) serveHealth(ctx context.Context) (*health, error) {
	h := &health{}
	if o.Health == "" {
		return h, nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.Health)
	if err != nil {
		return nil, fmt.Errorf("flag -health: %w", err)
	}
	slog.Info("health", "url", "http://"+listener.Addr().String(), "live", "/livez", "ready", "/readyz")
	h.server = &http.Server{Handler: h.handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := h.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("health", "error", err)
		}
	}()
	return h, nil
}

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "live") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.ready.Load() {
			say(w, http.StatusOK, "ready")
		} else {
			say(w, http.StatusServiceUnavailable, "not ready: starting or shutting down")
		}
	})
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may have left
}

func (h *health) close() {
	if h.server != nil {
		_ = h.server.Close()
	}
}

// probeTimeout is shorter than what orchestrators give a health check.
const probeTimeout = 3 * time.Second

// probe fails unless url answers 200.
func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("flag -probe: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{}} // no proxy of the environment
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("flag -probe: %w", err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("flag -probe: %s answers %s", url, res.Status)
	}
	return nil
}
