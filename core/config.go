package cacheaside

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
	"github.com/cacheaside/cacheaside/core/store"
)

// Config is what [New] makes a [Cache] from. The zero value is valid: it keeps
// in this process what the responses themselves allow, and nothing else.
// Slices, maps and functions belong to the cache once New has them. Durations
// below a millisecond are refused, a lifetime of more than a year as well; any
// other that is longer counts as a year.
type Config struct {
	// Store keeps the entries. Nil: a memory store of 64 MiB in this process.
	Store store.Store
	// Namespace begins every key, so that services can share a server: letters,
	// digits, '.', '_' and '-', 64 bytes at most. Empty: "cacheaside".
	Namespace string
	// Policy is that of the handle that New returns; [Cache.With] makes handles with
	// others.
	Policy Policy
	// Logger takes the cache's own trouble, never anything of a response's
	// body. Nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// MaxCaptureBytes bounds the memory of all response bodies that are captured at a
	// time, over all handles of the cache, in bytes. What finds no room passes through,
	// and is not stored. An eighth is for bodies of up to a 64th. A body whose length the handler has not declared needs up to
	// three times its length while its buffer grows. Zero: 64 MiB. See
	// [StoringPolicy].MaxBytes.
	MaxCaptureBytes int64
	// Observer is told what the cache does, for metrics, traces and the like. Nil: nobody
	// is, which costs nothing.
	Observer observe.Observer

	// MaxDerivedBytes is how much memory this process has for bodies in other codings than
	// they are stored in: see [CompressionPolicy]. One that is gone is made again. Zero:
	// 16 MiB.
	MaxDerivedBytes int64

	Timeouts   Timeouts   // of the store's calls
	Breaker    Breaker    // between the cache and a store that fails
	Background Background // what goes on beside requests
}

// Timeouts bound the calls of the store. A store in this process needs none.
type Timeouts struct {
	// Lookup bounds a read; after it the request is a miss. A value of 256 KiB and
	// more has a second for every 10 MiB beyond that. Zero: 50 ms.
	Lookup time.Duration
	// Write bounds a write; one of 256 KiB and more has a second for every 10 MiB
	// beyond that. Zero: 250 ms.
	Write time.Duration
	// Purge bounds a purge; one of many tags, each 1,024 of them. Zero: 1 s.
	Purge time.Duration
	// Lock is how long other processes wait for one that has died while it ran the
	// handler; it is prolonged while the handler runs, for up to two minutes. At
	// least 100 ms. Zero: 3 s.
	Lock time.Duration
}

// Breaker is the circuit breaker: while it is open, requests are answered as if
// nothing were stored, without asking the store. A store in this process needs none.
type Breaker struct {
	// Failures is how many calls in a row must fail, or get no answer in time, over
	// [Timeouts].Lookup at least, for the breaker to open. A write that the store
	// refuses (see [store.ErrRefused]) is no failure. Zero: 5; negative: it never
	// opens.
	Failures int
	// Pause is how often the cache asks the store meanwhile, by itself, whether it
	// answers again. Zero: 1 s.
	Pause time.Duration
}

// Background bounds what goes on beside requests.
type Background struct {
	// Runs is how many handlers run in the background at once, and Queue how many
	// more may wait for their turn; beyond that a refresh is left to a later request.
	// Handlers that go on after [StalePolicy].RefreshTimeout do not count, but there
	// are never more than twice Runs. Zero: 16 and 1024.
	Runs, Queue int
	// WriteBuffer is how many bytes of responses may be on their way to a store that
	// is not in this process: a client does not wait for its response to arrive
	// there. What exceeds it is not stored. Zero: 32 MiB.
	WriteBuffer int64
}

// memoryBytes is the size of the embedded store.
const memoryBytes = 64 << 20

// problems collects what is wrong with a config.
type problems struct {
	prefix string
	errs   []error
}

func (p *problems) add(field, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("cacheaside: %s%s: %s", p.prefix, field, fmt.Sprintf(format, args...)))
}

func (p *problems) err() error { return errors.Join(p.errs...) }

// validated returns the config with its defaults filled in, or one error that
// names every wrong field.
func (c Config) validated() (Config, error) {
	p := &problems{prefix: "Config."}
	if c.Namespace == "" {
		c.Namespace = "cacheaside"
	}
	if !validNamespace(c.Namespace) {
		p.add("Namespace", "%q: use 1 to 64 letters, digits, '.', '_' or '-'", c.Namespace)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.MaxCaptureBytes == 0 {
		c.MaxCaptureBytes = 64 << 20
	}
	if c.MaxCaptureBytes < 0 {
		p.add("MaxCaptureBytes", "%d is negative: use 0 for 64 MiB or a number of bytes", c.MaxCaptureBytes)
	}
	p.duration("Timeouts.Lookup", &c.Timeouts.Lookup, 50*time.Millisecond)
	p.duration("Timeouts.Write", &c.Timeouts.Write, 250*time.Millisecond)
	p.duration("Timeouts.Purge", &c.Timeouts.Purge, time.Second)
	p.duration("Timeouts.Lock", &c.Timeouts.Lock, 3*time.Second)
	if c.Timeouts.Lock < 100*time.Millisecond {
		p.add("Timeouts.Lock", "%v: use 100ms or more, or 0 for 3s", c.Timeouts.Lock)
	}
	if c.Breaker.Failures == 0 {
		c.Breaker.Failures = 5
	}
	p.duration("Breaker.Pause", &c.Breaker.Pause, time.Second)
	p.number("Background.Runs", &c.Background.Runs, 16)
	p.number("Background.Queue", &c.Background.Queue, 1024)
	if c.Background.WriteBuffer == 0 {
		c.Background.WriteBuffer = 32 << 20
	}
	if c.Background.WriteBuffer < 0 {
		p.add("Background.WriteBuffer", "%d is negative: use 0 for 32 MiB or a number of bytes", c.Background.WriteBuffer)
	}
	if c.MaxDerivedBytes == 0 {
		c.MaxDerivedBytes = 16 << 20
	}
	if c.MaxDerivedBytes < 0 {
		p.add("MaxDerivedBytes", "%d is negative: use 0 for 16 MiB or a number of bytes", c.MaxDerivedBytes)
	}
	p.prefix += "Policy."
	c.Policy = c.Policy.validated(p)
	return c, p.err()
}

const (
	maxLifetime = 365 * 24 * time.Hour
	minDuration = time.Millisecond // of a store's expiry; what is shorter is a forgotten unit
)

// duration fills in the default, and cuts what is for ever: as long as what is stored,
// so that no sum overflows.
func (p *problems) duration(field string, d *time.Duration, otherwise time.Duration) {
	switch {
	case *d < 0:
		p.add(field, "%v is negative: use 0 for the default or a positive duration", *d)
	case *d == 0:
		*d = otherwise
	case *d < minDuration:
		p.add(field, "%s", unitless(*d))
	case *d > maxLifetime:
		*d = maxLifetime
	}
}

// number fills in the default of a bound.
func (p *problems) number(field string, n *int, otherwise int) {
	if *n == 0 {
		*n = otherwise
	}
	if *n < 0 || *n > 1<<20 {
		p.add(field, "%d: use 1 to 1048576, or 0 for %d", *n, otherwise)
	}
}

// unitless says what is wrong with a duration like TTL: 30.
func unitless(d time.Duration) string {
	return fmt.Sprintf("%v is less than a millisecond: was the unit forgotten, as in %d * time.Second?", d, int64(d))
}

func validName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-', c == '/', c == ':', c == ' ':
		default:
			return false
		}
	}
	return len(s) <= 64
}

func validNamespace(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}
