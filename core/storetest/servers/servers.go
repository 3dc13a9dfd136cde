// Package servers finds, starts and ends servers that a cache can be kept on: Dragonfly,
// Valkey and Redis. It is for tests, by way of storetest, and for programs that must have a
// server for themselves. What is asked for by an [Option] is given to each kind by the flags
// that it understands.
package servers

import (
	"crypto/tls"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Kind is a kind of server: the name of its program.
type Kind string

// The kinds.
const (
	Dragonfly Kind = "dragonfly"
	Valkey    Kind = "valkey-server"
	Redis     Kind = "redis-server"
)

// Kinds returns all of them, in the order in which they are looked for.
func Kinds() []Kind { return []Kind{Dragonfly, Valkey, Redis} }

// Option is something that a server shall have or do.
type Option func(*options)

type options struct {
	password      string
	memory        int64 // bytes
	noEviction    bool
	socket        string
	tls           *Certificates
	emulated      bool
	args          []string // of Redis and Valkey
	dragonflyArgs []string
	kinds         []Kind   // that can do it
	why           []string // the others cannot
}

func newOptions(opts []Option) *options {
	o := &options{memory: DefaultMemory, kinds: Kinds()}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// only leaves out all kinds but these.
func (o *options) only(why string, kinds ...Kind) {
	o.kinds = slices.DeleteFunc(o.kinds, func(k Kind) bool { return !slices.Contains(kinds, k) })
	if !slices.Contains(o.why, why) {
		o.why = append(o.why, why)
	}
}

// What a server may use if [Memory] does not say, and the least that Dragonfly starts with,
// in bytes.
const (
	DefaultMemory   = 512 << 20
	dragonflyMemory = 256 << 20 // per thread, of which it has one
)

// Password is what clients must give, as the user "default".
func Password(password string) Option {
	return func(o *options) { o.password = password }
}

// Memory bounds what the server holds, in bytes: [DefaultMemory] without this. Less than
// 256 MiB needs Redis or Valkey.
func Memory(bytes int64) Option {
	return func(o *options) {
		if o.memory = bytes; bytes < dragonflyMemory {
			o.only("Dragonfly does not start with less than 256 MiB", Valkey, Redis)
		}
	}
}

// NoEviction makes a server that is full refuse writes. Without this it evicts, as is right
// for a cache.
func NoEviction() Option {
	return func(o *options) { o.noEviction = true }
}

// Socket has the server listen at a Unix socket as well, whose path has at most 100 bytes.
func Socket(path string) Option {
	return func(o *options) { o.socket = path }
}

// Certificates are files in PEM, and what a client needs.
type Certificates struct {
	Cert, Key string      // of the server
	CA        string      // of the clients' authority; empty: clients need no certificate
	Client    *tls.Config // by which it is found out that the server has started
}

// TLS has the server speak nothing but TLS at its port. Where clients need no certificate,
// Dragonfly insists on a [Password].
func TLS(c Certificates) Option {
	return func(o *options) { o.tls = &c }
}

// EmulatedCluster is a server that takes itself for a cluster of one node, and allows
// commands on keys of several slots. Only Dragonfly has that.
func EmulatedCluster() Option {
	return func(o *options) {
		o.emulated = true
		o.only("only Dragonfly emulates a cluster", Dragonfly)
	}
}

// ClusterNode is a node of a cluster that the caller puts together, with its bus at a port.
// It needs Redis or Valkey: Dragonfly's clusters are managed from outside.
func ClusterNode(busPort int) Option {
	return func(o *options) {
		o.args = append(o.args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(busPort))
		o.only("Dragonfly does not form clusters by itself", Valkey, Redis)
	}
}

// RedisArgs are further arguments for what Dragonfly has not, such as "--rename-command". Why
// says what that is, for the error where there is no Redis or Valkey.
func RedisArgs(why string, args ...string) Option {
	return func(o *options) {
		o.args = append(o.args, args...)
		o.only(why, Valkey, Redis)
	}
}

// DragonflyArgs are further arguments for what Redis and Valkey have not. Why says what that
// is, for the error where there is no Dragonfly.
func DragonflyArgs(why string, args ...string) Option {
	return func(o *options) {
		o.dragonflyArgs = append(o.dragonflyArgs, args...)
		o.only(why, Dragonfly)
	}
}

// WhereRedis are further arguments if it is Redis or Valkey. Dragonfly does without.
func WhereRedis(args ...string) Option {
	return func(o *options) { o.args = append(o.args, args...) }
}

// Only is for what needs one of these kinds. Why is for the error where there is none.
func Only(why string, kinds ...Kind) Option {
	return func(o *options) { o.only(why, kinds...) }
}

// MissingError is that no server is on the PATH that could do what was asked for.
type MissingError struct {
	Kinds []Kind // that could
	Why   string // others could not; empty if all can
}

func (e *MissingError) Error() string {
	if len(e.Kinds) == 0 {
		return "no server can do all of this: " + e.Why
	}
	var names []string
	for _, k := range e.Kinds {
		names = append(names, string(k))
	}
	text := "this needs " + strings.Join(names, " or ") + " on the PATH"
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// Find returns the first of [Kinds] that is on the PATH and can do what the options say. The
// error is a [MissingError].
func Find(opts ...Option) (Kind, string, error) {
	o := newOptions(opts)
	return o.find()
}

func (o *options) find() (Kind, string, error) {
	for _, kind := range o.kinds {
		if path, err := exec.LookPath(string(kind)); err == nil {
			return kind, path, nil
		}
	}
	return "", "", &MissingError{o.kinds, strings.Join(o.why, "; ")}
}

// flags are the arguments for a server of a kind.
func (o *options) flags(kind Kind, port int, dir string) []string {
	if kind == Dragonfly {
		return o.dragonfly(port, dir)
	}
	return o.redis(port, dir)
}

func (o *options) dragonfly(port int, dir string) []string {
	args := []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--dbfilename", "",
		fmt.Sprint("--maxmemory=", o.memory), "--proactor_threads=1", fmt.Sprint("--cache_mode=", !o.noEviction),
	}
	if o.password != "" {
		args = append(args, "--requirepass="+o.password)
	}
	if o.socket != "" {
		args = append(args, "--unixsocket="+o.socket)
	}
	if o.tls != nil {
		args = append(args, "--tls", "--tls_cert_file="+o.tls.Cert, "--tls_key_file="+o.tls.Key)
		if o.tls.CA != "" { // which is what makes it ask for certificates
			args = append(args, "--tls_ca_cert_file="+o.tls.CA)
		}
	}
	if o.emulated {
		args = append(args, "--cluster_mode=emulated")
	}
	return append(args, o.dragonflyArgs...)
}

func (o *options) redis(port int, dir string) []string {
	policy := "allkeys-lru"
	if o.noEviction {
		policy = "noeviction"
	}
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port)}
	if o.tls != nil {
		args = []string{"--bind", "127.0.0.1", "--port", "0", "--tls-port", strconv.Itoa(port), "--tls-cert-file", o.tls.Cert, "--tls-key-file", o.tls.Key}
		if o.tls.CA == "" {
			args = append(args, "--tls-auth-clients", "no")
		} else {
			args = append(args, "--tls-ca-cert-file", o.tls.CA)
		}
	}
	args = append(args, "--dir", dir, "--save", "", "--appendonly", "no",
		"--maxmemory", strconv.FormatInt(o.memory, 10), "--maxmemory-policy", policy)
	if o.password != "" {
		args = append(args, "--requirepass", o.password)
	}
	if o.socket != "" {
		args = append(args, "--unixsocket", o.socket)
	}
	return append(args, o.args...)
}

func logFile(dir string) string { return filepath.Join(dir, "server.log") }
