package protocol

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"github.com/cacheaside/cacheaside/core/dragonfly"
	"github.com/cacheaside/cacheaside/core/internal/timely"
	"github.com/cacheaside/cacheaside/core/store"
	"github.com/cacheaside/cacheaside/core/storetest"
	"github.com/cacheaside/cacheaside/core/storetest/servers"
)

// TestScripts: a server does what the model's does. A number of the model stands for
// 128 of the server, so that a ring of two overflows where one of 256 does.
func TestScripts(t *testing.T) {
	t.Run("any server", func(t *testing.T) { conform(t, storetest.Server(t)) })
	t.Run("a server that has no time", func(t *testing.T) {
		p := storetest.StartServer(t, servers.RedisArgs("Dragonfly cannot forget the command TIME", "--rename-command", "TIME", ""))
		conform(t, p.Addr)
	})
}

const each = 128

func init() { timely.Now = func() time.Time { return time.Time{} } } // the model's numbers are small

func conform(t *testing.T, addr string) {
	client, err := dragonfly.NewClient(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s, err := dragonfly.Open(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{T: t, client: client, real: s, prefix: storetest.Prefix(), scripts: scripts{length: 2}, epochs: map[uint64]uint8{}}
		p.model.epochs = 0
		p.readJournal(t)
		t.Repeat(map[string]func(*rapid.T){
			"begin": p.begin, "write": p.write, "swap": p.swap, "bump": p.bump, "look": p.look,
			"read journal": p.readJournal, "write journal": p.writeJournal, "evict": p.evict,
		})
	})
}

// pair are the model's server and the real one, after the same steps.
type pair struct {
	*rapid.T
	scripts
	model    server
	client   rueidis.Client
	real     *dragonfly.Store
	prefix   string
	epochs   map[uint64]uint8 // of the model, by those of the server
	marks    []marks
	journals []journals
}

type marks struct {
	model mark
	real  store.Mark
}

type journals struct {
	model journal
	real  store.Journal
}

func (p *pair) key(name string) string { return p.prefix + "{tags}:" + name }
func (p *pair) clock() string          { return p.key("clock") }
func (p *pair) lock(n uint8) string    { return fmt.Sprint(p.prefix, "{url}:lock", n) }
func (p *pair) value(n int) string     { return fmt.Sprint(p.prefix, "{url}:value", n) }

func (p *pair) stamps(tags uint8) (keys []string) {
	for tag := range uint8(maxTags) {
		if tags&(1<<tag) != 0 {
			keys = append(keys, p.key(fmt.Sprint("t:", tag)))
		}
	}
	return keys
}

func token(n uint8) string { return fmt.Sprint("token-", n) }

// number is what a number of the server is in the model.
func number(n uint64) uint8 {
	if n == 0 {
		return 0
	}
	return uint8((n + 2*each - 2) / each)
}

// epoch is what an epoch of the server is in the model: that which the model has there,
// where it was not seen before.
func (p *pair) epoch(model uint8, got uint64) uint8 {
	e, ok := p.epochs[got]
	if got == 0 || ok {
		return e
	}
	for _, other := range p.epochs {
		if other == model {
			p.Fatalf("the server has another epoch, the model still has %d", model)
		}
	}
	p.epochs[got] = model
	return model
}

func same[T comparable](p *pair, what string, model, got T) {
	p.Helper()
	if model != got {
		p.Fatalf("%s: the model has %v, the server %v", what, model, got)
	}
}

func (p *pair) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *pair) seen(model mark, got store.Mark) {
	p.Helper()
	same(p, "mark", model, mark{p.epoch(model.epoch, got.Epoch), number(got.Seq)})
	p.marks = append(p.marks, marks{model, got})
}

// stamp compares one. What is of no epoch is no stamp, though it is there.
func (p *pair) stamp(model stamp, got store.Stamp) {
	p.Helper()
	model.there = model.epoch != 0
	same(p, "stamp", model, stamp{got.Epoch != 0, p.epoch(model.epoch, got.Epoch), number(got.Hard), number(got.Soft)})
}

func (p *pair) drawMark() marks {
	return p.marks[max(0, len(p.marks)-1-rapid.IntRange(0, 4).Draw(p.T, "marks ago"))]
}

