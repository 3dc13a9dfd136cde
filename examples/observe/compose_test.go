package observe

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type compose struct {
	Services map[string]struct {
		Image       string
		Build       struct{ Context, Dockerfile string }
		Command     any
		Environment map[string]string
		Ports       []string
		Volumes     []string
		DependsOn   []string `yaml:"depends_on"`
	}
	Volumes map[string]any
}

var (
	pinned   = regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	loopback = regexp.MustCompile(`^127\.0\.0\.1:\d+:\d+$`)
)

// TestCompose: there is no Docker where this runs, so it is read only: images have
// versions, what is mounted is there, nothing is published to others, and secrets
// come from outside.
func TestCompose(t *testing.T) {
	var c compose
	parse(t, "docker-compose.yml", &c)
	for _, want := range []string{"dragonfly", "gin", "fiber", "load", "prometheus", "grafana"} {
		if _, ok := c.Services[want]; !ok {
			t.Errorf("there is no service %s", want)
		}
	}
	mounted := map[string]string{} // from, by the path in a container
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build.Dockerfile == "") {
			t.Errorf("%s needs an image or a build", name)
		}
		if s.Image != "" && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s has no version", name, s.Image)
		}
		if s.Build.Dockerfile != "" {
			exists(t, path.Join(s.Build.Context, s.Build.Dockerfile))
		}
		for _, p := range s.Ports {
			if !loopback.MatchString(p) {
				t.Errorf("%s: port %s is published to others", name, p)
			}
		}
		for _, v := range s.Volumes {
			from, rest, _ := strings.Cut(v, ":")
			to, mode, _ := strings.Cut(rest, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: there is no volume %s", name, from)
				}
				continue
			}
			exists(t, from)
			if mode != "ro" {
				t.Errorf("%s may write to %s", name, from)
			}
			mounted[to] = from
		}
		for key, value := range s.Environment {
			if secret := regexp.MustCompile(`TOKEN|PASSWORD`).MatchString(key); secret && !regexp.MustCompile(`^\$\{\w+:\?.+\}$`).MatchString(value) {
				t.Errorf("%s: %s is not from outside, or nothing is said where it is missing: %s", name, key, value)
			}
		}
		for _, other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s: there is no service %s", name, other)
			}
		}
	}

	// What one file calls the things of another.
	dashboards := provider(t)
	if mounted[dashboards] == "" || !strings.HasPrefix(c.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], dashboards+"/") {
		t.Errorf("the dashboards are looked for in %s, where none is mounted", dashboards)
	}
	for to, from := range map[string]string{"/etc/prometheus/prometheus.yml": "./prometheus.yml", "/etc/prometheus/rules.yml": "./rules.yml"} {
		if mounted[to] != from {
			t.Errorf("%s is %q", to, mounted[to])
		}
	}
	var p struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	parse(t, "prometheus.yml", &p)
	var targets []string
	for _, s := range p.ScrapeConfigs {
		for _, c := range s.StaticConfigs {
			targets = append(targets, c.Targets...)
		}
	}
	slices.Sort(targets)
	if want := []string{"dragonfly:6379", "fiber:9090", "gin:9090"}; !slices.Equal(targets, want) {
		t.Errorf("Prometheus scrapes %q, want %q", targets, want)
	}
	for _, name := range []string{"gin", "fiber"} {
		if got := c.Services[name].Environment["ADMIN"]; got != ":9090" {
			t.Errorf("%s: ADMIN is %q", name, got)
		}
		if got := c.Services[name].Environment["DRAGONFLY_ADDR"]; got != "dragonfly:6379" {
			t.Errorf("%s: DRAGONFLY_ADDR is %q", name, got)
		}
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(read(t, "Dockerfile"), -1) {
		if from[1] != "scratch" && !pinned.MatchString(from[1]) {
			t.Errorf("Dockerfile: the image %s has no version", from[1])
		}
	}
}

// TestComposeSettings: the services know the settings that they are given.
func TestComposeSettings(t *testing.T) {
	var c compose
	parse(t, "docker-compose.yml", &c)
	for _, name := range []string{"gin", "fiber"} {
		help := start(t, programAt(name), "-help")
		<-help.Done
		for key := range c.Services[name].Environment {
			if !regexp.MustCompile(`environment ` + key + `\b`).MatchString(help.Output()) {
				t.Errorf("%s knows no %s", name, key)
			}
		}
	}
}

// provider is where Grafana looks for dashboards; its data source is the one they ask.
func provider(t *testing.T) string {
	t.Helper()
	var s struct {
		Datasources []struct{ Name, UID, Type, URL string }
	}
	parse(t, "grafana/provisioning/datasources/prometheus.yml", &s)
	if len(s.Datasources) != 1 || s.Datasources[0].UID != "prometheus" || s.Datasources[0].Type != "prometheus" || s.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("the data sources are %+v", s.Datasources)
	}
	var d struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	parse(t, "grafana/provisioning/dashboards/cacheaside.yml", &d)
	if len(d.Providers) != 1 || d.Providers[0].Type != "file" {
		t.Fatalf("the providers of dashboards are %+v", d.Providers)
	}
	return d.Providers[0].Options.Path
}

func parse(t *testing.T, name string, to any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func exists(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}

// TestAlertsAreDescribed: each alert says how bad it is, what it means and what to do,
// and leads to a section that is there.
func TestAlertsAreDescribed(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	parse(t, "rules.yml", &rules)
	page := map[string]bool{"CacheBreakerOpen": true, "CachePurgeNotAcknowledged": true}
	doc, tests, alerts := read(t, "ALERTS.md"), read(t, "rules_test.yml"), 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts++
			want := "ticket"
			if page[r.Alert] {
				want = "page"
			}
			if got := r.Labels["severity"]; got != want {
				t.Errorf("%s has the severity %q, want %q", r.Alert, got, want)
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 100 {
				t.Errorf("%s has the annotations %q", r.Alert, r.Annotations)
			}
			link := "https://github.com/cacheaside/cacheaside/blob/main/examples/observe/ALERTS.md#" + strings.ToLower(r.Alert)
			if r.Annotations["runbook_url"] != link || !strings.Contains(doc, "\n## "+r.Alert+"\n") {
				t.Errorf("%s leads to %s, which is not there", r.Alert, r.Annotations["runbook_url"])
			}
			fires := regexp.MustCompile(`alertname: ` + r.Alert + `[,\s]+exp_alerts:`).MatchString(tests)
			silent := regexp.MustCompile(`alertname: ` + r.Alert + `\}`).MatchString(tests)
			if !fires || !silent {
				t.Errorf("%s: tested that it fires: %v, that it is silent: %v", r.Alert, fires, silent)
			}
		}
	}
	if n := strings.Count(doc, "\n## Cache"); n != alerts || alerts != 8 {
		t.Errorf("%d alerts, and ALERTS.md has %d sections", alerts, n)
	}
}
