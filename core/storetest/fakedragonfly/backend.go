package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// adminName is the user of the connections that this program has for itself.
const adminName = "fakedragonfly"

// backend is the server that has the data.
type backend struct {
	path   string // of its socket
	dir    string
	secret string // with which any user is let in there; real passwords are checked in front
	cmd    *exec.Cmd
	done   chan struct{}

	mu sync.Mutex // held during a call
	nc net.Conn
	r  *bufio.Reader
}

func findBackend(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no redis-server or valkey-server on the PATH to run behind")
}

// startBackend returns when the server answers.
func startBackend(o *options, given string) (*backend, error) {
	path, err := findBackend(given)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fakedragonfly")
	if err != nil {
		return nil, err
	}
	b := &backend{path: filepath.Join(dir, "s"), dir: dir, secret: rand.Text(), done: make(chan struct{})}
	policy := "noeviction"
	if o.cacheMode {
		policy = "allkeys-lru"
	}
	b.cmd = exec.Command(path, "--port", "0", "--unixsocket", b.path, "--dir", dir, "--save", "", "--appendonly", "no",
		"--maxmemory", strconv.FormatInt(o.maxmemory, 10), "--maxmemory-policy", policy, "--maxclients", "10000", "--loglevel", "warning")
	b.cmd.SysProcAttr = servers.DieWithParent()
	b.cmd.Stdout, b.cmd.Stderr = os.Stdout, os.Stderr
	if err := b.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	go func() { _ = b.cmd.Wait(); close(b.done) }()
	if err := b.connect(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *backend) connect() error {
	for end := time.Now().Add(20 * time.Second); ; {
		nc, err := b.dial()
		if err == nil {
			b.nc, b.r = nc, bufio.NewReader(nc)
			break
		}
		select {
		case <-b.done:
			return fmt.Errorf("the server behind has ended: %s", b.cmd.ProcessState)
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			return err
		}
	}
	for _, command := range [][]string{
		{"ACL", "SETUSER", adminName, "on", ">" + b.secret, "~*", "&*", "+@all"},
		{"AUTH", adminName, b.secret},
		{"ACL", "SETUSER", "default", ">" + b.secret},
	} {
		if v := b.do(command...); v.kind != '+' {
			return fmt.Errorf("the server behind answers %s: %s", strings.Join(command[:1], " "), v.text)
		}
	}
	return nil
}

func (b *backend) dial() (net.Conn, error) {
	return (&net.Dialer{}).DialContext(context.Background(), "unix", b.path)
}

// do asks over the connection of this program. What goes wrong is an error answer.
func (b *backend) do(args ...string) value {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.nc.Write(appendCommand(nil, args...)); err != nil {
		return value{kind: '-', text: "ERR " + err.Error()}
	}
	v, err := parse(b.r)
	if err != nil {
		return value{kind: '-', text: "ERR " + err.Error()}
	}
	return v
}

func (b *backend) close() {
	_ = b.cmd.Process.Kill()
	<-b.done
	if b.nc != nil {
		_ = b.nc.Close()
	}
	_ = os.RemoveAll(b.dir)
}
