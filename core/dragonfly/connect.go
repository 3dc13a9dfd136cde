package dragonfly

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/redis/rueidis"
)

// What [Open] sets in rueidis' options where they are zero.
const (
	dialTimeout = 300 * time.Millisecond // for the connection, and again for the handshake
	keepAlive   = time.Second            // also how often an idle connection is pinged
	pingTimeout = time.Second            // of a connection that gives no answer at all
	clientName  = "cacheaside"           // in CLIENT LIST
	idleKept    = time.Minute            // of connections for large values
)

// Option changes how a store is opened.
type Option func(*options)

type options struct {
	logger    *slog.Logger
	timeout   time.Duration // of a call without a deadline
	unchecked bool
	near      *NearOptions
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	return o
}

func (o *options) check() error {
	if o.near == nil {
		return nil
	}
	return o.near.check()
}

// WithLogger sets who is told what was found at the start. Nil: slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithCallTimeout bounds calls whose context has no deadline. Zero: a second.
func WithCallTimeout(d time.Duration) Option {
	return func(o *options) { o.timeout = d }
}

// WithLazyConnect starts although the server cannot be reached or does not let us
// in: that is a warning in the log, calls fail, and the first one that finds the
// server connects. Nothing is read of the server, so neither are warnings given
// nor is a cluster behind a single address found out. A client of a cluster or of
// sentinels needs one of them at the start all the same.
func WithLazyConnect() Option {
	return func(o *options) { o.unchecked = true }
}

// NewClient returns a client for url, as [Open] makes one for itself, with the same
// checks and errors. The caller closes it. [WithNear] and [WithCallTimeout], which
// are a store's, are refused.
func NewClient(ctx context.Context, url string, opts ...Option) (rueidis.Client, error) {
	option, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	o := newOptions(opts)
	if o.near != nil || o.timeout > 0 {
		return nil, errors.New("dragonfly: NewClient: WithNear and WithCallTimeout are options of a store: leave them out, or call Open")
	}
	return connect(ctx, &option, o)
}

// connect completes what is given, so that another client can be made like this
// one.
func connect(ctx context.Context, given *rueidis.ClientOption, o options) (rueidis.Client, error) {
	option := *given
	if len(option.InitAddress) == 0 {
		return nil, errors.New("dragonfly: InitAddress is empty: give at least one host:port, or the path of a socket")
	}
	guessed := complete(&option)
	*given = option
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience(option))
	defer cancel()

	client, err := dial(ctx, option)
	if err != nil && client != nil {
		if o.unchecked {
			o.logger.WarnContext(ctx, "dragonfly: started without the server", "error", explain(option, started, err))
			return client, nil
		}
		go client.Close()
	}
	if err != nil {
		return nil, explain(option, started, err)
	}
	if o.unchecked {
		return client, nil
	}
	found, err := inspect(ctx, client)
	if err != nil {
		err = fromElsewhere(client, option, err)
		go client.Close() // waits a second for a server that is silent
		return nil, explain(option, started, err)
	}
	if found.cluster && guessed {
		if found.emulated, err = emulates(ctx, client, found); err == nil && !found.emulated {
			client.Close()
			option.ForceSingleClient = false
			*given = option
			client, err = join(ctx, option)
		}
	} else if found.cluster {
		found.emulated, err = agree(ctx, client, option, found)
	}
	if err != nil {
		if client != nil {
			go client.Close()
		}
		return nil, explain(option, started, err)
	}
	found.log(ctx, o.logger, option)
	return client, nil
}

