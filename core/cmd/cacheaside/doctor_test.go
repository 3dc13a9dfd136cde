package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/cmd/cacheaside/internal/doctor"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// How well a server does depends on the machine that the test is on: these leave out what
// is of time.

func TestDoctor(t *testing.T) {
	s := newService(t)
	s.get(t, "/blogs/1")
	before := keysOf(t, s.client(t))
	r := run(t, []string{"CACHEASIDE_STORE=" + s.store}, "doctor", "--json", "--timeout", "60s")
	var d diagnosis
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.err)
	}
	if len(d.Findings) != 13 || d.Status != doctor.Worst(d.Findings) {
		t.Errorf("%+v", d)
	}
	for _, f := range d.Findings {
		if f.Status != doctor.OK && f.Name != doctor.Latency {
			t.Errorf("%+v", f)
		}
	}
	if strings.Contains(r.out+r.err, secret) {
		t.Errorf("a secret is shown: %s%s", r.out, r.err)
	}
	if after := keysOf(t, s.client(t)); after != before {
		t.Errorf("there were %s, and then %s", before, after)
	}
}

func keysOf(t *testing.T, c rueidis.Client) string {
	t.Helper()
	n, err := c.Do(t.Context(), c.B().Dbsize().Build()).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(n)
	return string(text) + " keys"
}

func TestDoctorStatus(t *testing.T) {
	p := storetest.StartServer(t, servers.Password(password), servers.Only("Dragonfly cannot be told to evict nothing while it runs", servers.Valkey, servers.Redis))
	store := "--store=redis://:" + password + "@" + p.Addr
	c, err := storetest.Patiently(func() (rueidis.Client, error) {
		return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{p.Addr}, Password: password, DisableCache: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// What only warns does not fail, unless that is asked for.
	if err := c.Do(t.Context(), c.B().Arbitrary("CONFIG", "SET", "maxmemory-policy", "noeviction").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	r := run(t, nil, "doctor", store, "--timeout", "60s")
	if slow := strings.Contains(r.out, "fail  latency"); !slow {
		r.wants(t, exitOK, "ok    connection  connected to "+p.Addr, "warn  memory", "\n                  → CONFIG SET maxmemory-policy allkeys-lru", "ok    rights")
	}
	run(t, nil, "doctor", store, "--timeout", "60s", "--strict").wants(t, exitFailure, "warn  memory")

	r = run(t, nil, "doctor", "--store=redis://:wrong-"+secret+"@"+p.Addr)
	r.wants(t, exitFailure, "fail  connection  "+p.Addr+": it does not accept the user or password", "→ check both")
	r = run(t, nil, "doctor", "--store="+strings.TrimPrefix(refusing(t), "http://"), "--json")
	r.wants(t, exitFailure, `"status": "fail"`, "it refuses connections")

	run(t, nil, "doctor").wants(t, exitUsage, "--store or CACHEASIDE_STORE")
	run(t, nil, "doctor", "--store=redis://"+secret+"/@a").wants(t, exitUsage, "--store: ", "percent-encoded")
	run(t, nil, "doctor", store, "--namespace=a:b").wants(t, exitUsage, "--namespace")
	run(t, nil, "doctor", store, "what").wants(t, exitUsage)
}
