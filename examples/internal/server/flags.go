package server

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// Options are the settings that every example has.
type Options struct {
	Addr      string        // where to listen
	Dragonfly string        // where the cache is kept; empty: in this process
	TTL       time.Duration // of responses that say nothing of their own
	// DragonflyPassword is of the user in Dragonfly; empty: the one there, if any.
	DragonflyPassword string
	LazyConnect       bool          // start although that server cannot be reached
	Health            string        // address of /livez and /readyz; empty: none
	Drain             time.Duration // how long it goes on answering once it is to end
	// StoreTimeout bounds each read and write of the store; 0: as the cache
	// itself does.
	StoreTimeout time.Duration

	StaleWhileRevalidate, StaleIfError, SoftTimeout time.Duration
	RefreshAhead, TTLJitter                         float64
	NotFoundTTL                                     time.Duration // of a 404
	Coalesce                                        cacheaside.CoalescingScope
	WaitTimeout                                     time.Duration
	Compress                                        []string // codings, the first of which is stored; none: off
	Near                                            int64    // bytes of a near tier
	Admin                                           string   // address for operators; empty: none
	AdminToken                                      string   // of the inspector there; empty: a new one
}

// Config is base with what the flags say; what they leave at zero stays as it
// is in base.
func (o *Options) Config(base cacheaside.Config) cacheaside.Config {
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{
		{&base.Policy.TTL, o.TTL},
		{&base.Timeouts.Lookup, o.StoreTimeout},
		{&base.Timeouts.Write, o.StoreTimeout},
		{&base.Policy.Stale.WhileRevalidate, o.StaleWhileRevalidate},
		{&base.Policy.Stale.IfError, o.StaleIfError},
		{&base.Policy.Stale.SoftTimeout, o.SoftTimeout},
		{&base.Policy.Coalescing.Wait, o.WaitTimeout},
	} {
		if d.from > 0 {
			*d.to = d.from
		}
	}
	if o.StoreTimeout > time.Second {
		base.Timeouts.Purge = o.StoreTimeout
	}
	if o.NotFoundTTL > 0 {
		base.Policy.StatusTTL = map[int]time.Duration{http.StatusNotFound: o.NotFoundTTL}
	}
	if len(o.Compress) > 0 {
		base.Policy.Compression.Codings = o.Compress
	}
	base.Policy.Stale.RefreshAhead, base.Policy.TTLJitter, base.Policy.Coalescing.Scope = o.RefreshAhead, o.TTLJitter, o.Coalesce
	return base
}

// Flags are command line flags that take their defaults from the environment.
type Flags struct {
	set   *flag.FlagSet
	errs  map[string]error // by flag, until the command line sets it
	after []func()         // of parsing
	probe string           // a URL to ask instead of running
}