func (p *pair) tags() uint8   { return uint8(rapid.IntRange(0, 1<<maxTags-1).Draw(p.T, "tags")) }
func (p *pair) tokens() uint8 { return uint8(rapid.IntRange(1, 3).Draw(p.T, "token")) }
func (p *pair) locks() uint8  { return uint8(rapid.IntRange(0, 1).Draw(p.T, "lock")) }

// content is what stands for a value on the server.
func content(v value) string {
	switch v.kind {
	case nothing:
		return ""
	case record:
		return "record"
	default:
		return fmt.Sprint(v)
	}
}

func (p *pair) begin(t *rapid.T) {
	lock, tok, at, tags := p.locks(), p.tokens(), rapid.IntRange(0, 1).Draw(t, "value"), p.tags()
	begun, err := p.real.Begin(t.Context(), store.Fill{
		Lock: p.lock(lock), Token: token(tok), TTL: time.Hour, Adopt: rapid.Bool().Draw(t, "adopt"),
		Key: p.value(at), Stamps: p.stamps(tags), Clock: p.clock(),
	})
	p.ok(err)
	same(p, "token", token(p.take(&p.model, lock, tok)), begun.Token)
	same(p, "value", content(p.model.values[at]), string(begun.Value))
	same(p, "found", p.model.values[at].kind != nothing, begun.Found)
	i := 0
	for tag, st := range p.model.stamps {
		if tags&(1<<tag) != 0 {
			p.stamp(st, begun.Stamps[i])
			i++
		}
	}
	p.time(&p.model)
	p.seen(p.model.mark(), begun.Mark)
}

func (p *pair) write(t *rapid.T) {
	lock, tok, tags, varied, since := p.locks(), p.tokens(), p.tags(), rapid.Bool().Draw(t, "varied"), p.drawMark()
	v := value{response, uint8(rapid.IntRange(0, 9).Draw(t, "version")), since.model.epoch, since.model.seq, tags, false}
	values := []store.Value{{Key: p.value(0), Data: []byte(content(v)), TTL: time.Hour}}
	if varied {
		values[0].Key = p.value(1)
		values = append(values, store.Value{Key: p.value(0), Data: []byte("record"), TTL: time.Hour})
	}
	written, err := p.real.Write(t.Context(), store.Write{
		Lock: p.lock(lock), Token: token(tok), Since: since.real, Clock: p.clock(), Stamps: p.stamps(tags), Values: values,
	})
	p.ok(err)
	var want store.Written
	want.Stored = p.scripts.write(&p.model, lock, tok, v, varied, false)
	if tags != 0 {
		want.Purged, want.Outdated = p.settle(&p.model, tags, since.model)
	}
	same(p, "written", want, written)
}

func (p *pair) swap(t *rapid.T) {
	lock, tok, next := p.locks(), p.tokens(), uint8(rapid.IntRange(0, 3).Draw(t, "next"))
	name := ""
	if next != 0 {
		name = token(next)
	}
	held, err := p.real.CompareAndSwap(t.Context(), p.lock(lock), token(tok), name, time.Hour)
	p.ok(err)
	same(p, "held", p.scripts.swap(&p.model, lock, tok, next), held)
}

func (p *pair) bump(t *rapid.T) {
	tag, soft := uint8(rapid.IntRange(0, int(tagNone)).Draw(t, "tag")), rapid.Bool().Draw(t, "soft")
	keys := append(p.stamps(1<<tag), p.fillers(each)...)[:each]
	at, err := p.real.Bump(t.Context(), p.clock(), keys, soft, 1, time.Hour)
	p.ok(err)
	p.seen(p.scripts.bump(&p.model, tag, soft), at)
}

// fillers are tags that nobody has.
func (p *pair) fillers(n int) (keys []string) {
	for i := range n {
		keys = append(keys, p.key("t:none"+strconv.Itoa(i)))
	}
	return keys
}

