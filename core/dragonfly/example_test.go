package dragonfly_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"os"
	"strings"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
)

// A server whose certificate is signed by an authority of one's own, and that
// wants a certificate of its clients. The password is read for every connection,
// so that it can be changed while the service runs.
func ExampleOpenClientOption() {
	authority, err := os.ReadFile("/etc/cacheaside/ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	certificate, err := tls.LoadX509KeyPair("/etc/cacheaside/client.pem", "/etc/cacheaside/client.key")
	if err != nil {
		log.Fatal(err)
	}
	store, err := dragonfly.OpenClientOption(context.Background(), rueidis.ClientOption{
		InitAddress: []string{"cache-1.internal:6379", "cache-2.internal:6379"}, // several: a cluster
		TLSConfig: &tls.Config{
			RootCAs:      roots,
			Certificates: []tls.Certificate{certificate},
			MinVersion:   tls.VersionTLS12,
		},
		AuthCredentialsFn: func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			password, err := os.ReadFile("/run/secrets/cacheaside")
			return rueidis.AuthCredentials{Username: "cacheaside", Password: strings.TrimSpace(string(password))}, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}
