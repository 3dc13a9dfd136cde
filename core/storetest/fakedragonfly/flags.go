package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// perThread is the least memory that Dragonfly starts with, for each thread.
const perThread = 256 << 20

// options is what the flags say.
type options struct {
	port, bind, unixsocket, requirepass string
	aclfile                             string
	maxmemory                           int64
	cacheMode, tls, version             bool
	threads                             int
	certFile, keyFile, caFile           string
	cluster                             string // "", emulated or yes
	announceIP                          string // in a cluster
}

// flagKinds has the flags that are known: whether each is a Boolean one, which takes no
// further argument. Those that mean nothing here are accepted.
var flagKinds = map[string]bool{
	"port": false, "bind": false, "admin_port": false, "unixsocket": false, "unixsocketperm": false,
	"dir": false, "dbfilename": false, "dbnum": false, "snapshot_cron": false, "df_snapshot_format": true,
	"maxmemory": false, "cache_mode": true, "proactor_threads": false, "conn_io_threads": false, "num_shards": false,
	"requirepass": false, "aclfile": false, "acllog_max_len": false, "maxclients": false, "timeout": false, "tcp_keepalive": false,
	"tls": true, "tls_cert_file": false, "tls_key_file": false, "tls_ca_cert_file": false, "tls_ca_cert_dir": false,
	"cluster_mode": false, "cluster_announce_ip": false, "cluster_node_id": false, "lock_on_hashtags": true,
	"default_lua_flags": false, "notify_keyspace_events": false, "hz": false, "oom_deny_ratio": false, "rss_oom_deny_ratio": false,
	"pipeline_squash": false, "force_epoll": true, "version_check": true, "primary_port_http_enabled": true,
	"logtostderr": true, "alsologtostderr": true, "log_dir": false, "minloglevel": false, "v": false, "vmodule": false,
	"slowlog_log_slower_than": false, "slowlog_max_len": false, "version": true, "flagfile": false,
}

// parseFlags reads a command line as Dragonfly does: --name=value, --name value, and
// --name or --noname of a Boolean flag. A flagfile has one flag a line.
func parseFlags(args []string) (*options, error) {
	given := map[string]string{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, ok := strings.CutPrefix(strings.TrimPrefix(arg, "-"), "-")
		if !ok && !strings.HasPrefix(arg, "-") {
			continue // no flag
		}
		name, value, has := strings.Cut(name, "=")
		isBool, known := flagKinds[name]
		if base, no := strings.CutPrefix(name, "no"); !known && no && flagKinds[base] && !has {
			given[base] = "false"
			continue
		}
		switch {
		case !known:
			return nil, fmt.Errorf("ERROR: Unknown command line flag '%s'", name)
		case !has && isBool:
			value = "true"
		case !has && len(args) == 0:
			return nil, fmt.Errorf("ERROR: Missing the value for the flag '%s'", name)
		case !has:
			value, args = args[0], args[1:]
		}
		if name == "flagfile" {
			more, err := readFlagFile(value)
			if err != nil {
				return nil, err
			}
			args = append(more, args...)
		}
		given[name] = value
	}
	return newOptions(given)
}

// readFlagFile returns the flags in a file, whose empty lines and comments mean nothing.
func readFlagFile(path string) (args []string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ERROR: Can't open flagfile %s", path)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-") {
			args = append(args, line)
		} else if line != "" && !strings.HasPrefix(line, "#") {
			return nil, fmt.Errorf("ERROR: Unexpected line in the flagfile %s: '%s'", path, line)
		}
	}
	return args, nil
}

