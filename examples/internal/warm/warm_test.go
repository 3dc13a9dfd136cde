package warm

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

func TestOwnHosts(t *testing.T) {
	for _, tt := range []struct {
		addr, at string
		want     []string
	}{
		{":8080", "[::]:8080", []string{"localhost:8080", "127.0.0.1:8080", "[::1]:8080"}},
		{"0.0.0.0:8080", "0.0.0.0:8080", []string{"localhost:8080", "127.0.0.1:8080", "[::1]:8080"}},
		{"127.0.0.1:0", "127.0.0.1:40123", []string{"127.0.0.1:40123", "localhost:40123", "[::1]:40123"}},
		{"localhost:80", "127.0.0.1:80", []string{"localhost", "127.0.0.1", "[::1]"}},
		{"blog.internal:8080", "10.1.2.3:8080", []string{"blog.internal:8080", "10.1.2.3:8080"}},
	} {
		at, err := net.ResolveTCPAddr("tcp", tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := ownHosts(tt.addr, at); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.addr, got, tt.want)
		}
	}
}

func TestProgress(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	for _, total := range []int{1, 5, 1000} {
		log.Reset()
		var bar bytes.Buffer
		for _, terminal := range []bool{false, true} {
			show, done := progress(&bar, total, terminal)
			for i := range total {
				show(cacheaside.WarmProgress{Done: i + 1, Total: total})
			}
			done()
			if !terminal && bar.Len() > 0 {
				t.Errorf("a bar in a file: %q", bar.String())
			}
		}
		if want := min(total, 10) - 1; strings.Count(log.String(), "warming up") != want {
			t.Errorf("%d requests: %d lines\n%s", total, strings.Count(log.String(), "warming up"), log.String())
		}
		if total > 1 && !strings.Contains(bar.String(), "warming up") || total > 1 && !strings.Contains(bar.String(), "%") {
			t.Errorf("the bar is %q", bar.String())
		}
	}
}

func TestSummary(t *testing.T) {
	report := cacheaside.WarmReport{Stored: 1, Present: 2, NotStored: 3, Failed: 7, NotRun: 1}
	for _, reason := range []string{"private", "set-cookie", "private"} {
		report.Results = append(report.Results, cacheaside.WarmResult{Outcome: cacheaside.WarmNotStored, Reason: reason})
	}
	for i := range 7 {
		report.Results = append(report.Results, cacheaside.WarmResult{URL: fmt.Sprint("http://localhost/", i), Outcome: cacheaside.WarmFailed, Err: errors.New("status 500")})
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	summarize(log, report, errors.New("seven have failed"))
	for _, want := range []string{
		`msg="warm-up is over" stored=1 present=2 not_stored=3 failed=7 reasons="private: 2, set-cookie: 1" not_run=1`,
		`url=http://localhost/4 error="status 500"`, "more_failures=2",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	out.Reset()
	summarize(log, cacheaside.WarmReport{}, errors.New("closed"))
	if strings.Contains(out.String(), "is over") || !strings.Contains(out.String(), "nothing was asked") {
		t.Errorf("%s", out.String())
	}
}
