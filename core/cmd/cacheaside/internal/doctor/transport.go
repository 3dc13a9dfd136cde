package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// soon is how long before its end a certificate should be renewed.
const soon = 14 * 24 * time.Hour

// transport says whether others can read what is on its way, and how long that holds.
func (p *patient) transport(ctx context.Context, addrs []string) {
	if p.option.TLSConfig == nil {
		if open := exposed(addrs); len(open) > 0 {
			p.find(Transport, Warn, "responses and the password travel in plain text to "+strings.Join(open, ", "),
				"use TLS (rediss://), unless nobody else can see or join that network")
			return
		}
		p.find(Transport, OK, "plain text, which does not leave this machine", "")
		return
	}
	var first time.Time
	var version uint16
	for _, addr := range addrs {
		state, err := p.handshake(ctx, addr, p.option.TLSConfig)
		if err != nil || len(state.PeerCertificates) == 0 {
			continue // the finding of the connection says why
		}
		version = state.Version
		for _, c := range state.PeerCertificates {
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
	}
	if first.IsZero() {
		return
	}
	left := first.Sub(p.Now())
	detail := fmt.Sprintf("%s; the certificate is good until %s", tls.VersionName(version), first.UTC().Format("2006-01-02 15:04 MST"))
	switch {
	case left <= 0:
		p.find(Transport, Fail, detail+", which is over", "renew it")
	case left < soon:
		p.find(Transport, Warn, fmt.Sprintf("%s, for %d days", detail, int(left.Hours()/24)), "renew it")
	default:
		p.find(Transport, OK, detail, "")
	}
}

// exposed are the addresses that are not of this machine.
func exposed(addrs []string) (open []string) {
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		ip := net.ParseIP(host)
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		if strings.HasPrefix(addr, "/") || ip != nil && ip.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost") {
			continue
		}
		open = append(open, addr)
	}
	return open
}

func (p *patient) handshake(ctx context.Context, addr string, config *tls.Config) (tls.ConnectionState, error) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// mute reports whether a server may have understood nothing of what we have said.
func mute(cause error) bool {
	return errors.Is(cause, io.EOF) || errors.Is(cause, syscall.ECONNRESET) || errors.Is(cause, syscall.EPIPE) ||
		errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, os.ErrDeadlineExceeded) || strings.Contains(cause.Error(), "unknown message type")
}

// speaksTLS reports whether a server that gave no answer in plain text gives one in TLS.
func (p *patient) speaksTLS(ctx context.Context) bool {
	// Nothing is sent over it, so it does not matter whom it is with.
	_, err := p.handshake(ctx, p.option.InitAddress[0], &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // see above
	var alert tls.AlertError
	return err == nil || errors.As(err, &alert)
}

// speaksPlainly reports whether a server answers a PING, whatever it says, without TLS.
func (p *patient) speaksPlainly(ctx context.Context) bool {
	ctx, cancel := p.step(ctx)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.option.InitAddress[0])
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	var first [1]byte
	_, err = io.ReadFull(conn, first[:])
	return err == nil && (first[0] == '+' || first[0] == '-')
}