func newOptions(given map[string]string) (*options, error) {
	o := &options{
		port: "6379", bind: given["bind"], unixsocket: given["unixsocket"], requirepass: given["requirepass"], aclfile: given["aclfile"],
		certFile: given["tls_cert_file"], keyFile: given["tls_key_file"], caFile: given["tls_ca_cert_file"],
		cluster: given["cluster_mode"], announceIP: given["cluster_announce_ip"], threads: runtime.NumCPU(),
	}
	if port, ok := given["port"]; ok {
		o.port = port
	}
	var problems []error
	for name, to := range map[string]*bool{"cache_mode": &o.cacheMode, "tls": &o.tls, "version": &o.version} {
		if text, ok := given[name]; ok {
			is, err := parseBool(text)
			if err != nil {
				problems = append(problems, fmt.Errorf("ERROR: Illegal value '%s' specified for flag '%s'", text, name))
			}
			*to = is
		}
	}
	if text, ok := given["proactor_threads"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			problems = append(problems, fmt.Errorf("ERROR: Illegal value '%s' specified for flag 'proactor_threads'", text))
		}
		if n > 0 {
			o.threads = n
		}
	}
	if text, ok := given["maxmemory"]; ok {
		n, err := parseBytes(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("ERROR: Illegal value '%s' specified for flag 'maxmemory'; Use human-readable format, eg.: 500MB, 1G, 1TB", text))
		}
		o.maxmemory = n
	}
	if o.cluster != "" && o.cluster != "emulated" && o.cluster != "yes" {
		problems = append(problems, fmt.Errorf("Invalid value for flag --cluster_mode: %q", o.cluster)) //nolint:staticcheck // as Dragonfly says it
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return o, o.check()
}

// check refuses what Dragonfly does not start with.
func (o *options) check() error {
	if least := int64(o.threads) * perThread; o.maxmemory > 0 && o.maxmemory < least {
		return fmt.Errorf("There are %d threads, so %s are required. Exiting...", o.threads, human(least)) //nolint:staticcheck,revive // as Dragonfly says it
	}
	if o.maxmemory == 0 {
		o.maxmemory = int64(o.threads) * perThread * 4 // Dragonfly takes most of the machine's
	}
	if !o.tls {
		return nil
	}
	if o.certFile == "" || o.keyFile == "" {
		return errors.New("To use TLS, a server certificate and key must be given by tls_cert_file and tls_key_file") //nolint:staticcheck // see above
	}
	if o.requirepass == "" && o.caFile == "" {
		return errors.New("TLS configured but no authentication method is used!") //nolint:staticcheck,revive // see above
	}
	return nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "t", "yes", "y", "1":
		return true, nil
	case "false", "f", "no", "n", "0":
		return false, nil
	}
	return false, errors.New("no Boolean")
}

// parseBytes knows 512mb, 1G and 1000: only the first letter counts.
func parseBytes(text string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(text), "bigkmtepya")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n < 0 {
		return 0, errors.New("no size")
	}
	if unit := strings.ToLower(text[len(digits):]); unit != "" {
		power := strings.IndexByte("bkmgtpe", unit[0])
		if power < 0 {
			return 0, errors.New("no unit")
		}
		n *= float64(int64(1) << (10 * power))
	}
	return int64(n), nil
}

func human(n int64) string { return fmt.Sprintf("%.2fGiB", float64(n)/(1<<30)) }

// tuning is what the environment says of this stand-in alone.
type tuning struct {
	refuse      *float64 // chance of a write in a burst to begin a run of refused ones; nil: 0 while there is room
	refuseDepth int      // the write of a pipeline that may be the first of these
	shards      int      // 0: as many as threads, two at least
	seed        uint64
	lingerMS    int // for how long a killed server takes connections
	backend     string
}

func readTuning() (tuning, error) {
	t := tuning{refuseDepth: 4, seed: 1, lingerMS: 100, backend: os.Getenv("FAKEDRAGONFLY_BACKEND")}
	var problems []error
	number := func(name string, set func(float64)) {
		text := os.Getenv(name)
		if text == "" {
			return
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 {
			problems = append(problems, fmt.Errorf("%s is %q: it must be a number that is not negative", name, text))
			return
		}
		set(n)
	}
	number("FAKEDRAGONFLY_REFUSE", func(n float64) { t.refuse = &n })
	number("FAKEDRAGONFLY_REFUSE_DEPTH", func(n float64) { t.refuseDepth = int(n) })
	number("FAKEDRAGONFLY_SHARDS", func(n float64) { t.shards = int(n) })
	number("FAKEDRAGONFLY_SEED", func(n float64) { t.seed = uint64(n) })
	number("FAKEDRAGONFLY_LINGER_MS", func(n float64) { t.lingerMS = int(n) })
	return t, errors.Join(problems...)
}
