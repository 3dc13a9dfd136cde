package dragonfly

import (
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

const urlForms = "give redis://[user[:password]@]host[:port][/db], rediss://... for TLS, unix://[user[:password]@]/path[?db=n], or host:port"

// ParseURL returns rueidis' options for a URL as [Open] takes it, for [OpenClientOption].
// It reads the files that ssl_ca_certs, ssl_certfile and ssl_keyfile name. Its errors
// quote nothing that may be a part of a password.
func ParseURL(url string) (rueidis.ClientOption, error) { return parseURL(url) }

// parseURL is stricter than rueidis.ParseURL, which ignores what it does not
// know. Its errors quote nothing that may be a part of a password, as where a
// '/' in it was not encoded.
func parseURL(raw string) (rueidis.ClientOption, error) {
	option, err := parse(strings.TrimSpace(raw))
	if err != nil {
		return rueidis.ClientOption{}, fmt.Errorf("dragonfly: url: %w: %s", err, urlForms)
	}
	return option, nil
}

// The schemes, in lower case.
const (
	schemePlain  = "redis"
	schemeTLS    = "rediss"
	schemeSocket = "unix"
)

func parse(raw string) (option rueidis.ClientOption, err error) {
	if raw == "" {
		return option, errors.New("it is empty")
	}
	scheme, _, hasScheme := strings.Cut(raw, "://")
	if !hasScheme {
		addr, err := bareAddress(raw)
		option.InitAddress = []string{addr}
		return option, err
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case schemePlain, schemeTLS, schemeSocket:
	default:
		if strings.ContainsAny(scheme, "@:/") {
			scheme = "this"
		}
		return option, fmt.Errorf("the scheme %q is unknown", scheme)
	}
	u, parseErr := neturl.Parse(raw)
	if parseErr != nil || u.Fragment != "" || strings.HasSuffix(raw, "#") || strings.Contains(u.EscapedPath(), "@") ||
		scheme != schemeSocket && strings.Contains(u.Path, "@") || strings.Contains(u.Host, "@") {
		// Not parseErr: it quotes the URL.
		return option, errors.New("it cannot be parsed; characters such as / ? # @ % in user or password must be percent-encoded")
	}
	option.Username = u.User.Username()
	option.Password, _ = u.User.Password()
	if scheme == schemeSocket {
		err = parseSocket(u, &option)
	} else {
		err = parseHost(u, &option)
	}
	if err != nil {
		return option, err
	}
	db := option.SelectDB
	if err := parseQuery(scheme, u.RawQuery, &option); err != nil {
		return option, err
	}
	if scheme != schemeSocket && len(u.Path) > len("/") && option.SelectDB != db {
		return option, errors.New("db in its query is another database than the one after the host: give one of them")
	}
	return option, nil
}

// bareAddress is that of a URL without a scheme.
func bareAddress(raw string) (string, error) {
	switch {
	case strings.Contains(raw, "@"):
		return "", errors.New("user and password need a scheme in front")
	case strings.HasPrefix(raw, "/"), strings.HasPrefix(raw, schemeSocket+":/"):
		return "", errors.New("a socket needs unix:// in front of its path")
	case strings.Contains(raw, "?"):
		return "", errors.New("parameters need a scheme in front")
	}
	return address(raw)
}

// parseSocket takes the path of a socket.
func parseSocket(u *neturl.URL, option *rueidis.ClientOption) error {
	switch {
	case u.Host != "":
		return errors.New("the path of a socket begins with a third '/', as in unix:///run/dragonfly.sock")
	case u.Path == "", strings.HasSuffix(u.Path, "/"):
		return errors.New("the path of the socket is missing")
	case strings.ContainsRune(u.Path, 0):
		return errors.New("no path has a NUL in it")
	}
	option.InitAddress = []string{u.Path}
	option.DialCtxFn = dialSocket // for whoever gives the options to rueidis
	return nil
}

// parseHost takes the address, and the database behind it.
func parseHost(u *neturl.URL, option *rueidis.ClientOption) error {
	addr, err := address(u.Host)
	if err != nil {
		return err
	}
	option.InitAddress = []string{addr}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		n, err := strconv.ParseUint(db, 10, 31)
		if err != nil {
			return errors.New("the database after the host must be a number")
		}
		option.SelectDB = int(n)
	}
	return nil
}

// address completes host[:port] and checks both.
func address(s string) (string, error) {
	host, port := s, "6379"
	if strings.HasSuffix(s, "]") { // [::1]
		host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	} else if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", errors.New("the address is not host:port")
		}
	}
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case host == "":
		return "", errors.New("the host is missing")
	case !isHost(host) || !strings.Contains(s, "[") && strings.Contains(host, ":"):
		return "", errors.New("the host is not a name or address")
	case err != nil || n == 0:
		return "", errors.New("the port must be a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

func isHost(s string) bool { return !strings.ContainsAny(s, " \t\r\n/?#@%[]\\\"'<>,;") }
