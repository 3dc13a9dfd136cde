package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"

	"github.com/redis/rueidis"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/dragonfly"
)

// workerEnv makes this program a worker: a process of a service, which does what it is
// ordered to on its standard input.
const workerEnv = "CACHEASIDE_GROWTH_WORKER"

// job is what a worker shall do, in a line of JSON.
type job struct {
	Do          string // open, close, hits, floor, fills, purges, cold, traffic
	Kind, Space string // open: the store and the namespace
	Shape       shape
	From, To    int           // entries
	Near        bool          // hits: the near tier must have them
	For         time.Duration // hits, floor: how long
	Slow        time.Duration // cold: how long the handler takes
	Key         string        // floor: what is read
	Requests    int           // traffic: how many
	Seed        uint64
}

// answer is what came of a job.
type answer struct {
	Ops   int
	Took  time.Duration
	Hits  uint64
	Calls int64 // of the handler
	Trips int64
	Error string
}

// runWorker reports whether this process is a worker, and has been one then.
func runWorker(orders io.Reader, answers io.Writer) (ran bool, err error) {
	addr := os.Getenv(workerEnv)
	if addr == "" {
		return false, nil
	}
	w := &worker{addr: addr}
	in, out := json.NewDecoder(orders), json.NewEncoder(answers)
	for {
		var j job
		if err := in.Decode(&j); errors.Is(err, io.EOF) {
			return true, w.close()
		} else if err != nil {
			return true, err
		}
		a, err := w.do(context.Background(), j)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return true, err
		}
	}
}

type worker struct {
	addr string
	site *site
	bare rueidis.Client // of the floor
}

func (w *worker) close() (err error) {
	if w.bare != nil {
		w.bare.Close()
		w.bare = nil
	}
	if w.site != nil {
		err = w.site.close(context.Background())
		w.site = nil
	}
	return err
}

func (w *worker) do(ctx context.Context, j job) (a answer, err error) {
	switch j.Do {
	case "open":
		return a, w.open(ctx, j)
	case "close":
		return a, w.close()
	}
	if w.site == nil {
		return a, errors.New("nothing is open")
	}
	c, r := w.site.client(), rand.New(rand.NewPCG(j.Seed, 0))
	was, calls, trips := w.site.cache.Stats(), w.site.calls.Load(), int64(0)
	if w.site.trips != nil {
		trips = w.site.trips.Load()
	}
	begun := time.Now()
	switch j.Do {
	case "warm":
		var paths []string
		for i := j.From; i < j.To; i++ {
			paths = append(paths, pathOf(i))
		}
		err = c.warm(ctx, paths)
	case "hits":
		a.Ops = until(begun, j.For, func() { c.get(pathOf(j.From + r.IntN(j.To-j.From))) })
		err = w.site.count(was, a.Ops)
	case "floor":
		a.Ops = until(begun, j.For, func() {
			err = errors.Join(err, w.bare.Do(ctx, w.bare.B().Get().Key(j.Key).Build()).Error())
		})
	case "fills":
		a.Ops, err = j.To-j.From, c.fill(upTo(j.From, j.To))
	case "purges":
		for i := j.From; i < j.To && err == nil; i++ {
			err = c.cache.PurgeURL(ctx, urlOf(i))
		}
		a.Ops = j.To - j.From
	case "cold":
		c.slow.Store(int64(j.Slow))
		for i := j.From; i < j.To; i++ {
			c.get(pathOf(i))
		}
		c.slow.Store(0)
		a.Ops = j.To - j.From
	case "traffic":
		popular := newZipf(r, j.To-j.From)
		for range j.Requests {
			c.get(pathOf(j.From + popular()))
		}
		a.Ops = j.Requests
	default:
		err = fmt.Errorf("%q is no job", j.Do)
	}
	a.Took = time.Since(begun)
	a.Hits, a.Calls = w.site.cache.Stats().Hits-was.Hits, w.site.calls.Load()-calls
	if w.site.trips != nil {
		a.Trips = w.site.trips.Load() - trips
	}
	return a, errors.Join(err, lostSince(was, w.site.cache.Stats()))
}

func (w *worker) open(ctx context.Context, j job) error {
	err := w.close()
	if err != nil {
		return err
	}
	t, err := open(ctx, j.Kind, w.addr)
	if err != nil {
		return err
	}
	if w.site, err = newSite(t, j.Space, j.Shape); err != nil {
		return err
	}
	option, err := dragonfly.ParseURL(w.addr)
	if err != nil {
		return err
	}
	option.DisableCache = true
	w.bare, err = rueidis.NewClient(option)
	return err
}

// until calls op for so long, and returns how often it did.
func until(begun time.Time, long time.Duration, op func()) (n int) {
	for n == 0 || time.Since(begun) < long {
		op()
		n++
	}
	return n
}

// newZipf gives numbers below n, of which the low ones are popular.
func newZipf(r *rand.Rand, n int) func() int {
	z := rand.NewZipf(r, 1.1, 1, uint64(n-1))
	return func() int { return int(z.Uint64()) }
}

// lostSince is an error if the store has failed: then figures mean nothing.
func lostSince(was, now cacheaside.Stats) error {
	if now.StoreErrors != was.StoreErrors || now.Refused != was.Refused || now.StoresDropped != was.StoresDropped {
		return fmt.Errorf("the store has failed or refused: %+v", now)
	}
	return nil
}

// process is a worker, seen from the program.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// spawn starts this program again as a worker.
func spawn(ctx context.Context, addr string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), workerEnv+"="+addr)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = servers.DieWithParent()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, in, json.NewDecoder(out)}, cmd.Start()
}

func (p *process) end() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// fleet is several processes.
type fleet []*process

// do has each process do its job at the same time, and returns their answers.
func (f fleet) do(jobs func(i int) job) ([]answer, error) {
	for i, p := range f {
		if err := json.NewEncoder(p.in).Encode(jobs(i)); err != nil {
			return nil, err
		}
	}
	answers := make([]answer, len(f))
	var errs []error
	for i, p := range f {
		if err := p.out.Decode(&answers[i]); err != nil {
			return nil, fmt.Errorf("process %d has not answered: %w", i, err)
		}
		if answers[i].Error != "" {
			errs = append(errs, fmt.Errorf("process %d: %s", i, answers[i].Error))
		}
	}
	return answers, errors.Join(errs...)
}

func (f fleet) end() (err error) {
	for _, p := range f {
		err = errors.Join(err, p.end())
	}
	return err
}
