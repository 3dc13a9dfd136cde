package servers

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// path makes programs that do nothing the only ones on the PATH.
func path(t *testing.T, names ...Kind) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a program has another name there")
	}
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, string(name)), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestFind(t *testing.T) {
	redisOnly := RedisArgs("it renames commands", "--rename-command", "TIME", "")
	for _, c := range []struct {
		name string
		path []Kind
		opts []Option
		want Kind
		says string // the error
	}{
		{"Dragonfly first", []Kind{Redis, Valkey, Dragonfly}, nil, Dragonfly, ""},
		{"then Valkey", []Kind{Redis, Valkey}, nil, Valkey, ""},
		{"then Redis", []Kind{Redis}, []Option{Password("a"), NoEviction(), Socket("/s"), TLS(Certificates{})}, Redis, ""},
		{"none", nil, nil, "", "this needs dragonfly or valkey-server or redis-server on the PATH"},
		{"little memory", []Kind{Redis, Dragonfly}, []Option{Memory(256<<20 - 1)}, Redis, ""},
		{"as much as Dragonfly needs", []Kind{Redis, Dragonfly}, []Option{Memory(256 << 20)}, Dragonfly, ""},
		{"arguments of Redis", []Kind{Redis, Dragonfly}, []Option{redisOnly}, Redis, ""},
		{"arguments of Redis, without one", []Kind{Dragonfly}, []Option{redisOnly}, "", "valkey-server or redis-server on the PATH: it renames commands"},
		{"a node of a cluster", []Kind{Valkey, Dragonfly}, []Option{ClusterNode(1)}, Valkey, ""},
		{"an emulated cluster", []Kind{Redis, Dragonfly}, []Option{EmulatedCluster()}, Dragonfly, ""},
		{"an emulated cluster, without Dragonfly", []Kind{Redis}, []Option{EmulatedCluster()}, "", "this needs dragonfly on the PATH: only Dragonfly emulates a cluster"},
		{"arguments of Redis, if it is one", []Kind{Redis, Dragonfly}, []Option{WhereRedis("--a")}, Dragonfly, ""},
		{"what is asked for", []Kind{Redis, Valkey, Dragonfly}, []Option{Only("so", Redis)}, Redis, ""},
		{"what contradicts itself", []Kind{Redis, Dragonfly}, []Option{EmulatedCluster(), redisOnly}, "", "no server can do all of this: only Dragonfly emulates a cluster; it renames commands"},
		{"one reason, given twice", nil, []Option{redisOnly, redisOnly}, "", "PATH: it renames commands"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path(t, c.path...)
			kind, path, err := Find(c.opts...)
			if kind != c.want || (c.want != "") != (err == nil) || err == nil && filepath.Base(path) != string(c.want) {
				t.Fatalf("found %q at %q: %v", kind, path, err)
			}
			var missing *MissingError
			if err != nil && (!errors.As(err, &missing) || !strings.HasSuffix(err.Error(), c.says)) {
				t.Errorf("%q does not end in %q", err, c.says)
			}
			if _, err := Start(t.Context(), t.TempDir(), c.opts...); c.want == "" && !errors.As(err, &missing) {
				t.Errorf("Start: %v", err)
			}
		})
	}
}

// TestFlags: each kind is told the same in its own words.
func TestFlags(t *testing.T) {
	certificates := Certificates{Cert: "cert", Key: "key"}
	strict := certificates
	strict.CA = "ca"
	for _, c := range []struct {
		name             string
		opt              Option
		dragonfly, redis string // what is added to, or replaced in, the arguments; of no kind: what is there anyway
	}{
		{"nothing", nil, "--maxmemory=536870912 --proactor_threads=1 --cache_mode=true", "--maxmemory 536870912 --maxmemory-policy allkeys-lru"},
		{"no files", nil, "--dir dir --dbfilename ", "--dir dir --save  --appendonly no"},
		{"address", nil, "--bind 127.0.0.1 --port 7", "--bind 127.0.0.1 --port 7"},
		{"password", Password("p w"), "--requirepass=p w", "--requirepass p w"},
		{"memory", Memory(1 << 30), "--maxmemory=1073741824 ", "--maxmemory 1073741824 "},
		{"no eviction", NoEviction(), "--cache_mode=false", "--maxmemory-policy noeviction"},
		{"socket", Socket("/s"), "--unixsocket=/s", "--unixsocket /s"},
		{"TLS", TLS(certificates), "--tls --tls_cert_file=cert --tls_key_file=key", "--port 0 --tls-port 7 --tls-cert-file cert --tls-key-file key --tls-auth-clients no"},
		{"TLS with certificates", TLS(strict), "--tls_key_file=key --tls_ca_cert_file=ca", "--tls-key-file key --tls-ca-cert-file ca"},
		{"emulated cluster", EmulatedCluster(), "--cluster_mode=emulated", ""},
		{"of Redis only", WhereRedis("--hz", "100"), "--cache_mode=true", "--hz 100"},
		{"of Dragonfly only", DragonflyArgs("it announces an address", "--cluster_announce_ip=::1"), "--cache_mode=true --cluster_announce_ip=::1", ""},
		{"cluster", ClusterNode(8), "", "--cluster-enabled yes --cluster-port 8"},
	} {
		var opts []Option
		if c.opt != nil {
			opts = []Option{c.opt}
		}
		o := newOptions(opts)
		for kind, want := range map[Kind]string{Dragonfly: c.dragonfly, Redis: c.redis, Valkey: c.redis} {
			if able := slices.Contains(o.kinds, kind); able != (want != "") {
				t.Errorf("%s: %s can do it: %v", c.name, kind, able)
			}
			if got := strings.Join(o.flags(kind, 7, "dir"), " "); want != "" && !strings.Contains(got+" ", want) {
				t.Errorf("%s: %s is given %q, want %q in it", c.name, kind, got, want)
			}
		}
	}
	if got := strings.Join(newOptions([]Option{TLS(certificates)}).flags(Dragonfly, 7, "dir"), " "); strings.Contains(got, "ca_cert") {
		t.Errorf("clients need no certificate: %q", got)
	}
}

func TestConnections(t *testing.T) {
	const list = "txt:id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name=cacheaside age=1 flags=N db=0\r\n" +
		"id=4 addr=/tmp/s:0 name=cacheaside-near flags=N\r\n" +
		"id=5 name= flags=N\r\nid=6 name=cacheaside flags=S\r\nid=x name=cacheaside flags=N\r\n\r\n"
	for _, c := range []struct {
		names []string
		want  []int64
	}{
		{nil, []int64{3, 4, 5}},
		{[]string{"cacheaside"}, []int64{3}},
		{[]string{"cacheaside-near", "cacheaside"}, []int64{3, 4}},
		{[]string{"nobody"}, nil},
	} {
		if got := connections(list, c.names); !slices.Equal(got, c.want) {
			t.Errorf("connections of %q: %v, want %v", c.names, got, c.want)
		}
	}
}
