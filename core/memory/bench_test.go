package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/memory"
	"github.com/cacheaside/cacheaside/core/store"
)

// atOnce runs op by 1, 2 and 8 goroutines. It gets a number that no other call does.
func atOnce(b *testing.B, op func(b *testing.B, i int)) {
	for _, n := range []int{1, 2, 8} {
		b.Run(strconv.Itoa(n)+" goroutines", func(b *testing.B) {
			b.ReportAllocs()
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(n, runtime.NumCPU())))
			b.SetParallelism((n + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(next.Add(1)) << 32; pb.Next(); i++ {
					op(b, i)
				}
			})
		})
	}
}

const benchEntries = 1000

// benchStore has entries with so many tags, of which the first is one that all have.
func benchStore(b *testing.B, tags int) (s *memory.Store, keys []string, stamps [][]string) {
	b.Helper()
	s = open(b, 256<<20)
	keys, stamps = make([]string, benchEntries), make([][]string, benchEntries)
	for i := range keys {
		keys[i] = "cacheaside:2:{GET:https://example.test/blogs/" + strconv.Itoa(i) + "}"
		stamps[i] = benchTags(tags, i)
		put(b, s, keys[i], make([]byte, 1024), time.Hour, stamps[i]...)
	}
	return s, keys, stamps
}

func benchTags(n, entry int) []string {
	tags := make([]string, n)
	for j := range tags {
		tags[j] = "cacheaside:2:{tags}:t:site"
		if j > 0 {
			tags[j] = fmt.Sprintf("cacheaside:2:{tags}:t:blog-%d-%d", j, entry)
		}
	}
	return tags
}

func BenchmarkGet(b *testing.B) {
	s, keys, _ := benchStore(b, 0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	b.Run("hit", func(b *testing.B) {
		atOnce(b, func(b *testing.B, i int) {
			if _, found, err := s.Get(ctx, keys[i%benchEntries]); !found || err != nil {
				b.Fatal(found, err)
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		atOnce(b, func(b *testing.B, _ int) {
			if _, found, err := s.Get(ctx, "cacheaside:absent"); found || err != nil {
				b.Fatal(found, err)
			}
		})
	})
}

func BenchmarkGetStamped(b *testing.B) {
	for _, tags := range []int{0, 1, 5} {
		b.Run(strconv.Itoa(tags)+" tags", func(b *testing.B) {
			s, keys, stamps := benchStore(b, tags)
			atOnce(b, func(b *testing.B, i int) {
				var room [8]store.Stamp
				if _, found, _, err := s.GetStamped(context.Background(), keys[i%benchEntries], room[:0], stamps[i%benchEntries]); !found || err != nil {
					b.Fatal(found, err)
				}
			})
		})
	}
}

// BenchmarkFill stores new keys, with the first tag shared by all and the others not.
func BenchmarkFill(b *testing.B) {
	for _, tags := range []int{0, 1, 5} {
		b.Run(strconv.Itoa(tags)+" tags", func(b *testing.B) {
			s, _, stamps := benchStore(b, tags)
			value := make([]byte, 1024)
			atOnce(b, func(b *testing.B, i int) {
				put(b, s, "cacheaside:2:{GET:https://example.test/new/"+strconv.Itoa(i)+"}", value, time.Minute, stamps[i%benchEntries]...)
			})
		})
	}
}

func BenchmarkSet(b *testing.B) {
	s, keys, _ := benchStore(b, 0)
	value := make([]byte, 1024)
	atOnce(b, func(b *testing.B, i int) {
		if err := s.Set(context.Background(), keys[i%benchEntries], value, time.Minute); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkPurge purges tags of their own, a tag that all entries have, and URLs.
func BenchmarkPurge(b *testing.B) {
	s, keys, stamps := benchStore(b, 5)
	ctx := context.Background()
	for j, name := range []string{"a tag of all", "a tag of one"} {
		b.Run(name, func(b *testing.B) {
			atOnce(b, func(b *testing.B, i int) {
				if _, err := s.Bump(ctx, "clock", stamps[i%benchEntries][j:j+1], false, 1, time.Hour); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
	b.Run("a key", func(b *testing.B) {
		atOnce(b, func(b *testing.B, i int) {
			if err := s.Delete(ctx, keys[i%benchEntries]); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkLocalStamps reads what a hit reads after each purge of anything.
func BenchmarkLocalStamps(b *testing.B) {
	s, _, stamps := benchStore(b, 5)
	atOnce(b, func(b *testing.B, i int) {
		var room [8]store.Stamp
		if _, _, _, found := s.LocalStamps(room[:0], stamps[i%benchEntries]); !found {
			b.Fatal("a stamp is gone")
		}
	})
}

// BenchmarkJudgedBesidePurges is a hit while other tags are purged a thousand times a
// second, or none.
func BenchmarkJudgedBesidePurges(b *testing.B) {
	for _, purges := range []int{0, 1000} {
		for _, tags := range []int{0, 5} {
			b.Run(fmt.Sprintf("%d purges, %d tags", purges, tags), func(b *testing.B) {
				s, keys, _ := benchStore(b, tags)
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					for i := 0; purges > 0; i++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Second / time.Duration(purges)):
							bump(b, s, "other "+strconv.Itoa(i))
						}
					}
				}()
				atOnce(b, func(b *testing.B, i int) {
					if _, _, _, found := s.GetJudged(keys[i%benchEntries]); !found {
						b.Fatal("not found")
					}
				})
				close(stop)
				<-done
			})
		}
	}
}
