package blog

import (
	"context"
	"time"

	"github.com/cacheaside/cacheaside/examples/internal/server"
)

// Options are the settings of the example services.
type Options struct {
	server.Options
	Latency time.Duration // added to each read of the database
}

// Main runs an example service.
func Main(run func(context.Context, Options) error) {
	var o Options
	flags := o.Flags(30 * time.Second)
	server.Add(flags, &o.Latency, "db-latency", "DB_LATENCY", 50*time.Millisecond,
		"how much longer a read of the database takes", server.Duration)
	server.Main(flags, func(ctx context.Context) error { return run(ctx, o) })
}
