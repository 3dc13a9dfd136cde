package dragonfly_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ca") //nolint:usetesting // TempDir has the name of the test in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// socketServer starts a server that listens at a socket, too.
func socketServer(t *testing.T, opts ...servers.Option) (*storetest.Process, string) {
	t.Helper()
	path := socketPath(t)
	return storetest.StartServer(t, append(opts, servers.Socket(path))...), path
}

func TestSocketStore(t *testing.T) {
	t.Parallel() // it mostly waits
	_, path := socketServer(t)
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, "unix://"+path) })
}

func TestSocketStoreWithNear(t *testing.T) {
	t.Parallel() // it mostly waits
	_, path := socketServer(t)
	storetest.Run(t, func(t *testing.T) store.Store { return openPatiently(t, "unix://"+path, withNear()) })
}

// TestSocket: both connections go there, with what the URL says.
func TestSocket(t *testing.T) {
	p, path := socketServer(t, servers.Password("hunter2/@"))
	option, log := logTo()
	s := open(t, "unix://default:hunter2%2F%40@"+path+"?db=3&client_name=shop&dial_timeout=10s&write_timeout=1m", withNear(), option)
	storeWorks(t, s)
	if line := log.String(); !strings.Contains(line, "address="+path) || strings.Contains(line, "hunter2") {
		t.Errorf("logged %q", line)
	}
	ctx := context.Background()
	c := s.Client()
	if err := s.Set(ctx, "some:key:of:ours:near", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	heat(t, s, "some:key:of:ours:near")
	list, err := c.Do(ctx, c.B().Arbitrary("CLIENT", "LIST").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	for line := range strings.Lines(list) {
		if !strings.Contains(line, path) || !strings.Contains(line, "db=3") {
			t.Errorf("a connection not by the socket, or of another database: %q", line)
		}
		for _, name := range []string{"shop", "shop-near"} {
			if strings.Contains(line, " name="+name+" ") {
				named[name]++
			}
		}
	}
	if named["shop"] == 0 || named["shop-near"] == 0 {
		t.Errorf("connections by name: %v of\n%s", named, list)
	}
	d, err := s.Describe(ctx)
	if err != nil || d.Address != path {
		t.Errorf("it describes itself as at %q, %v", d.Address, err)
	}

	p.Kill()
	p.Start()
	eventually(t, s)
	storeWorks(t, s)
}

// TestSocketByOptions: the path alone is enough, for the near tier as well, and so are the
// options that rueidis makes.
func TestSocketByOptions(t *testing.T) {
	_, path := socketServer(t)
	theirs, err := rueidis.ParseURL("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := dragonfly.ParseURL("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	for name, option := range map[string]rueidis.ClientOption{"path": {InitAddress: []string{path}}, "rueidis": theirs, "ours": ours} {
		option.Dialer, option.ConnWriteTimeout = patient, time.Minute
		s, err := dragonfly.OpenClientOption(context.Background(), option, withNear())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { _ = s.Close() })
		storeWorks(t, s)
		if !s.NearStats().On {
			t.Errorf("%s: the near tier is off", name)
		}
	}
	client, err := rueidis.NewClient(ours) // what ParseURL returns is good for that as well
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := dragonfly.FromClient(client, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20, Connect: &rueidis.ClientOption{InitAddress: []string{path}, Dialer: patient}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	storeWorks(t, s)
}

func TestSocketErrors(t *testing.T) { storetest.EachKind(t, testSocketErrors) }

func testSocketErrors(t *testing.T, only servers.Option) {
	p, path := socketServer(t, servers.Password("hunter2"), only)
	refused(t, "unix://:hunter2wrong@"+path, path, "does not accept the user or password")
	if p.Kind != servers.Dragonfly { // which asks for none at a socket
		refused(t, "unix://"+path, path, "unix://:password@/path")
	}
	refused(t, "unix://:hunter2@"+path+"?db=9999", path, "no database 9999")

	err := refused(t, "unix://:hunter2@"+path+".other", path+".other", "there is no such socket")
	if !errors.Is(err, syscall.ENOENT) || strings.Contains(err.Error(), "docker") {
		t.Error(err)
	}
	file := socketPath(t)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "unix://"+file, file, "nobody listens")
	long := "/tmp/" + strings.Repeat("x", 200)
	refused(t, "unix://"+long, long, "too long")

	// A datagram socket.
	packets := socketPath(t)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: packets, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	refused(t, "unix://"+packets, packets, "another kind")

	// Somebody else's.
	mute := socketPath(t)
	other, err := net.Listen("unix", mute)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, other, silent)
	err = refused(t, "unix://:hunter2@"+mute, mute, "no answer")
	if strings.Contains(err.Error(), "TLS") {
		t.Errorf("%v: a socket has none", err)
	}
}

// TestSocketAway: without its server it starts all the same, and finds it later.
func TestSocketAway(t *testing.T) {
	p, path := socketServer(t)
	p.Kill()
	option, log := logTo()
	s := open(t, "unix://"+path, dragonfly.WithLazyConnect(), option)
	if line := log.String(); !strings.Contains(line, "started without the server") || !strings.Contains(line, path) {
		t.Errorf("logged %q", line)
	}
	p.Start()
	eventually(t, s)
	storeWorks(t, s)
}

// TestSocketOfCluster: the other nodes are elsewhere.
func TestSocketOfCluster(t *testing.T) {
	path := socketPath(t)
	bus, err := servers.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	storetest.StartServer(t, servers.ClusterNode(bus), servers.Socket(path))
	refused(t, "unix://"+path, path, "redis://host:port")
}

// clientFiles writes a client's certificate and its key.
func clientFiles(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "client.pem"), filepath.Join(t.TempDir(), "client.key")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestURLOfTLS: files and names of the URL are those of the connection.
func TestURLOfTLS(t *testing.T) { storetest.EachKind(t, testURLOfTLS) }

func testURLOfTLS(t *testing.T, only servers.Option) {
	a := storetest.NewAuthority(t)
	p := storetest.StartTLSServer(t, a, servers.Password("hunter2"), only)
	ca := a.CAFile
	cert, key := clientFiles(t, a.Client)
	const late = "&dial_timeout=10s&write_timeout=1m"
	for name, url := range map[string]string{
		"all by the URL":      "?server_name=localhost&ssl_ca_certs=" + ca + "&ssl_certfile=" + cert + "&ssl_keyfile=" + key,
		"nobody is looked at": "?skip_verify&ssl_certfile=" + cert + "&ssl_keyfile=" + key,
	} {
		s := open(t, "rediss://:hunter2@"+p.Addr+url+late, withNear())
		storeWorks(t, s)
		if !s.NearStats().On {
			t.Errorf("%s: the near tier is off", name)
		}
	}
	refused(t, "rediss://:hunter2@"+p.Addr+"?server_name=localhost&ssl_certfile="+cert+"&ssl_keyfile="+key, p.Addr, "ssl_ca_certs")
	refused(t, "rediss://:hunter2@"+p.Addr+"?server_name=example.com&ssl_ca_certs="+ca+"&ssl_certfile="+cert+"&ssl_keyfile="+key, p.Addr, "not example.com")
	refused(t, "rediss://:hunter2@"+p.Addr+"?server_name=localhost&ssl_ca_certs="+ca, p.Addr, "ssl_certfile")
	if _, err := dragonfly.ParseURL("rediss://a?skip_verify=true&ssl_ca_certs=" + ca); err == nil || !strings.Contains(err.Error(), "ssl_ca_certs without effect") {
		t.Error(err)
	}
	if option, err := dragonfly.ParseURL("rediss://a?skip_verify=false&ssl_ca_certs=" + ca); err != nil || option.TLSConfig.InsecureSkipVerify || option.TLSConfig.RootCAs == nil {
		t.Error(err)
	}
}