// Flags declares the flags of o.
func (o *Options) Flags(ttl time.Duration) *Flags {
	f := &Flags{set: flag.NewFlagSet(os.Args[0], flag.ExitOnError), errs: map[string]error{}}
	Add(f, &o.Addr, "addr", "ADDR", ":8080", "address to listen on", listenAddress)
	Add(f, &o.Dragonfly, "dragonfly", "DRAGONFLY_ADDR", "",
		"Dragonfly or Redis server, host:port, redis://, rediss:// or unix:///path (empty: keep the cache in this process)", serverAddress)
	AddSecret(f, &o.DragonflyPassword, "dragonfly-password", "DRAGONFLY_PASSWORD",
		"password of the user that -dragonfly names, which is then without one (empty: none)", Text)
	Add(f, &o.LazyConnect, "lazy-connect", "LAZY_CONNECT", false,
		"start although the server of -dragonfly cannot be reached: it is used as soon as it answers", boolean)
	Add(f, &o.TTL, "ttl", "TTL", ttl,
		"how long a response is reused that does not say it itself (0: not at all)", Duration)
	Add(f, &o.StoreTimeout, "store-timeout", "STORE_TIMEOUT", 0,
		"how long a request waits for the store (0: 50ms for a read, 250ms for a write); more than 1s holds for purges, too", Duration)
	Add(f, &o.StaleWhileRevalidate, "stale-while-revalidate", "STALE_WHILE_REVALIDATE", 0,
		"how long a stale response is still served at once while it is renewed in the background (0: not at all)", Duration)
	Add(f, &o.StaleIfError, "stale-if-error", "STALE_IF_ERROR", 0,
		"how long a stale response takes the place of an error (0: not at all; the proxy without -ttl: a day)", Duration)
	Add(f, &o.SoftTimeout, "soft-timeout", "SOFT_TIMEOUT", 0,
		"after how long a stale response that -stale-if-error allows takes the place of a slow one (0: never)", softTimeout)
	Add(f, &o.RefreshAhead, "refresh-ahead", "REFRESH_AHEAD", 0,
		"after which fraction of its lifetime a response that is asked for is renewed in the background (0: never)", refreshAhead)
	Add(f, &o.TTLJitter, "ttl-jitter", "TTL_JITTER", 0,
		"by up to which fraction lifetimes are shortened at random, 0.9 at most", ttlJitter)
	Add(f, &o.NotFoundTTL, "not-found-ttl", "NOT_FOUND_TTL", 0,
		"how long a 404 is reused that does not say it itself (0: not at all)", Duration)
	Add(f, &o.Coalesce, "coalesce", "COALESCE", cacheaside.CoalesceAll,
		"which requests wait for one that asks the handler: all (of all processes on the server), process or none", coalesce)
	Add(f, &o.WaitTimeout, "wait-timeout", "WAIT_TIMEOUT", 0,
		"how long they wait before they ask the handler themselves (0: 10s)", Duration)
	Add(f, &o.Compress, "compress", "COMPRESS", nil,
		"content codings that clients get, of zstd, br and gzip, with commas: the first is stored (empty: none, responses stay as they are)", codings)
	Add(f, &o.Near, "near", "NEAR", 0, "bytes of copies of hot responses in this process, from 65536 (0: none)", nearBytes)
	Add(f, &o.Admin, "admin", "ADMIN", "", "address for operators: inspector, metrics and profiles, not for the public (empty: none)", adminAddress)
	AddSecret(f, &o.AdminToken, "admin-token", "ADMIN_TOKEN", "token of the inspector there, 16 bytes or more (empty: a new one, which is logged)", Text)
	Add(f, &o.Health, "health", "HEALTH", "", "address of /livez and /readyz, for those who start and route to the program (empty: none)", adminAddress)
	Add(f, &o.Drain, "drain", "DRAIN", 0,
		"how long the program still takes requests once it is told to end, while /readyz says that it is not ready", Duration)
	f.set.StringVar(&f.probe, "probe", "", "ask this URL, and end with status 0 if it answers 200, else 1: the health check of a container without curl")
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
	switch d := any(def).(type) {
	case cacheaside.CoalescingScope:
		usage += ", default all"
	case []string: // none
	default:
		if d := fmt.Sprint(d); d != "" {
			usage += ", default " + d
		}
	}
	declare := f.set.Func
	if _, ok := any(def).(bool); ok {
		declare = f.set.BoolFunc // which needs no value
	}
	declare(name, usage, func(s string) error {
		delete(f.errs, name)
		if err := set(s); err != nil { // not shown by package flag: the value may be an address with a password
			f.errs[name] = fmt.Errorf("invalid value for flag -%s: %w", name, err)
		}
		return nil
	})
}

