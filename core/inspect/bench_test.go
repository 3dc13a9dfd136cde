package inspect

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/observe"
)

// hitOf is a hit as the engine tells of it.
func hitOf(route, key string) observe.Event {
	return observe.Event{
		Kind: observe.KindRequest, Context: context.Background(), Time: time.Now(), Total: 80 * time.Microsecond,
		Age: 3 * time.Second, TTL: 27 * time.Second, Saved: 40 * time.Millisecond, Route: route, Policy: "blogs",
		Method: observe.MethodGet, Status: 200, Result: observe.ResultHit, Tier: observe.TierNear, BodyBytes: 4321, Key: key,
	}
}

func keyNamed(n int) string {
	return "cacheaside:2:{GET:https://example.com/blogs/" + strconv.Itoa(n) + "?page=2}"
}

// BenchmarkHit is the cost of the recorder to a hit. Most keys are none that is counted.
func BenchmarkHit(b *testing.B) {
	r := NewRecorder(nil)
	events := make([]observe.Event, 4096)
	for i := range events {
		events[i] = hitOf("/blogs/:id", keyNamed(i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Observe(&events[i&4095])
		i++
	}
}

func BenchmarkHitParallel(b *testing.B) {
	r := NewRecorder(nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		e := hitOf("/blogs/:id", keyNamed(7))
		for pb.Next() {
			r.Observe(&e)
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	r := NewRecorder(nil)
	events := make([]observe.Event, 4096)
	for i := range events {
		events[i] = hitOf("/blogs/:id", keyNamed(i))
		events[i].Result, events[i].Cause = observe.ResultMiss, observe.CauseCold
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Observe(&events[i&4095])
		i++
	}
}

func BenchmarkStatus(b *testing.B) {
	r := NewRecorder(nil)
	b.ReportAllocs()
	for b.Loop() {
		var s Status
		r.status(&s)
	}
}

// BenchmarkHour is what the first request of an hour pays, with all routes and counters in use.
func BenchmarkHour(b *testing.B) {
	c := newClock()
	r := NewRecorder(c.now)
	for i := range 20_000 {
		c.told(r, func(e *observe.Event) {
			missed(e)
			e.Route, e.Key = "/"+strconv.Itoa(i%256), keyNamed(i)
		})
	}
	for b.Loop() {
		c.forward(time.Hour)
		c.told(r, plain)
	}
}
