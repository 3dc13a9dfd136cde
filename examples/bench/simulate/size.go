package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// load is what a sizing begins with.
type load struct {
	rps    float64
	keys   int
	zipf   float64
	oneOff float64
	ttl    time.Duration
	stale  time.Duration // kept so much longer
	jitter float64
	ahead  float64

	instances int
	near      int64 // bytes per instance
	nearAge   time.Duration
	value     int64
}

// expected is what comes of a load where nothing is evicted.
type expected struct {
	entries  float64 // that are stored at a time
	calls    float64 // of the handler, per second
	misses   float64 // per second, of clients
	hitRatio float64
	near     float64 // share of requests
}

// expect adds up what each key does. Requests for it come at random, λ a second.
//
// Without refresh-ahead a call stores what lasts T; the first request after that calls
// again. So there is a call every T + 1/λ seconds. With refresh-ahead the first request
// after a·T calls. In both cases in the background, if it comes while the response is
// stored: in this time nobody comes with probability exp(-λ · time).
func expect(l load) expected {
	var e expected
	lifetime := l.ttl.Seconds() * (1 - l.jitter/2)
	known := l.rps * (1 - l.oneOff)
	room := l.near
	for k, share := range zipf(l.keys, l.zipf) {
		rate := known * share
		due := lifetime
		if l.ahead > 0 {
			due *= l.ahead
		}
		calls := 1 / (due + 1/rate)
		missed := math.Exp(-rate * (lifetime - due + l.stale.Seconds())) // that nobody asks until it is gone
		e.calls += calls
		e.misses += calls * missed
		e.entries += 1 - calls*missed/rate
		if cost := l.value + copyOverhead; k == 0 || room >= cost {
			room -= cost
			if l.near >= maxShare*cost {
				e.near += share * (1 - l.oneOff) * nearShare(rate/float64(l.instances), min(lifetime, l.nearAge.Seconds()))
			}
		}
	}
	oneOff := l.rps * l.oneOff
	e.calls += oneOff
	e.misses += oneOff
	e.entries += oneOff * (lifetime + l.stale.Seconds())
	e.hitRatio = 1 - e.misses/l.rps
	return e
}

// nearShare is the share of the requests for a key that copies answer in one process,
// which has rate of them a second. A copy lasts age; the next one is made when two reads
// come within a second.
func nearShare(rate, age float64) float64 {
	again := 1 - math.Exp(-rate) // that the next read comes within a second
	return rate * age / (rate*age + 1 + 1/again)
}

// Measured: see examples/bench/growth and the READMEs.
const (
	entryOverhead = 368       // bytes on the server beyond key and body, header included
	tagBytes      = 70        // of each tag of a response, with its share of the stamp
	sparedShare   = 0.10      // of its memory that a server needs free: Dragonfly evicts below that
	threadMemory  = 256 << 20 // at least, of each thread of Dragonfly
	captureBytes  = 64 << 20  // MaxCaptureBytes
	writeBuffer   = 32 << 20  // Background.WriteBuffer
	heapFactor    = 2         // GOGC=100
	keyBytes      = 66        // cacheaside:2:{GET:https://example.com/…}
	headerBytes   = 176       // of the entry itself, as it is sent
)

// valueBytes is what is sent of an entry.
func valueBytes(body int64) int64 { return body + keyBytes + headerBytes }

// entryBytes is what an entry takes on the server.
func entryBytes(body int64, tags int) int64 {
	return body + keyBytes + entryOverhead + int64(tags)*tagBytes
}

// sizing is what the calculator is given beyond the load.
type sizing struct {
	load
	body      int64
	tags      int
	cpus      int
	server    int64   // memory of the largest machine for one server
	threads   int     // of the server
	perThread float64 // commands a second
	network   float64 // of the server, bytes a second
}

