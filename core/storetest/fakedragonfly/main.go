// Command fakedragonfly stands for a Dragonfly in tests. It runs a real redis-server or
// valkey-server, which has the data, and speaks in front of it as Dragonfly v1.40.1
// does where that differs: see the README.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// version is what the server says of itself.
const version = "df-v1.40.1"

func init() {
	// The server behind is killed by the kernel when the thread that started it ends:
	// let it be the first one, which lasts.
	runtime.LockOSThread()
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == afterlifeArg {
		afterlife(os.Args[2:])
		return
	}
	o, err := parseFlags(os.Args[1:])
	if err == nil && o.version {
		fmt.Printf("dragonfly %s (a stand-in for tests)\n", version)
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until it is told to stop.
func run(o *options) error {
	s, err := newServer(o)
	if err != nil {
		return err
	}
	defer s.close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		return nil
	case err := <-s.failed:
		return err
	}
}
