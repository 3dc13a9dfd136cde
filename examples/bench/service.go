package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cache"
	fiberredis "github.com/gofiber/storage/redis/v3"
	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
	inmemory "github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/fiberadapter"
)

// A service is a process of its own: this program, started with serviceVariable. What it
// uses of the processor is its alone. It ends with its standard input.
const serviceVariable = "CACHEASIDE_BENCH_SERVICE"

const (
	lifetime    = time.Hour // of what is stored: nothing expires meanwhile
	memoryBytes = 64 << 20
)

// order is what a service is told.
type order struct {
	Choice     choice
	Store      string // address of the server
	Wait, Slow time.Duration
}

// started is the first line that it says, and status each further one: one for each line it
// is sent.
type (
	started struct {
		Addr  string
		Error string
	}
	status struct {
		CPU   time.Duration // of the process so far; -1: not known
		Calls int64         // of the handler so far
	}
)

// serve is the service.
func serve(text string, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // which a terminal sends to it as well
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("%s: %w", serviceVariable, err)
	}
	say := json.NewEncoder(out)
	w := &work{wait: o.Wait, slow: o.Slow}
	s, err := o.site(w)
	if err != nil {
		return errors.Join(err, say.Encode(started{Error: err.Error()}))
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, say.Encode(started{Error: err.Error()}))
	}
	go func() {
		fmt.Fprintln(os.Stderr, s.build(o.Choice.Framework)(l))
		os.Exit(1)
	}()
	if err := say.Encode(started{Addr: l.Addr().String()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		now := status{CPU: -1, Calls: w.calls.Load()}
		if cpu, known := ownCPU(); known {
			now.CPU = cpu
		}
		if err := say.Encode(now); err != nil {
			return err
		}
	}
	return nil
}

// site is what the choice stands for.
func (o order) site(w *work) (s site, err error) {
	s.answer = w.answer
	switch o.Choice.Kind {
	case none:
		s.compress = true
	case floorMemory:
		s.ready = true
		s.answer, err = w.ready()
	case floorServer:
		s.ready = true
		var c rueidis.Client
		if c, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{o.Store}, DisableCache: true, ForceSingleClient: true}); err == nil {
			s.answer = w.bare(c)
		}
	case memory, near, server:
		s.cache, s.zipping, err = o.cacheaside()
	case fiberMemory, fiberRedis, fiberRueidis:
		s.compress = true
		s.fibers, err = o.fibers()
	default:
		err = fmt.Errorf("there is no choice %q", o.Choice.Kind)
	}
	return s, err
}

func (o order) cacheaside() (plain, zipping *cacheaside.Cache, err error) {
	quiet := slog.New(slog.DiscardHandler)
	var kept store.Store
	switch o.Choice.Kind {
	case memory:
		kept, err = inmemory.New(memoryBytes)
	case near:
		kept, err = dragonfly.Open(context.Background(), o.Store, dragonfly.WithLogger(quiet), dragonfly.WithNear(dragonfly.NearOptions{Bytes: memoryBytes}))
	default:
		kept, err = dragonfly.Open(context.Background(), o.Store, dragonfly.WithLogger(quiet))
	}
	if err != nil {
		return nil, nil, err
	}
	plain, err = cacheaside.New(cacheaside.Config{
		Store: kept, Logger: quiet, Policy: cacheaside.Policy{TTL: lifetime},
		Namespace: "bench-" + string(o.Choice.Kind) + "-" + o.Choice.Framework, // or one framework fills the other's
	})
	if err != nil {
		return nil, nil, err
	}
	zipping, err = plain.With(func(p *cacheaside.Policy) { p.Compression.Codings = []string{"gzip"} })
	return plain, zipping, err
}

func (o order) fibers() (fiber.Handler, error) {
	cfg := cache.Config{Expiration: lifetime}
	switch o.Choice.Kind {
	case fiberRedis:
		cfg.Storage = fiberredis.New(fiberredis.Config{Addrs: []string{o.Store}})
	case fiberRueidis:
		storage, err := fiberadapter.NewStorage(fiberadapter.StorageConfig{URL: o.Store, Prefix: "bench-fiber"})
		if err != nil {
			return nil, err
		}
		cfg.Storage = storage
	}
	return cache.New(cfg), nil
}

// service is a process that serves.
type service struct {
	choice choice
	addr   string

	mu     sync.Mutex // of a question and its answer
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	stderr *tail
}

// start starts a service.
func start(ctx context.Context, o order) (*service, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path)
	s := &service{choice: o.Choice, cmd: cmd, stderr: &tail{}}
	cmd.Env = append(os.Environ(), serviceVariable+"="+string(text))
	cmd.Stderr = s.stderr
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var first started
	if err := s.out.Decode(&first); err != nil || first.Error != "" {
		s.end()
		return nil, fmt.Errorf("%s does not start: %w\n%s", o.Choice, errors.Join(err, errors.New(first.Error)), s.stderr)
	}
	s.addr = first.Addr
	return s, nil
}

// status asks the service.
func (s *service) status() (now status, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err = s.in.Write([]byte("\n")); err == nil {
		err = s.out.Decode(&now)
	}
	if err != nil {
		err = fmt.Errorf("%s has ended: %w\n%s", s.choice, err, s.stderr)
	}
	return now, err
}

// end ends the service and waits for it.
func (s *service) end() {
	_ = s.in.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-2000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
