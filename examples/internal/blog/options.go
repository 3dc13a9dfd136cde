package blog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/examples/internal/server"
	"github.com/cacheaside/cacheaside/examples/internal/warm"
)

// Options are the settings of the example services.
type Options struct {
	server.Options
	DB         string        // file of the database; empty: a temporary one
	Latency    time.Duration // added to each read of the database
	PurgeToken string        // empty: nobody may purge over HTTP
	Warm       warm.Options
}

// Main runs an example service.
func Main(run func(context.Context, Options) error) {
	var o Options
	flags := o.Flags(30 * time.Second)
	server.Add(flags, &o.Latency, "db-latency", "DB_LATENCY", 50*time.Millisecond,
		"how much longer a read of the database takes", server.Duration)
	server.Add(flags, &o.DB, "db", "DB", "",
		"file of the SQLite database, which several services may share (empty: a temporary one)", file)
	server.AddSecret(flags, &o.PurgeToken, "purge-token", "PURGE_TOKEN",
		"16 bytes or more that a request has to know to purge, POST /purge or PURGE on a URL (empty: nobody may)", purgeToken)
	server.Add(flags, &o.Warm.File, "warm", "WARM", "",
		"file of URLs to have in the cache from the start, one a line, or a sitemap.xml (empty: none)", server.Text)
	server.Add(flags, &o.Warm.Hosts, "warm-host", "WARM_HOST", nil,
		"hosts that -warm may name, as clients do, with commas; the first is that of a path alone (empty: those of -addr)", hosts)
	server.Main(flags, func(ctx context.Context) error { return run(ctx, o) })
}

// WarmUp warms up the cache beside requests, as the flags say.
func (o *Options) WarmUp(cache *cacheaside.Cache, entry adapter.Entry) server.Beside {
	return func(at net.Addr) (func(context.Context), error) { return o.Warm.Prepare(cache, entry, o.Addr, at) }
}

func hosts(s string) (names []string, err error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if u, err := url.Parse("http://" + name + "/"); err != nil || name == "" || u.Host != name || u.Hostname() == "" {
			return nil, fmt.Errorf("%.100q is no host such as example.com or localhost:8080", name)
		}
		names = append(names, name)
	}
	return names, nil
}

func file(s string) (string, error) {
	if s == "" {
		return s, nil
	}
	if dir, err := os.Stat(filepath.Dir(s)); err != nil || !dir.IsDir() {
		return "", errors.New("the folder does not exist")
	}
	return s, nil
}

func purgeToken(s string) (string, error) {
	if s != "" && len(s) < 16 {
		return "", errors.New("shorter than 16 bytes")
	}
	return s, nil
}
