package coretest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Floor compares what a call of floor costs with one of ours, with so many clients at a
// time: the CPU time of this process, and of the server too, where that tells. Next
// makes for each client what gives its targets, and settle waits for what goes on after
// a call of ours.
//
// The two take turns, and the medians count, so that what else the machine does spoils
// neither. It reports "floor-ns" and "ours-ns" of CPU in this process for a call,
// "ratio" as floor/ours, and "both-ratio" with the server's.
func Floor(b *testing.B, server rueidis.Client, clients int, floor, ours NewServer, next func() func() string, settle func()) {
	const rounds = 16
	calls := 2000 + 100*clients
	round := func(newServer NewServer) (process, both float64) {
		var wg sync.WaitGroup
		serves := make([]func(), clients)
		for i := range serves {
			serve, target := newServer(), next()
			serves[i] = func() { serve(target()) }
		}
		atServer, here := serverCPU(server), processCPU()
		for _, serve := range serves {
			wg.Go(func() {
				for range calls / clients {
					serve()
				}
			})
		}
		wg.Wait()
		settle()
		here = processCPU() - here
		atServer = serverCPU(server) - atServer
		n := float64(calls / clients * clients)
		return float64(here) / n, float64(here+atServer) / n
	}
	for b.Loop() {
		var f, o, fb, ob []float64
		for i := range rounds {
			p, both := round(floor)
			q, both2 := round(ours)
			if i > 0 { // the first one only gets warm
				f, fb, o, ob = append(f, p), append(fb, both), append(o, q), append(ob, both2)
			}
		}
		b.ReportMetric(median(f), "floor-ns")
		b.ReportMetric(median(o), "ours-ns")
		b.ReportMetric(median(f)/median(o), "ratio")
		b.ReportMetric(median(fb)/median(ob), "both-ratio")
	}
	b.ReportMetric(0, "ns/op") // which is that of all of them together
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// serverCPU is what the server has used, as it says.
func serverCPU(client rueidis.Client) (used time.Duration) {
	text, _ := client.Do(context.Background(), client.B().Info().Section("cpu").Build()).ToString()
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			s, _ := strconv.ParseFloat(value, 64)
			used += time.Duration(s * float64(time.Second))
		}
	}
	return used
}
