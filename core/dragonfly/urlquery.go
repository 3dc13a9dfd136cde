package dragonfly

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	neturl "net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// The bounds of a time-out in a URL: what is beyond them is a slip in the unit.
const (
	minURLTimeout = time.Millisecond
	maxURLTimeout = 10 * time.Minute
)

// parameter is one that the query of a URL may have.
type parameter struct {
	name string
	not  string // a scheme that it makes no sense with
	only string // the scheme that it needs
	set  func(*rueidis.ClientOption, string) error
}

// parameters are in the order in which they are heeded: what is set by another one comes
// first. rueidis and go-redis have the names, redis-py those that begin with ssl.
var parameters = []parameter{
	{name: "addr", not: schemeSocket, set: addAddress},
	{name: "master_set", not: schemeSocket, set: func(o *rueidis.ClientOption, v string) error {
		o.Sentinel.MasterSet = v
		return nil
	}},
	{name: "db", set: setDatabase},
	{name: "client_name", set: setClientName},
	{name: "protocol", set: setProtocol},
	{name: "dial_timeout", set: func(o *rueidis.ClientOption, v string) (err error) {
		o.Dialer.Timeout, err = timeout(v)
		o.Sentinel.Dialer.Timeout = o.Dialer.Timeout
		return err
	}},
	{name: "write_timeout", set: func(o *rueidis.ClientOption, v string) (err error) {
		o.ConnWriteTimeout, err = timeout(v)
		return err
	}},
	{name: "max_retries", set: func(o *rueidis.ClientOption, v string) error {
		if v != "0" {
			return errors.New("nothing is retried, the handler answers sooner: leave it out")
		}
		o.DisableRetry = true
		return nil
	}},
	{name: "server_name", only: schemeTLS, set: func(o *rueidis.ClientOption, v string) error {
		if !isHost(v) {
			return errors.New("it is not a name or address")
		}
		o.TLSConfig.ServerName = v
		return nil
	}},
	{name: "ssl_ca_certs", only: schemeTLS, set: setAuthorities},
	{name: "skip_verify", only: schemeTLS, set: setSkipVerify},
	{name: "ssl_certfile", only: schemeTLS},
	{name: "ssl_keyfile", only: schemeTLS}, // both by setCertificate
}

// elsewhere says what to do instead of giving a parameter that other clients have.
var elsewhere = map[string]string{
	"client_cache":          "copies in the process are an option of Open, WithNear: leave it out",
	"username":              "the user goes in front of the host: user:password@",
	"user":                  "the user goes in front of the host: user:password@",
	"password":              "the password goes in front of the host: user:password@",
	"timeout":               "give dial_timeout, and WithCallTimeout to Open",
	"connect_timeout":       "give dial_timeout",
	"socket_timeout":        "give dial_timeout, and WithCallTimeout to Open",
	"read_timeout":          "give WithCallTimeout to Open: leave it out",
	"master_name":           "give master_set",
	"sentinel_master":       "give master_set",
	"database":              "give db",
	"insecure":              "give skip_verify",
	"ssl_cert_reqs":         "give skip_verify to leave out the check, nothing to have it",
	"ssl_check_hostname":    "give server_name with the name in the certificate",
	"sni":                   "give server_name",
	"tls_server_name":       "give server_name",
	"ca_file":               "give ssl_ca_certs",
	"cacert":                "give ssl_ca_certs",
	"cert_file":             "give ssl_certfile",
	"key_file":              "give ssl_keyfile",
	"tls":                   "use rediss://",
	"ssl":                   "use rediss://",
	"pool_size":             "there is no pool, commands share a connection: leave it out",
	"min_idle_conns":        "there is no pool, commands share a connection: leave it out",
	"max_connections":       "there is no pool, commands share a connection: leave it out",
	"decode_responses":      "values are bytes: leave it out",
	"retry_on_timeout":      "nothing is retried, the handler answers sooner: leave it out",
	"health_check_interval": "the connection is pinged every second: leave it out",
}

func names() string {
	var b strings.Builder
	for i, p := range parameters {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.name)
	}
	return b.String()
}

