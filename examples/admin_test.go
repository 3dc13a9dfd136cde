package examples

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestAdmin: metrics and profiles are at an address of their own, and nowhere else.
func TestAdmin(t *testing.T) {
	t.Parallel()
	for _, name := range frameworks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, name, "-admin", "127.0.0.1:0")
			for range 3 {
				p.get("/users/1")
			}
			m := regexp.MustCompile(`for operators url="(\S+)/#token=(\w+)" `).FindStringSubmatch(p.Output())
			if m == nil {
				t.Fatal("the address is not told")
			}
			text := func(url string) string {
				res, err := client.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			route := "/users/:id"
			if name == "chi" {
				route = "/users/{id}"
			}
			metrics := text(m[1] + "/metrics")
			for _, want := range []string{
				`cacheaside_requests_total{result="hit",route="` + route + `",tier="memory"} 2`,
				`cacheaside_misses_total{cause="cold",route="` + route + `"} 1`,
				`cacheaside_request_duration_seconds_count{result="hit",tier="memory"} 2`,
				"go_goroutines",
			} {
				if !strings.Contains(metrics, want) {
					t.Errorf("no %s in\n%s", want, metrics)
				}
			}
			if !strings.Contains(text(m[1]+"/"), "<title>") {
				t.Error("there is no inspector")
			}
			req, err := http.NewRequest(http.MethodGet, m[1]+"/api/routes", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+m[2])
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if !strings.Contains(string(b), route) {
				t.Errorf("the inspector knows nothing of %s: %d %s", route, res.StatusCode, b)
			}
			if !strings.Contains(text(m[1]+"/debug/pprof/"), "goroutine") {
				t.Error("there are no profiles")
			}
			if strings.Contains(text(p.base+"/metrics"), "cacheaside_") {
				t.Error("the metrics are for the public")
			}
			p.stop()
		})
	}
}
