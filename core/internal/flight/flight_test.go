package flight

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

type group = Group[int, string]

func TestFollowersGetTheOutcome(t *testing.T) {
	for _, want := range []Outcome{Retry, Shared, Failed, Pass} {
		synctest.Test(t, func(t *testing.T) {
			var g group
			f, leads, _ := g.Join("k")
			if !leads || f.Key() != "k" {
				t.Fatal("the first does not lead")
			}
			f.Leader = "mine"
			if _, leads := g.TryLead("k"); leads {
				t.Error("two leaders")
			}
			if _, leads, _ := g.Join("other"); !leads {
				t.Error("waits for another key")
			}
			const n = 10
			var got atomic.Int64
			for range n {
				go func() {
					same, leads, _ := g.Join("k")
					if leads || same != f {
						t.Error("not the flight under way")
						return
					}
					if o, v := same.Wait(t.Context(), 0, time.Hour); o == want && v == 7 {
						got.Add(1)
					} else {
						t.Errorf("%v, %d", o, v)
					}
				}()
			}
			synctest.Wait()
			if f.Waiting() != n || got.Load() != 0 {
				t.Errorf("%d wait, %d have gone on", f.Waiting(), got.Load())
			}
			if !f.End(want, 7) {
				t.Error("the first End did not count")
			}
			synctest.Wait()
			if got.Load() != n {
				t.Errorf("%d of %d got it", got.Load(), n)
			}
			if next, leads, _ := g.Join("k"); !leads || next == f {
				t.Error("an ended flight is still under way")
			}
		})
	}
}

func TestOnlyTheFirstEndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		f, _, _ := g.Join("k")
		g.Join("k")
		go f.End(Shared, 1)
		synctest.Wait()
		next, _, _ := g.Join("k")
		if f.End(Failed, 2) {
			t.Error("the second End counted")
		}
		if _, leads := g.TryLead("k"); leads {
			t.Error("a late End has ended the next flight")
		}
		if o, v := f.Wait(t.Context(), 0, time.Hour); o != Shared || v != 1 {
			t.Errorf("%v, %d", o, v)
		}
		next.End(Retry, 0)
		if g.Ended() != 2 {
			t.Errorf("%d flights have ended", g.Ended())
		}
	})
}

func TestEndedSince(t *testing.T) {
	var g group
	before := g.Ended()
	f, _, _ := g.Join("k")
	if f.EndedSince(before) {
		t.Error("ended before it ended")
	}
	f.End(Shared, 1)
	next, _, _ := g.Join("k")
	if !next.EndedSince(before) || next.EndedSince(g.Ended()) {
		t.Error("the last flight's end is not told from earlier ones")
	}
	next.End(Retry, 0)
	other := func() *Flight[int, string] { // in another slot
		for i := 0; ; i++ {
			if o, _, _ := g.Join(fmt.Sprint("o", i)); o.hash%slots != f.hash%slots {
				return o
			}
		}
	}()
	if other.EndedSince(before) {
		t.Error("another key's end counts")
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		f, _ := g.TryLead("k")
		f.Follow()
		go f.End(Shared, 3)
		if o, v := f.Wait(t.Context(), 0, time.Hour); o != Shared || v != 3 {
			t.Errorf("%v, %d", o, v)
		}
		ended, _ := g.TryLead("k")
		ended.End(Pass, 4)
		ended.Follow() // of what is over
		if o, v := ended.Wait(t.Context(), 0, time.Hour); o != Pass || v != 4 {
			t.Errorf("%v, %d", o, v)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		f, _, _ := g.Join("k")
		g.Join("k")
		start := time.Now()
		if o, _ := f.Wait(t.Context(), 0, 3*time.Second); o != TimedOut || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", o, time.Since(start))
		}
		g.Join("k")
		if o, _ := f.Wait(t.Context(), 0, -time.Second); o != TimedOut {
			t.Errorf("%v", o)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Join("k")
		start = time.Now()
		if o, _ := f.Wait(ctx, 0, time.Hour); o != Cancelled || time.Since(start) != time.Second {
			t.Errorf("%v after %v", o, time.Since(start))
		}
		if f.Waiting() != 0 {
			t.Errorf("%d wait after all have left", f.Waiting())
		}
		f.End(Retry, 0) // to nobody
	})
}

// TestOneLeader: never two for a key at a time, whoever ends the flights, and
// everyone who waits goes on.
func TestOneLeader(t *testing.T) {
	const workers, rounds, keys = 16, 2000, 3
	var g group
	var leaders [keys]atomic.Int64
	var enders, wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				k := (w + i) % keys
				key := fmt.Sprint(k)
				f, leads, _ := g.Join(key)
				if !leads {
					if o, v := f.Wait(context.Background(), 0, time.Minute); o != Shared || v != k {
						t.Errorf("%v, %d of %s", o, v, key)
						return
					}
					continue
				}
				if n := leaders[k].Add(1); n != 1 {
					t.Errorf("%d leaders of %s", n, key)
				}
				leaders[k].Add(-1)
				if i%2 == 0 {
					f.End(Shared, k)
				} else {
					enders.Go(func() { f.End(Shared, k) })
				}
			}
		})
	}
	wg.Wait()
	enders.Wait()
	for i := range g.shards {
		if n := len(g.shards[i].flights); n != 0 {
			t.Errorf("%d flights are left", n)
		}
	}
}

// TestInterleavings compares any order of calls with what they should do.
func TestInterleavings(t *testing.T) {
	type flight = *Flight[int, string]
	rapid.Check(t, func(rt *rapid.T) {
		var g group
		under := map[string]flight{} // the flight under way
		waiting := map[flight]int{}  // who has joined and not waited yet
		ends := map[flight]int{}     // what it ended with
		var all []flight
		begin := func(key string, f flight) {
			if under[key] != nil {
				rt.Fatalf("two leaders of %s", key)
			}
			under[key] = f
			all = append(all, f)
		}
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		key := rapid.SampledFrom([]string{"a", "b", "c"})
		some := func(rt *rapid.T) flight {
			if len(all) == 0 {
				rt.Skip("no flight yet")
			}
			return rapid.SampledFrom(all).Draw(rt, "flight")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"join": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				f, leads, _ := g.Join(k)
				if leads {
					begin(k, f)
				} else if waiting[f]++; f != under[k] {
					rt.Fatal("joined what is not under way")
				}
			},
			"lead": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				if f, leads := g.TryLead(k); leads {
					begin(k, f)
				} else if under[k] == nil {
					rt.Fatal("no leader where there is no flight")
				}
			},
			"follow": func(rt *rapid.T) { f := some(rt); f.Follow(); waiting[f]++ },
			"end": func(rt *rapid.T) {
				f := some(rt)
				_, over := ends[f]
				v := rapid.Int().Draw(rt, "value")
				if f.End(Shared, v) == over {
					rt.Fatal("not the first end alone counts")
				}
				if !over {
					ends[f] = v
					delete(under, f.Key())
				}
			},
			"wait": func(rt *rapid.T) {
				f := some(rt)
				if waiting[f] == 0 {
					rt.Skip("nobody follows")
				}
				waiting[f]--
				if v, over := ends[f]; over {
					if o, got := f.Wait(context.Background(), 0, time.Minute); o != Shared || got != v {
						rt.Fatalf("%v, %d, want %d", o, got, v)
					}
				} else if o, _ := f.Wait(gone, 0, time.Minute); o != Cancelled {
					rt.Fatalf("%v for one that has left", o)
				} else if f.Waiting() != waiting[f] {
					rt.Fatalf("%d wait, want %d", f.Waiting(), waiting[f])
				}
			},
		})
	})
}
