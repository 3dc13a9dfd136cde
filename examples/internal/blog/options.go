package blog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// Options are the settings of the example services.
type Options struct {
	server.Options
	DB         string        // file of the database; empty: a temporary one
	Latency    time.Duration // added to each read of the database
	PurgeToken string        // empty: nobody may purge over HTTP
}

// Main runs an example service.
func Main(run func(context.Context, Options) error) {
	var o Options
	flags := o.Flags(30 * time.Second)
	server.Add(flags, &o.Latency, "db-latency", "DB_LATENCY", 50*time.Millisecond,
		"how much longer a read of the database takes", server.Duration)
	server.Add(flags, &o.DB, "db", "DB", "",
		"file of the SQLite database, which several services may share (empty: a temporary one)", file)
	server.Add(flags, &o.PurgeToken, "purge-token", "PURGE_TOKEN", "",
		"16 bytes or more that a request has to know to purge, POST /purge or PURGE on a URL (empty: nobody may)", purgeToken)
	server.Main(flags, func(ctx context.Context) error { return run(ctx, o) })
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