func (z *sizing) check() error {
	var errs []error
	need := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	need(z.rps > 0, "-rps: give the requests per second of all instances together")
	need(z.keys > 0 && z.keys <= 100_000_000, "-keys: give how many different responses there are, 1 to 100,000,000")
	need(z.body > 0, "-body: give the size of a body in bytes, compressed if it is")
	need(z.ttl > 0, "-ttl: give the lifetime of a response, such as 1m")
	need(z.instances > 0 && z.cpus > 0, "-instances and -cpus: 1 at least")
	need(z.zipf >= 0 && z.tags >= 0 && z.near >= 0 && z.stale >= 0, "-zipf, -tags, -near and -stale must not be negative")
	need(z.oneOff >= 0 && z.oneOff < 1, "-one-off: use a number from 0 to less than 1")
	need(z.jitter >= 0 && z.jitter <= 0.9, "-jitter: use a number from 0 to 0.9")
	need(z.ahead >= 0 && z.ahead < 1, "-ahead: use a number from 0 to less than 1")
	need(z.near == 0 || z.nearAge > 0, "-near-age: give more than 0")
	need(z.server > 0 && z.threads > 0 && z.perThread > 0 && z.network > 0, "-server-memory, -server-threads, -server-commands and -server-network must be more than 0")
	return errors.Join(errs...)
}

// figures is what the calculator finds.
type figures struct {
	expected
	entry       int64   // bytes
	memory      float64 // of the server, with what it needs free
	dragonfly   float64 // the least that one starts with
	near        float64 // share of requests
	commands    float64 // per second
	bytes       float64 // from the server, per second
	connections int     // per instance and server
	all         int
	heap        float64 // per instance, for copies and buffers
	used        [3]float64
	nodes       int
}

func (z *sizing) figures() figures {
	z.value = valueBytes(z.body)
	f := figures{expected: expect(z.load), entry: entryBytes(z.body, z.tags)}
	f.near = f.expected.near
	f.memory = f.entries * float64(f.entry) / (1 - sparedShare)
	f.dragonfly = float64(z.threads) * threadMemory
	asked := z.rps * (1 - f.near)
	lookup := float64(commandsLookup)
	if z.tags > 0 {
		lookup += float64(z.tags)
	}
	f.commands = asked*lookup + f.calls*(commandsLock+commandsWrite)
	f.bytes = (asked - f.misses) * float64(z.value)
	f.connections = 1 << min(2, int(math.Log2(float64(z.cpus))))
	if z.near > 0 {
		f.connections++
	}
	f.all = f.connections * z.instances
	f.heap = heapFactor * (float64(z.near) + captureBytes + writeBuffer)
	f.used = [3]float64{f.memory / float64(z.server), f.commands / (float64(z.threads) * z.perThread), f.bytes / z.network}
	f.nodes = int(math.Ceil(max(f.used[0], f.used[1]/half, f.used[2]/half)))
	return f
}

// half of what a server can do in a second is for bursts.
const half = 0.5

// write prints the figures, each with how it comes about.
func (z *sizing) write(w io.Writer) error {
	f := z.figures()
	cluster := "no"
	if f.nodes > 1 {
		cluster = fmt.Sprintf("%d nodes", f.nodes)
	}
	t := report.Table{Head: []string{"what", "how much", "why"}}
	t.Add("entry on the server", report.Bytes(float64(f.entry)), fmt.Sprintf("body %d + key %d + %d + %d tags of %d", z.body, keyBytes, entryOverhead, z.tags, tagBytes))
	t.Add("entries at a time", report.Count(f.entries), fmt.Sprintf("of %s keys, those asked for within their lifetime, and one-off ones", report.Count(float64(z.keys))))
	t.Add("maxmemory", report.Bytes(f.memory), fmt.Sprintf("entries x entry / 0.9; Dragonfly with %d threads starts with %s at least", z.threads, report.Bytes(f.dragonfly)))
	t.Add("hit ratio", report.Share(f.hitRatio), "if nothing is evicted")
	t.Add("handler calls", report.Count(f.calls)+" /s", fmt.Sprintf("%s /s of them misses; without a cache %s /s", report.Count(f.misses), report.Count(z.rps)))
	t.Add("near hits", report.Share(f.near), report.Bytes(float64(z.near))+" in each instance")
	t.Add("server commands", report.Count(f.commands)+" /s", report.Share(f.used[1])+" of what it can do")
	t.Add("server network", report.Bytes(f.bytes)+"/s", report.Share(f.used[2])+" of what it has")
	t.Add("server memory", report.Share(f.used[0]), "of "+report.Bytes(float64(z.server)))
	t.Add("connections", strconv.Itoa(f.all), fmt.Sprintf("%d per instance and server", f.connections))
	t.Add("heap per instance", report.Bytes(f.heap), "2 x (copies + 64 MiB captured + 32 MiB to be written), at most")
	t.Add("cluster", cluster, "where memory, or twice the commands or the network, exceed one server")
	_, err := io.WriteString(w, t.Text())
	return err
}
