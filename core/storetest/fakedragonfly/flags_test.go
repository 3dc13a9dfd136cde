package main

import (
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	o, err := parseFlags(strings.Fields("--port 7000 --bind=127.0.0.1 -cache_mode --notls --maxmemory=1gb --proactor_threads 2 --logtostderr --cluster_mode=emulated"))
	if err != nil {
		t.Fatal(err)
	}
	if o.port != "7000" || o.bind != "127.0.0.1" || !o.cacheMode || o.tls || o.maxmemory != 1<<30 || o.threads != 2 || o.cluster != "emulated" {
		t.Errorf("%+v", o)
	}
	if o, err = parseFlags([]string{"--dbfilename", "", "--cache_mode=false", "--requirepass", "--x", "--proactor_threads=1"}); err != nil || o.cacheMode || o.requirepass != "--x" {
		t.Errorf("%+v, %v", o, err)
	}
	for line, want := range map[string]string{
		"--maxmemory-policy allkeys-lru":         "Unknown command line flag 'maxmemory-policy'",
		"--save":                                 "Unknown command line flag 'save'",
		"--noport":                               "Unknown command line flag 'noport'",
		"--port":                                 "Missing the value",
		"--cache_mode=perhaps":                   "Illegal value 'perhaps'",
		"--maxmemory=many":                       "Illegal value 'many'",
		"--proactor_threads=2 --maxmemory=511mb": "There are 2 threads, so 0.50GiB are required",
		"--cluster_mode=on":                      "cluster_mode",
		"--tls":                                  "certificate and key",
		"--tls --tls_cert_file=a --tls_key_file=b":  "no authentication method",
		"--cluster-enabled yes --maxmemory 1000000": "Unknown command line flag",
	} {
		if _, err := parseFlags(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	for text, want := range map[string]int64{"512mb": 512 << 20, "1G": 1 << 30, "1000": 1000, "1.5k": 1536, "2GiB": 2 << 30} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

// TestDoesNotStart: what is wrong ends the program, with a word about it.
func TestDoesNotStart(t *testing.T) {
	if _, err := tryStart(t, nil, "--maxmemory-policy", "noeviction"); err == nil || !strings.Contains(err.Error(), "Unknown command line flag") {
		t.Errorf("an unknown flag: %v", err)
	}
	if _, err := tryStart(t, []string{"FAKEDRAGONFLY_REFUSE=much"}); err == nil || !strings.Contains(err.Error(), "FAKEDRAGONFLY_REFUSE") {
		t.Errorf("an environment that says nothing: %v", err)
	}
}
