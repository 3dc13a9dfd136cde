package server

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Options are the settings that every example has.
type Options struct {
	Addr      string        // where to listen
	Dragonfly string        // where the cache is kept; empty: in this process
	TTL       time.Duration // of responses that say nothing of their own
	// StoreTimeout bounds each read and write of the store; 0: as the cache
	// itself does.
	StoreTimeout time.Duration
}

// Flags are command line flags that take their defaults from the environment.
type Flags struct {
	set  *flag.FlagSet
	errs map[string]error // by flag, until the command line sets it
}

// Flags declares the flags of o.
func (o *Options) Flags(ttl time.Duration) *Flags {
	f := &Flags{set: flag.NewFlagSet(os.Args[0], flag.ExitOnError), errs: map[string]error{}}
	Add(f, &o.Addr, "addr", "ADDR", ":8080", "address to listen on", listenAddress)
	Add(f, &o.Dragonfly, "dragonfly", "DRAGONFLY_ADDR", "",
		"Dragonfly or Redis server, host:port, redis:// or rediss:// (empty: keep the cache in this process)", serverAddress)
	Add(f, &o.TTL, "ttl", "TTL", ttl,
		"how long a response is reused that does not say it itself (0: not at all)", Duration)
	Add(f, &o.StoreTimeout, "store-timeout", "STORE_TIMEOUT", 0,
		"how long a request waits for the store (0: 50ms for a read, 250ms for a write)", Duration)
	return f
}

// Add declares a flag: *p comes from the command line, else from the
// environment variable env, else it is def.
func Add[T any](f *Flags, p *T, name, env string, def T, usage string, parse func(string) (T, error)) {
	*p = def
	set := func(s string) error {
		v, err := parse(s)
		if err == nil {
			*p = v
		}
		return err
	}
	if s := os.Getenv(env); s != "" {
		if err := set(s); err != nil {
			f.errs[name] = fmt.Errorf("invalid value in the environment variable %s, for flag -%s: %w", env, name, err)
		}
	}
	usage += "; environment " + env
	if d := fmt.Sprint(def); d != "" {
		usage += ", default " + d
	}
	f.set.Func(name, usage, func(s string) error {
		delete(f.errs, name)
		return set(s)
	})
}

// parse ends the program with status 2 where a value is wrong.
func (f *Flags) parse(args []string) {
	_ = f.set.Parse(args) // exits by itself
	if f.set.NArg() > 0 {
		f.errs[""] = fmt.Errorf("unexpected argument %q", f.set.Arg(0))
	}
	if len(f.errs) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.errs)) {
		_, _ = fmt.Fprintln(f.set.Output(), f.errs[name])
	}
	f.set.Usage()
	os.Exit(2)
}

// Require makes a flag mandatory. Call it right after Add.
func (f *Flags) Require(name string, missing bool) {
	if missing && f.errs[name] == nil {
		f.errs[name] = fmt.Errorf("flag -%s is missing", name)
	}
}

// Duration parses a flag's value that must not be negative.
func Duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("not a duration such as 30s or 1m30s")
	}
	if d < 0 {
		return 0, errors.New("negative")
	}
	return d, nil
}

func listenAddress(s string) (string, error) {
	if _, err := net.ResolveTCPAddr("tcp", s); err != nil {
		return "", errors.New("not an address such as :8080 or 127.0.0.1:8080")
	}
	return s, nil
}

// serverAddress finds what can only be a slip; the rest is for dragonfly.Open.
func serverAddress(s string) (string, error) {
	if u, err := url.Parse(s); strings.Contains(s, "://") {
		if err == nil && u.Host != "" && (u.Scheme == "redis" || u.Scheme == "rediss") {
			return s, nil
		}
	} else if host, port, err := net.SplitHostPort(s); s == "" || !strings.ContainsAny(s, ":@") || err == nil && host != "" && port != "" {
		return s, nil
	}
	return "", errors.New("not an address such as localhost:6379 or redis://user:password@host:6379/0")
}