// complete fills in what the user left at zero. It reports whether it was we who
// chose to talk to a single server.
func complete(option *rueidis.ClientOption) (guessed bool) {
	// A retry would cost the time that the handler could have answered in.
	option.DisableRetry = true
	// Tracking makes Dragonfly run a connection's commands one by one.
	option.DisableCache = true
	option.AlwaysPipelining = !option.DisableAutoPipelining
	if option.Dialer.Timeout == 0 {
		option.Dialer.Timeout = dialTimeout
	}
	if option.Dialer.KeepAlive == 0 {
		option.Dialer.KeepAlive = keepAlive
	}
	if option.Sentinel.Dialer.Timeout == 0 {
		option.Sentinel.Dialer.Timeout = dialTimeout
	}
	if option.ConnWriteTimeout == 0 {
		option.ConnWriteTimeout = pingTimeout
	}
	if option.BlockingPoolCleanup == 0 {
		option.BlockingPoolCleanup = idleKept
	}
	if option.ClientName == "" {
		option.ClientName = clientName
	}
	if isSocket(*option) && option.DialCtxFn == nil && option.DialFn == nil {
		option.DialCtxFn = dialSocket
	}
	option.DialCtxFn = promptly(option.DialCtxFn, option.DialFn)
	several := len(option.InitAddress) > 1 || option.Sentinel.MasterSet != "" ||
		option.SendToReplicas != nil || option.ReplicaOnly || option.Standalone.EnableRedirect ||
		len(option.Standalone.ReplicaAddress) > 0 || option.ClusterOption != (rueidis.ClusterOption{})
	if !several && !option.ForceSingleClient {
		option.ForceSingleClient = true
		return true
	}
	return false
}

// isSocket reports whether the server is at a Unix socket, whose address is its path.
func isSocket(option rueidis.ClientOption) bool {
	return len(option.InitAddress) == 1 && strings.HasPrefix(option.InitAddress[0], "/")
}

func dialSocket(ctx context.Context, path string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config != nil {
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "unix", path)
	}
	return dialer.DialContext(ctx, "unix", path)
}

// promptly wraps the dialing. A call connects where there is no connection, with
// its own context. If that ends before the server has said a word, rueidis spends
// a second on closing the connection, unless it is closed already.
func promptly(dialCtx func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error),
	dial func(string, *net.Dialer, *tls.Config) (net.Conn, error),
) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (conn net.Conn, err error) {
		switch {
		case dialCtx != nil:
			conn, err = dialCtx(ctx, addr, dialer, config)
		case dial != nil:
			conn, err = dial(addr, dialer, config)
		case config != nil:
			conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", addr)
		default:
			conn, err = dialer.DialContext(ctx, "tcp", addr)
		}
		if err != nil {
			return nil, err
		}
		made := conn
		return &newConn{Conn: made, stop: context.AfterFunc(ctx, func() { _ = made.Close() })}, nil
	}
}

// newConn is tied to a context until the first byte is read from it, and takes turns.
type newConn struct {
	net.Conn
	stop  func() bool
	heard bool // only used by Read, which is called by one goroutine at a time
}

func (c *newConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard {
		c.heard = true
		c.stop()
	}
	return n, err
}

// Write lets the other goroutines go first that can: the commands they send meanwhile
// share the next write, which costs more than all else that a look-up does. Measured
// per GET of 64 goroutines: a third less CPU of the process, half of the server's, and
// a third less time; of one goroutine, no difference.
func (c *newConn) Write(p []byte) (int, error) {
	runtime.Gosched()
	return c.Conn.Write(p)
}