// AddSecret declares a flag as [Add] does, and one more, -name-file with the environment
// variable env_FILE, for a file that has the value: a command line is for all to see, and an
// environment for whoever looks at the process.
func AddSecret(f *Flags, p *string, name, env, usage string, parse func(string) (string, error)) {
	Add(f, p, name, env, "", usage, parse)
	var kept string
	Add(f, &kept, name+"-file", env+"_FILE", "", "file with the value of -"+name+", in one line",
		func(path string) (string, error) {
			if path == "" {
				return "", nil
			}
			value, err := secretLine(path)
			if err != nil {
				return "", err
			}
			return parse(value)
		})
	f.after = append(f.after, func() {
		switch {
		case kept == "":
		case *p != "":
			f.errs[name] = fmt.Errorf("-%s and -%s-file, or %s and %s_FILE of the environment, are both set: leave one out", name, name, env, env)
		default:
			*p = kept
		}
	})
}

// secretLine is what a file has in its only line.
func secretLine(path string) (string, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the caller names it
	if err != nil {
		return "", err
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case value == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsAny(value, "\r\n\x00"):
		return "", fmt.Errorf("%s has more than one line", path)
	}
	return value, nil
}

// parse ends the program with status 2 where a value is wrong.
func (f *Flags) parse(args []string) {
	_ = f.set.Parse(args) // exits by itself
	if f.set.NArg() > 0 {
		f.errs[""] = fmt.Errorf("unexpected argument %q", f.set.Arg(0))
	}
	for _, check := range f.after {
		check()
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

// maxSoftTimeout is when a handler in the background is ended.
const maxSoftTimeout = 30 * time.Second

// softTimeout must end before the background run that it leaves behind.
func softTimeout(s string) (time.Duration, error) {
	d, err := Duration(s)
	if err == nil && d > maxSoftTimeout {
		return 0, fmt.Errorf("longer than %v, at which a handler in the background is ended", maxSoftTimeout)
	}
	return d, err
}

func refreshAhead(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v < 1) {
		return 0, errors.New("not a fraction of a lifetime such as 0.8")
	}
	return v, nil
}

func ttlJitter(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= 0.9) {
		return 0, errors.New("not a fraction such as 0.1, from 0 to 0.9")
	}
	return v, nil
}

func coalesce(s string) (cacheaside.CoalescingScope, error) {
	switch s {
	case "all":
		return cacheaside.CoalesceAll, nil
	case "process":
		return cacheaside.CoalesceProcess, nil
	case "none":
		return cacheaside.CoalesceNone, nil
	}
	return 0, errors.New("not one of all, process and none")
}

func codings(s string) ([]string, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case name == "":
			return nil, errors.New("a comma too many: write it as zstd,br,gzip")
		case !slices.Contains([]string{"zstd", "br", "gzip"}, name):
			return nil, fmt.Errorf("%q is not one of zstd, br and gzip", name)
		case slices.Contains(names, name):
			return nil, fmt.Errorf("%q is there twice: name it once", name)
		}
		names = append(names, name)
	}
	return names, nil
}

func nearBytes(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n != 0 && n < 64<<10 {
		return 0, errors.New("not a number of bytes such as 67108864")
	}
	return n, nil
}

func listenAddress(s string) (string, error) {
	if _, err := net.ResolveTCPAddr("tcp", s); err != nil {
		return "", errors.New("not an address such as :8080 or 127.0.0.1:8080")
	}
	return s, nil
}

func boolean(s string) (bool, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("not one of true and false")
	}
	return v, nil
}

// Text takes any value of a flag.
func Text(s string) (string, error) { return s, nil }

func adminAddress(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return listenAddress(s)
}

// serverAddress finds what can only be a slip; the rest is for dragonfly.Open.
func serverAddress(s string) (string, error) {
	if u, err := url.Parse(s); strings.Contains(s, "://") {
		if err == nil && (u.Host != "" && (u.Scheme == "redis" || u.Scheme == "rediss") || u.Host == "" && u.Scheme == "unix") {
			return s, nil
		}
	} else if host, port, err := net.SplitHostPort(s); s == "" || !strings.ContainsAny(s, ":@") || err == nil && host != "" && port != "" {
		return s, nil
	}
	return "", errors.New("not an address such as localhost:6379 or redis://user:password@host:6379/0, or unix:///path of a socket")
}
