package storetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// Authority is a certificate authority of a test, with what it has signed: a
// certificate of the server "localhost", not of 127.0.0.1, and one of a client.
type Authority struct {
	Roots  *x509.CertPool
	Client tls.Certificate
	CAFile string // PEM

	server [2]string // files of certificate and key
}

// NewAuthority makes an authority.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	sign := func(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		if parentKey == nil {
			parentKey = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			tb.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, caKey := sign(ca, ca, nil)
	a := &Authority{Roots: x509.NewCertPool(), CAFile: write("ca.pem", "CERTIFICATE", der)}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	a.Roots.AddCert(signed)

	der, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, signed, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	a.server = [2]string{write("server.pem", "CERTIFICATE", der), write("server.key", "PRIVATE KEY", keyDER)}

	der, key = sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, signed, caKey)
	a.Client = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return a
}

// Config is that of a client with a certificate.
func (a *Authority) Config() *tls.Config {
	return &tls.Config{
		RootCAs: a.Roots, Certificates: []tls.Certificate{a.Client}, ServerName: "localhost", MinVersion: tls.VersionTLS12,
	}
}

// StartTLSServer is [StartServer] with a server that speaks nothing but TLS, and wants a
// certificate of its clients. It skips the test where the server was built without TLS.
func StartTLSServer(tb testing.TB, a *Authority, opts ...servers.Option) *Process {
	tb.Helper()
	return a.start(tb, a.CAFile, opts)
}

// StartPasswordTLSServer is [StartTLSServer] with a server that wants a password of its
// clients, and no certificate.
func StartPasswordTLSServer(tb testing.TB, a *Authority, password string, opts ...servers.Option) *Process {
	tb.Helper()
	return a.start(tb, "", append(opts, servers.Password(password)))
}

func (a *Authority) start(tb testing.TB, clients string, opts []servers.Option) *Process {
	tb.Helper()
	p, err := begin(tb, append(opts, servers.TLS(servers.Certificates{
		Cert: a.server[0], Key: a.server[1], CA: clients, Client: a.Config(),
	})))
	if err != nil && strings.Contains(err.Error(), "Bad directive") {
		tb.Skip("this needs a server that was built with TLS")
	}
	p.must(err)
	return p
}
