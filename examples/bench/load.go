package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// patience is how long a client waits for an answer.
const patience = 3 * time.Second

// client has one connection, which it keeps.
type client struct {
	http fasthttp.HostClient
	req  fasthttp.Request
	resp fasthttp.Response
	want []byte // the body
	gzip bool   // it accepts and expects that
	n    int    // requests so far
	size int    // of the first compressed body, which the others have as well
}

func newClient(addr string, s situation) (*client, error) {
	c := &client{http: fasthttp.HostClient{
		Addr: addr, MaxConns: 1, ReadTimeout: patience, WriteTimeout: patience, MaxIdemponentCallAttempts: 1,
	}, gzip: s.gzip}
	c.req.Header.SetMethod(fasthttp.MethodGet)
	c.req.Header.SetHost("example.com")
	if s.gzip {
		c.req.Header.Set("Accept-Encoding", "gzip")
	}
	var err error
	c.want, err = sized(s.path)
	return c, err
}

// checkEach is how often the bytes of a body are compared; its length always is.
const checkEach = 64

// get asks for a path and checks the answer.
func (c *client) get(path string) error {
	c.req.SetRequestURI("http://" + c.http.Addr + path)
	c.req.Header.SetHost("example.com")
	if err := c.http.Do(&c.req, &c.resp); err != nil {
		return err
	}
	if code := c.resp.StatusCode(); code != fasthttp.StatusOK {
		return fmt.Errorf("%s: status %d: %.100q", path, code, c.resp.Body())
	}
	c.n++
	body := c.resp.Body()
	if c.gzip {
		return c.unzipped(path, body)
	}
	if len(body) != len(c.want) || c.n%checkEach == 1 && !bytes.Equal(body, c.want) {
		return fmt.Errorf("%s: another body, of %d bytes instead of %d", path, len(body), len(c.want))
	}
	return nil
}

// unzipped checks a compressed answer.
func (c *client) unzipped(path string, body []byte) error {
	if coding := c.resp.Header.ContentEncoding(); string(coding) != "gzip" {
		return fmt.Errorf("%s: %w", path, errNotZipped)
	}
	if c.size == 0 || c.n%checkEach == 1 {
		plain, err := c.resp.BodyGunzip()
		if err != nil || !bytes.Equal(plain, c.want) {
			return fmt.Errorf("%s: another body: %w", path, err)
		}
		c.size = len(body)
	}
	if len(body) != c.size {
		return fmt.Errorf("%s: %d bytes, and %d before", path, len(body), c.size)
	}
	return nil
}

var errNotZipped = errors.New("the body is not compressed")

// load is what clients send, all at a time, each the next request when it has its answer.
type load struct {
	clients  []*client
	path     func() string // of the next request; called by all of them
	tolerant bool          // an error is counted, and ends nothing
}

func newLoad(addr string, s situation, n int) (*load, error) {
	l := &load{path: func() string { return s.path }}
	for range n {
		c, err := newClient(addr, s)
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

// close ends the connections.
func (l *load) close() {
	for _, c := range l.clients {
		c.http.CloseIdleConnections()
	}
}

// came is what came of it.
type came struct {
	took   time.Duration   // until the last answer
	each   []time.Duration // how long each took, sorted; errors, too
	errors int
}

// run sends for a time, and one request of each client at least. Answers to what was sent in
// it count, also those that come later.
func (l *load) run(ctx context.Context, d time.Duration) (came, error) {
	begin := time.Now()
	return l.each(func(sent int) bool { return (sent == 0 || time.Since(begin) < d) && ctx.Err() == nil })
}

// once has each client send one request, all at the same time.
func (l *load) once() (came, error) {
	return l.each(func(sent int) bool { return sent == 0 })
}

func (l *load) each(more func(sent int) bool) (all came, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	gate := make(chan struct{})
	for _, c := range l.clients {
		wg.Go(func() {
			var own came
			var failed error
			<-gate
			for failed == nil && more(len(own.each)) {
				sent := time.Now()
				e := c.get(l.path())
				own.each = append(own.each, time.Since(sent))
				switch {
				case e != nil && l.tolerant:
					own.errors++
				case e != nil:
					failed = e
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.each, all.errors, err = append(all.each, own.each...), all.errors+own.errors, errors.Join(err, failed)
		})
	}
	begin := time.Now()
	close(gate)
	wg.Wait()
	all.took = time.Since(begin)
	slices.Sort(all.each)
	return all, err
}

// at is how long the fastest part p of all took at most.
func (c came) at(p float64) float64 {
	if len(c.each) == 0 {
		return nan
	}
	return float64(c.each[min(len(c.each)-1, int(p*float64(len(c.each))))])
}
