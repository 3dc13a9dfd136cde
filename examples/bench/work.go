package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/coretest/bodies"
)

// work is what the handlers do: they wait, as for a database, and answer with what is ready.
type work struct {
	calls      atomic.Int64
	wait, slow time.Duration
}

// made are the bodies, by their size in KiB.
var made = map[int][]byte{1: body(1), 16: body(16), 256: body(256)}

// body is JSON of n KiB, with spaces at its end where that is needed.
func body(n int) []byte {
	size := n << 10
	b := bodies.JSON(size)
	for len(b) < size {
		b = append(b, ' ')
	}
	return b[:size]
}

// sized is the body that a path stands for.
func sized(path string) ([]byte, error) {
	switch part := strings.Split(path, "/"); {
	case strings.HasPrefix(path, "/gzip/"):
		return made[16], nil
	case strings.HasPrefix(path, "/slow/"):
		return made[1], nil
	case strings.HasPrefix(path, "/plain/") && len(part) == 4:
		if n, err := strconv.Atoi(part[2]); err == nil && made[n] != nil {
			return made[n], nil
		}
	}
	return nil, fmt.Errorf("there is nothing at %q", path)
}

// answer is the handler's.
func (w *work) answer(path string) ([]byte, error) {
	w.calls.Add(1)
	wait := w.wait
	if strings.HasPrefix(path, "/slow/") {
		wait = w.slow
	}
	time.Sleep(wait)
	return sized(path)
}

// ready looks up in a map, and is the floor of what is kept in the process. What clients get
// compressed is kept so.
func (w *work) ready() (func(string) ([]byte, error), error) {
	kept := map[string][]byte{}
	for _, s := range situations {
		if s.how != hit {
			continue
		}
		b, err := stored(s.path)
		if err != nil {
			return nil, err
		}
		kept[s.path] = b
	}
	return func(path string) ([]byte, error) {
		if b, found := kept[path]; found {
			return b, nil
		}
		return w.answer(path)
	}, nil
}

// bare is GET, and where that finds nothing the handler and SET: what one writes by hand
// without a cache, and the floor of what is kept on a server.
func (w *work) bare(client rueidis.Client) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		ctx := context.Background()
		if b, err := client.Do(ctx, client.B().Get().Key("bare:"+path).Build()).AsBytes(); err == nil {
			return b, nil
		}
		if _, err := w.answer(path); err != nil {
			return nil, err
		}
		b, err := stored(path)
		if err != nil {
			return nil, err
		}
		_ = client.Do(ctx, client.B().Set().Key("bare:"+path).Value(rueidis.BinaryString(b)).Ex(lifetime).Build()).Error()
		return b, nil
	}
}

// stored is the body as a floor keeps it.
func stored(path string) ([]byte, error) {
	b, err := sized(path)
	if err != nil || !strings.HasPrefix(path, "/gzip/") {
		return b, err
	}
	return zipped(b)
}
