// Command cacheaside shows operators what a cache does and holds, and purges it. It asks
// the inspector of a service (core/inspect), or the server where the entries are.
//
//	export CACHEASIDE_INSPECT=http://127.0.0.1:9090/cache/ CACHEASIDE_TOKEN=...
//	cacheaside stats
//	cacheaside explain https://example.com/blogs/1
//
// See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// With | head, the next write fails, and we end as if all were said.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stdin: os.Stdin, stdout: &output{w: os.Stdout}, stderr: os.Stderr, getenv: os.Getenv}
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends it at once
	code := a.run(ctx, os.Args[1:])
	os.Exit(code)
}