// Close also lets go of the context, which may be reused after the call.
func (c *newConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// patience is a second for one server with the default timeouts.
func patience(option rueidis.ClientOption) time.Duration {
	d := 2*option.Dialer.Timeout + 400*time.Millisecond
	if !option.ForceSingleClient {
		d *= 3
	}
	return d
}

// dial makes a client, until ctx is done, which rueidis does not take. An error
// may come with a client that connects later.
func dial(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	results := make(chan result, 1)
	go func() {
		client, err := rueidis.NewClient(option)
		results <- result{client, err}
	}()
	select {
	case r := <-results:
		return r.client, r.err
	case <-ctx.Done():
		go func() {
			if r := <-results; r.client != nil {
				r.client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// onlyHost is the host of the only address; of several, each certificate has its own name.
func onlyHost(addrs []string) (host string) {
	if len(addrs) == 1 {
		host, _, _ = net.SplitHostPort(addrs[0])
	}
	return host
}

// ConnectError is why a server cannot be used: what [Open] and [NewClient] return once
// they know where it is. It shows no password, and neither do its fields, but for Cause,
// which is what the server or the network has said.
type ConnectError struct {
	Address string // of the server, the path of its socket, or those that were tried
	Problem string // "it wants a password"
	Said    string // Cause, as it may be shown
	Remedy  string // what to do about it
	After   time.Duration
	Cause   error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("dragonfly: cannot use the server at %s: %s (after %v): %s: %s",
		e.Address, e.Problem, e.After.Round(time.Millisecond), e.Said, e.Remedy)
}

// Unwrap returns Cause.
func (e *ConnectError) Unwrap() error { return e.Cause }

// explain makes of a failure to connect an error with address, what failed, and
// what to do.
func explain(option rueidis.ClientOption, started time.Time, cause error) error {
	e := &ConnectError{Address: strings.Join(option.InitAddress, ", "), Said: said(option, cause), After: time.Since(started), Cause: cause}
	e.Problem, e.Remedy = diagnose(option, cause)
	return e
}

// echoed begins what a server repeats of a command that it does not know, and that may
// be the one with the password.
const echoed = ", with args beginning with:"

// longSecret is from which length on a password is not met in other words.
const longSecret = 6

// said is what a cause says without the password. None but a server knows that, which
// may repeat it: as an argument, in quotes. Elsewhere it is looked for only if it is long,
// or the text would lose letters, and not in an answer with a code, whose words are fixed:
// one that is missing would tell what the password is.
func said(option rueidis.ClientOption, cause error) string {
	text := cause.Error()
	var answer *rueidis.RedisError
	if !errors.As(cause, &answer) {
		return text
	}
	raw := answer.Error()
	shown, _, _ := strings.Cut(raw, echoed)
	for _, secret := range []string{option.Password, option.Sentinel.Password} {
		switch {
		case secret == "":
		case len(secret) >= longSecret && !coded(raw):
			shown = strings.ReplaceAll(shown, secret, "[redacted]")
		default:
			for _, quote := range []string{"`", "'", `"`} {
				shown = strings.ReplaceAll(shown, quote+secret+quote, quote+"[redacted]"+quote)
			}
		}
	}
	return strings.Replace(text, raw, shown, 1)
}

// coded reports whether an answer begins with a code like WRONGPASS. The client has taken
// off ERR, which is followed by anything.
func coded(answer string) bool {
	code, _, _ := strings.Cut(answer, " ")
	return len(code) > len("ERR") && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

const startOne = "start one with: docker run -p 6379:6379 docker.dragonflydb.io/dragonflydb/dragonfly --cache_mode=true --maxmemory=1gb"

func diagnose(option rueidis.ClientOption, cause error) (what, fix string) {
	var (
		answer   *rueidis.RedisError
		dns      *net.DNSError
		op       *net.OpError
		noTLS    tls.RecordHeaderError
		badCert  *tls.CertificateVerificationError
		hostname x509.HostnameError
		expired  x509.CertificateInvalidError
	)
	if what, fix := diagnoseCluster(cause); what != "" {
		return what, fix
	}
	switch {
	case errors.As(cause, &answer):
		return diagnoseAnswer(option, answer.Error())
	case isSocket(option) && errors.As(cause, &op) && op.Op == "dial":
		return diagnoseSocket(cause)
	case errors.As(cause, &noTLS):
		return "it does not speak TLS", "use redis:// instead of rediss://"
	case errors.As(cause, &expired) && expired.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet", "renew it, and check the clock of this machine"
	case errors.As(cause, &badCert), errors.As(cause, &hostname):
		return "its certificate is not trusted", "check the host name, or give the authority: ssl_ca_certs in the URL, or RootCAs in a TLSConfig for OpenClientOption"
	case errors.As(cause, &op) && op.Op == "remote error": // an alert of TLS
		return "it refuses the TLS connection", "give the right certificate: ssl_certfile and ssl_keyfile in the URL, or Certificates in a TLSConfig for OpenClientOption, of a version that the server allows"
	case errors.As(cause, &dns):
		return "its name is not known", "check the host in the address"
	case errors.Is(cause, syscall.ECONNREFUSED):
		return "it refuses connections", "check that the server is running and the port is right, or " + startOne
	case errors.As(cause, &op) && op.Op == "dial":
		return "no connection", "check the address and the network, or " + startOne
	case errors.Is(cause, context.Canceled):
		return "gave up", "the context was cancelled"
	case errors.Is(cause, context.DeadlineExceeded), errors.Is(cause, os.ErrDeadlineExceeded):
		return "it gives no answer", "check that the address is that of a Redis-compatible server, " + otherTLS(option) + ", and that it is not overloaded"
	case errors.Is(cause, io.EOF), errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return "it closed the connection", "check that the address is that of a Redis-compatible server, and " + otherTLS(option)
	case strings.Contains(cause.Error(), "unknown message type"):
		return "it is no Redis-compatible server", "check the address, and " + otherTLS(option)
	}
	return "it does not work", "check the address and the options"
}

// diagnoseSocket is for a Unix socket that cannot be connected to.
func diagnoseSocket(cause error) (what, fix string) {
	const start = "start the server with --unixsocket and this path"
	switch {
	case errors.Is(cause, syscall.ENOENT):
		return "there is no such socket", "check the path, or " + start
	case errors.Is(cause, syscall.EACCES), errors.Is(cause, syscall.EPERM):
		return "this process may not use the socket", "start the server with --unixsocketperm, or put this process into its group"
	case errors.Is(cause, syscall.ECONNREFUSED):
		return "nobody listens at the socket", "check that the server is running, or " + start
	case errors.Is(cause, syscall.EINVAL):
		return "the path is too long for a socket", "have the server make it where the path has at most 100 bytes"
	case errors.Is(cause, syscall.EPROTOTYPE):
		return "it is a socket of another kind", "check the path, or " + start
	}
	return "no connection", "check the path, or " + start
}

func otherTLS(option rueidis.ClientOption) string {
	switch {
	case option.TLSConfig != nil:
		return "that it speaks TLS (else use redis://), and whether it wants a client certificate (ssl_certfile and ssl_keyfile in the URL, or Certificates in the TLSConfig for OpenClientOption)"
	case isSocket(option):
		return "that it listens there itself"
	}
	return "that it wants no TLS (else use rediss://)"
}

// rightsSection is the heading in the README.
const rightsSection = "The rights of its user"

func diagnoseAnswer(option rueidis.ClientOption, answer string) (what, fix string) {
	switch {
	case strings.HasPrefix(answer, "NOAUTH"):
		if isSocket(option) {
			return "it wants a password", "give one: unix://:password@/path"
		}
		return "it wants a password", "give one: redis://:password@host:port"
	case strings.HasPrefix(answer, "WRONGPASS"), strings.Contains(answer, "invalid password"), strings.HasPrefix(answer, "AUTH "):
		return "it does not accept the user or password", "check both; special characters are percent-encoded in a URL"
	case strings.HasPrefix(answer, "NOPERM"):
		return "the user may not do what is needed", "give the user the rights that the README of core/dragonfly lists under " + rightsSection
	case strings.Contains(answer, "DB index"):
		return fmt.Sprintf("it has no database %d", option.SelectDB), "choose another one, after the host or with db in the query"
	case strings.HasPrefix(answer, "LOADING"):
		return "it is still loading its data", "try again later"
	case strings.HasPrefix(answer, "CLUSTERDOWN"):
		return "its cluster is down", "see CLUSTER INFO on it: every slot needs a node that is up"
	case strings.Contains(answer, "cluster support disabled"), strings.Contains(answer, "Cluster is disabled"):
		return "it is no part of a cluster", "give a single address, without addr in the URL or more in InitAddress; several are for nodes of a cluster"
	case strings.Contains(answer, "Cluster is not yet configured"):
		return "its cluster has no nodes yet", "give the nodes their slots with DFLYCLUSTER CONFIG, or start one Dragonfly without --cluster_mode=yes"
	case strings.HasPrefix(answer, "MASTERDOWN"):
		return "it is a replica that has lost its master", "give the address of a master, or start that again"
	case strings.Contains(answer, "Bad TLS header"):
		return "it speaks TLS alone", "use rediss:// instead of redis://"
	case strings.HasPrefix(answer, "DENIED"):
		return "it is in protected mode", "set a password or bind it to the right interface"
	}
	return "it answers with an error", "check the address and the options"
}
