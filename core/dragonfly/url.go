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

const urlForms = "give redis://[user[:password]@]host[:port][/db], rediss://... for TLS, or host:port"

// ParseURL returns rueidis' options for a URL as [Open] takes it, for [OpenClientOption].
// Its errors quote nothing that may be a part of a password.
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

func parse(raw string) (option rueidis.ClientOption, err error) {
	if raw == "" {
		return option, errors.New("it is empty")
	}
	scheme, _, hasScheme := strings.Cut(raw, "://")
	if !hasScheme {
		if strings.Contains(raw, "@") {
			return option, errors.New("user and password need a scheme in front")
		}
		addr, err := address(raw)
		option.InitAddress = []string{addr}
		return option, err
	}
	if scheme = strings.ToLower(scheme); scheme != "redis" && scheme != "rediss" {
		if strings.ContainsAny(scheme, "@:/") {
			scheme = "this"
		}
		return option, fmt.Errorf("the scheme %q is unknown", scheme)
	}
	u, parseErr := neturl.Parse(raw)
	if parseErr != nil || u.Fragment != "" || strings.HasSuffix(raw, "#") || strings.Contains(u.Path, "@") || strings.Contains(u.Host, "@") {
		// Not parseErr: it quotes the URL.
		return option, errors.New("it cannot be parsed; characters such as / ? # @ % in user or password must be percent-encoded")
	}
	for name, values := range u.Query() {
		switch {
		case name == "addr" || name == "master_set" && len(values) == 1:
		default:
			return option, errors.New("its query may only have addr and one master_set")
		}
	}
	addr, err := address(u.Host)
	if err != nil {
		return option, err
	}
	addrs := []string{addr}
	for _, a := range u.Query()["addr"] {
		if addr, err = address(a); err != nil {
			return option, fmt.Errorf("addr in its query: %w", err)
		}
		addrs = append(addrs, addr)
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if n, err := strconv.ParseUint(db, 10, 31); err == nil {
			option.SelectDB = int(n)
		} else {
			return option, errors.New("the database after the host must be a number")
		}
	}
	if scheme == "rediss" {
		option.TLSConfig = tlsConfig(addrs)
	}
	option.InitAddress = addrs
	option.Username = u.User.Username()
	option.Password, _ = u.User.Password()
	option.Sentinel.MasterSet = u.Query().Get("master_set")
	return option, nil
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
	case strings.ContainsAny(host, " \t\r\n/?#@%[]\\\"'<>,;") || !strings.Contains(s, "[") && strings.Contains(host, ":"):
		return "", errors.New("the host is not a name or address")
	case err != nil || n == 0:
		return "", errors.New("the port must be a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}
