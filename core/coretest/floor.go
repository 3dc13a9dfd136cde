package coretest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Floor compares what a request costs that floor serves with one that ours does, for so
// many clients at a time: the CPU time of this process, and of the store's server too,
// where that tells. The clients are another process, and come over connections of
// HTTP/1.1 that they keep. Settle waits for what goes on after an answer of ours.
//
// The two take turns, and the medians count, so that what else the machine does spoils
// neither. It reports "floor-ns" and "ours-ns" of CPU in this process for a request,
// "ratio" as floor/ours, and "both-ratio" with the server's. With -short it only tries.
func Floor(b *testing.B, server rueidis.Client, clients int, floor, ours BenchApp, miss bool, settle func()) {
	rounds, calls := 16, 2000+100*clients
	if testing.Short() {
		rounds, calls = 2, 4*clients
	}
	listen := func(app BenchApp) (addr string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go app.Serve(l)
		b.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	floorAt, oursAt := listen(floor), listen(ours)
	round := func(addr string) (process, both float64) {
		first := 0
		if miss {
			first = int(lastTarget.Add(uint64(calls))) - calls + 1
		}
		atServer, here := serverCPU(server), processCPU()
		client := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=.")
		client.Env = append(os.Environ(), clientEnv+"="+fmt.Sprintf("%s %d %d %d", addr, clients, calls, first))
		if out, err := client.CombinedOutput(); err != nil {
			b.Fatalf("the clients: %v: %s", err, out)
		}
		settle()
		here = processCPU() - here
		atServer = serverCPU(server) - atServer
		n := float64(calls / clients * clients)
		return float64(here) / n, float64(here+atServer) / n
	}
	for b.Loop() {
		var f, o, fb, ob []float64
		for i := range rounds {
			p, both := round(floorAt)
			q, both2 := round(oursAt)
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

// clientEnv has a process of this program be the clients of [Floor].
const clientEnv = "CACHEASIDE_BENCH_CLIENT"

// beClients asks for targets, and ends the process, where it was started for that.
func beClients() {
	var addr string
	var clients, calls, first int
	if n, _ := fmt.Sscan(os.Getenv(clientEnv), &addr, &clients, &calls, &first); n < 4 {
		return
	}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			in := bufio.NewReaderSize(conn, 8<<10)
			for n := i; n < calls; n += clients {
				target := BenchTarget
				if first > 0 {
					target = targetNumber(uint64(first + n))
				}
				if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", strings.TrimPrefix(target, benchHost)); err != nil {
					panic(err)
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					panic(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(body, BenchBody) {
					panic(fmt.Sprint("another body: ", len(body), err))
				}
			}
		})
	}
	wg.Wait()
	os.Exit(0)
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