// parseQuery completes option with what the query says. Only names that are known are
// quoted in errors: others may be a part of a password.
func parseQuery(scheme, raw string, option *rueidis.ClientOption) error {
	if scheme == schemeTLS {
		option.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	query, err := neturl.ParseQuery(raw)
	if err != nil {
		return errors.New("its query cannot be parsed; it is name=value, more of them after a '&', and other characters percent-encoded")
	}
	if err := checkNames(query); err != nil {
		return err
	}
	for _, p := range parameters {
		if !query.Has(p.name) {
			continue
		}
		if err := p.apply(scheme, query[p.name], option); err != nil {
			return fmt.Errorf("%s in its query: %w", p.name, err)
		}
	}
	if option.TLSConfig == nil {
		return nil
	}
	if err := setCertificate(option.TLSConfig, query.Get("ssl_certfile"), query.Get("ssl_keyfile")); err != nil {
		return err
	}
	if option.TLSConfig.ServerName == "" && option.Sentinel.MasterSet == "" {
		option.TLSConfig.ServerName = onlyHost(option.InitAddress)
	}
	return nil
}

func checkNames(query neturl.Values) error {
	unknown := false
	for name := range query {
		if slices.ContainsFunc(parameters, func(p parameter) bool { return p.name == name }) {
			continue
		}
		if instead := elsewhere[strings.ToLower(name)]; instead != "" {
			return fmt.Errorf("%s is not for its query: %s", strings.ToLower(name), instead)
		}
		unknown = true
	}
	if unknown {
		return errors.New("its query may only have " + names())
	}
	return nil
}

func (p parameter) apply(scheme string, values []string, option *rueidis.ClientOption) error {
	switch {
	case scheme == p.not:
		return errors.New("it is not for a socket: leave it out, or use redis://")
	case p.only != "" && scheme != p.only:
		return errors.New("it needs rediss://")
	case len(values) > 1 && p.name != "addr":
		return errors.New("it is given more than once")
	}
	for _, v := range values {
		if v == "" && p.name != "skip_verify" {
			return errors.New("it has no value")
		}
		if p.set == nil {
			continue
		}
		if err := p.set(option, v); err != nil {
			return err
		}
	}
	return nil
}

func addAddress(o *rueidis.ClientOption, v string) error {
	addr, err := address(v)
	o.InitAddress = append(o.InitAddress, addr)
	return err
}

func setDatabase(o *rueidis.ClientOption, v string) error {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return errors.New("it must be the number of a database")
	}
	o.SelectDB = int(n)
	return nil
}

// setClientName takes what CLIENT SETNAME does.
func setClientName(o *rueidis.ClientOption, v string) error {
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("it may only have visible characters of ASCII, and no space")
	}
	o.ClientName = v
	return nil
}

func setProtocol(o *rueidis.ClientOption, v string) error {
	if v != "2" && v != "3" {
		return errors.New("it must be 2 or 3, the versions of RESP")
	}
	o.AlwaysRESP2 = v == "2"
	return nil
}

func timeout(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d < minURLTimeout || d > maxURLTimeout {
		return 0, fmt.Errorf("it must be a time from %v to %v with its unit, such as 500ms", minURLTimeout, maxURLTimeout)
	}
	return d, nil
}

// setSkipVerify takes no value for true, as rueidis does.
func setSkipVerify(o *rueidis.ClientOption, v string) error {
	skip := v == ""
	if !skip {
		var err error
		if skip, err = strconv.ParseBool(v); err != nil {
			return errors.New("it must be true or false")
		}
	}
	if skip && o.TLSConfig.RootCAs != nil {
		return errors.New("it would leave ssl_ca_certs without effect: give one of them")
	}
	o.TLSConfig.InsecureSkipVerify = skip
	return nil
}

func setAuthorities(o *rueidis.ClientOption, v string) error {
	b, err := readPEM(v)
	if err != nil {
		return err
	}
	o.TLSConfig.RootCAs = x509.NewCertPool()
	if !o.TLSConfig.RootCAs.AppendCertsFromPEM(b) {
		return errors.New("there is no certificate in the file: it must be PEM")
	}
	return nil
}

// setCertificate makes the client show a certificate.
func setCertificate(config *tls.Config, certFile, keyFile string) error {
	if certFile == "" && keyFile == "" {
		return nil
	}
	if certFile == "" || keyFile == "" {
		return errors.New("ssl_certfile and ssl_keyfile in its query need each other: give the same file to both if it has both")
	}
	cert, err := readPEM(certFile)
	if err != nil {
		return fmt.Errorf("ssl_certfile in its query: %w", err)
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return fmt.Errorf("ssl_keyfile in its query: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return errors.New("ssl_certfile and ssl_keyfile in its query: they are no pair of a certificate and its key, in PEM and without a passphrase")
	}
	config.Certificates = []tls.Certificate{pair}
	return nil
}

// maxPEM is more than all authorities of a system take.
const maxPEM = 4 << 20

// readPEM reads a regular file: another would perhaps never end. Its errors do not have
// the name.
func readPEM(name string) ([]byte, error) {
	why := func(err error) error {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("the file cannot be read: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, why(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return nil, errors.New("it must name a file in PEM")
	}
	f, err := os.Open(name) //nolint:gosec // who gives the URL chooses the server as well
	if err != nil {
		return nil, why(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, why(err)
	}
	return b, nil
}