func (p *pair) look(t *rapid.T) {
	got, err := p.real.Stamps(t.Context(), nil, p.stamps(1<<maxTags-1))
	p.ok(err)
	for tag, st := range p.model.stamps {
		p.stamp(st, got[tag])
	}
	for at, v := range p.model.values {
		b, found, err := p.real.Get(t.Context(), p.value(at))
		p.ok(err)
		same(p, "value", content(v), string(b))
		same(p, "found", v.kind != nothing, found)
	}
	for lock, tok := range p.model.locks {
		held, err := p.real.CompareAndExtend(t.Context(), p.lock(uint8(lock)), token(max(tok, 1)), time.Hour)
		p.ok(err)
		same(p, "held", tok != 0, held)
	}
}

// the journal's text: of everything, and of what is elsewhere.
func (p *pair) text(j store.Journal) (all, elsewhere uint64) {
	if j.Text == "" {
		return j.Began, 0
	}
	_, err := fmt.Sscanf(j.Text, "%d %d", &all, &elsewhere)
	p.ok(err)
	return all, elsewhere
}

func (p *pair) journal(model journal, got store.Journal) {
	p.Helper()
	all, elsewhere := p.text(got)
	same(p, "journal", model, journal{true, p.epoch(model.epoch, got.Mark.Epoch), number(got.Began), number(all), number(elsewhere)})
	p.journals = append(p.journals, journals{model, got})
}

func (p *pair) readJournal(t *rapid.T) {
	got, err := p.real.ReadJournal(t.Context(), p.clock())
	p.ok(err)
	p.journal(p.scripts.readJournal(&p.model), got)
	p.seen(p.model.mark(), got.Mark)
}

func (p *pair) writeJournal(t *rapid.T) {
	if len(p.journals) == 0 {
		t.Skip("no journal yet")
	}
	old := p.journals[max(0, len(p.journals)-1-rapid.IntRange(0, 2).Draw(t, "journals ago"))]
	all := rapid.Bool().Draw(t, "all")
	numbers := [2]uint64{}
	numbers[0], numbers[1] = p.text(old.real)
	text := []string{fmt.Sprint(numbers[0]), fmt.Sprint(numbers[1])}
	if all {
		text[0] = store.Number
	} else {
		text[1] = store.Number
	}
	got, written, err := p.real.WriteJournal(t.Context(), p.clock(), old.real, strings.Join(text, " "))
	p.ok(err)
	model, want := p.scripts.writeJournal(&p.model, old.model, all)
	same(p, "written", want, written)
	p.journal(model, got)
	if written { // the rest of the numbers
		_, err := p.real.Bump(t.Context(), p.clock(), p.fillers(each-1), false, 1, time.Hour)
		p.ok(err)
	}
}

// evict removes a key, or puts something in its place that has no business there.
func (p *pair) evict(t *rapid.T) {
	n := rapid.IntRange(0, maxTags-1).Draw(t, "which")
	var key string
	garbage := []string{}
	switch rapid.SampledFrom([]string{"clock", "ring", "journal", "stamp", "value", "lock"}).Draw(t, "what") {
	case "clock":
		key, garbage = p.clock(), []string{"SET", "HSET"}
		p.model.clock = clock{}
	case "ring":
		key = p.clock() + ":ring"
		p.model.ring, p.model.ringLen = [maxRing]element{}, 0
	case "journal":
		key, garbage = p.clock()+":journal", []string{"SET", "HSET"}
		p.model.journal = journal{}
	case "stamp":
		key, garbage = p.stamps(1 << n)[0], []string{"SET", "HSET"}
		p.model.stamps[n] = stamp{}
	case "value":
		key = p.value(n % 2)
		p.model.values[n%2] = value{}
	case "lock":
		key, garbage = p.lock(uint8(n%2)), []string{"HSET"}
		p.model.locks[n%2] = 0
	}
	do := func(words ...string) {
		p.ok(p.client.Do(t.Context(), p.client.B().Arbitrary(words...).Build()).Error())
	}
	do("DEL", key)
	how := rapid.SampledFrom(append(garbage, "DEL")).Draw(t, "how")
	if how != "DEL" && key == p.stamps(1 << n)[0] {
		p.model.stamps[n].there = true // it is what a purge finds
	}
	switch how {
	case "SET":
		do("SET", key, "something else")
	case "HSET":
		do("HSET", key, "something", "else")
	}
}
