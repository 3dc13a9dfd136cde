package dragonfly_test

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// patient is for handshakes, which take their time on a busy machine.
var patient = net.Dialer{Timeout: 10 * time.Second}

func openTLS(t *testing.T, addr string, config *tls.Config, opts ...dragonfly.Option) (*dragonfly.Store, error) {
	t.Helper()
	s, err := dragonfly.OpenClientOption(context.Background(), rueidis.ClientOption{
		InitAddress: []string{addr}, Username: "default", Password: "hunter2", Dialer: patient, TLSConfig: config,
	}, opts...)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func TestTLS(t *testing.T) { storetest.EachKind(t, testTLS) }

func testTLS(t *testing.T, only servers.Option) {
	a := storetest.NewAuthority(t)
	p := storetest.StartPasswordTLSServer(t, a, "hunter2", only)
	option, log := logTo()
	s, err := openTLS(t, p.Addr, a.Config(), withNear(), option)
	if err != nil {
		t.Fatal(err)
	}
	if line := log.String(); !strings.Contains(line, "tls=true") || strings.Contains(line, "hunter2") {
		t.Errorf("logged %q", line)
	}
	storeWorks(t, s)
	if err := s.Set(context.Background(), "some:key:of:ours:near", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	heat(t, s, "some:key:of:ours:near")
	p.Kill()
	p.Start()
	eventually(t, s)
	storeWorks(t, s)

	// The host name of the address is that of the certificate.
	if s, err = openTLS(t, "localhost:"+strconv.Itoa(p.Port()), &tls.Config{RootCAs: a.Roots, MinVersion: tls.VersionTLS12}); err != nil {
		t.Fatal(err)
	}
	storeWorks(t, s)
}

func TestTLSErrors(t *testing.T) { storetest.EachKind(t, testTLSErrors) }

func testTLSErrors(t *testing.T, only servers.Option) {
	a := storetest.NewAuthority(t)
	p := storetest.StartPasswordTLSServer(t, a, "hunter2", only)
	with := func(change func(*tls.Config)) *tls.Config {
		config := a.Config()
		change(config)
		return config
	}
	for name, c := range map[string]struct {
		config *tls.Config
		want   []string
	}{
		"no authority":      {with(func(c *tls.Config) { c.RootCAs = nil }), []string{"certificate is not trusted", "RootCAs"}},
		"another authority": {with(func(c *tls.Config) { c.RootCAs = storetest.NewAuthority(t).Roots }), []string{"certificate is not trusted", "RootCAs"}},
		"another host":      {with(func(c *tls.Config) { c.ServerName = "example.com" }), []string{"certificate", "localhost, not example.com", "check the host name"}},
		"an address":        {with(func(c *tls.Config) { c.ServerName = "" }), []string{"certificate", "127.0.0.1", "check the host name"}},
		"no TLS":            {nil, []string{"use rediss://"}},
	} {
		_, err := openTLS(t, p.Addr, c.config)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range append(c.want, p.Addr) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q shows the password", name, err)
		}
	}
	refused(t, "redis://:hunter2@"+p.Addr, p.Addr, "use rediss://")
	refused(t, "rediss://:hunter2@"+p.Addr, p.Addr, "certificate is not trusted")
}

func TestTLSClientCertificate(t *testing.T) { storetest.EachKind(t, testTLSClientCertificate) }

func testTLSClientCertificate(t *testing.T, only servers.Option) {
	a := storetest.NewAuthority(t)
	p := storetest.StartTLSServer(t, a, servers.Password("hunter2"), only)
	s, err := openTLS(t, p.Addr, a.Config(), withNear())
	if err != nil {
		t.Fatal(err)
	}
	storeWorks(t, s)
	if !s.NearStats().On {
		t.Error("the near tier is off")
	}
	for name, certificates := range map[string][]tls.Certificate{
		"none":                 nil,
		"one of somebody else": {storetest.NewAuthority(t).Client},
	} {
		// Up to 1.2 the refusal is part of the handshake, later it comes behind it.
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := a.Config()
			config.Certificates, config.MaxVersion = certificates, version
			_, err := openTLS(t, p.Addr, config)
			if err == nil || !strings.Contains(err.Error(), "Certificates") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
