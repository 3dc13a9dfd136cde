package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/nethttp"
	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/prom"
)

// Operating is what those who run the program get at an address of their own: the
// inspector, metrics and profiles. It is not for the public.
type Operating struct {
	addr     string
	token    string
	registry *prometheus.Registry
	metrics  *prom.Metrics
	recorder *inspect.Recorder
}

// Operating returns nil where the flag -admin is not set.
func (o *Options) Operating() (*Operating, error) {
	if o.Admin == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics, err := prom.New(r)
	if err != nil {
		return nil, err
	}
	return &Operating{o.Admin, o.AdminToken, r, metrics, inspect.NewRecorder(nil)}, nil
}

// Observer is for the Config of the cache; nil if op is.
func (op *Operating) Observer() observe.Observer {
	if op == nil {
		return nil
	}
	return observe.All(op.metrics, op.recorder)
}

// Serve serves it in the background until ctx ends. It does nothing if op is nil.
func (op *Operating) Serve(ctx context.Context, cache *cacheaside.Cache) error {
	if op == nil {
		return nil
	}
	token, shown := op.token, ""
	if token == "" { // for this start; in the fragment, which is sent to nobody
		token = rand.Text()
		shown = "#token=" + token
	}
	inspector, err := nethttp.NewInspect(cache, op.recorder, inspect.Access{Token: token})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(op.registry, promhttp.HandlerOpts{Registry: op.registry, EnableOpenMetrics: true}))
	mux.HandleFunc("/debug/pprof/", pprof.Index) // without cmdline: tokens and passwords may be in it
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/", inspector)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", op.addr)
	if err != nil {
		return fmt.Errorf("flag -admin: %w", err)
	}
	slog.Info("for operators", "url", "http://"+listener.Addr().String()+"/"+shown, "metrics", "/metrics", "profiles", "/debug/pprof/")
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() {
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("for operators", "error", err)
		}
	}()
	return nil
}
