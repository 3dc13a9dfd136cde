package observe

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// board is what of a dashboard is looked at here.
type board struct {
	UID, Title    string
	SchemaVersion int
	Refresh       string
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct {
		List []struct {
			Name, Expr string
			BuiltIn    int
			Datasource datasource
		}
	}
}

type variable struct {
	Name, Type, AllValue string
	Query                query
	Datasource           datasource
}

// query of a variable: an object, or a text where it is for a data source.
type query struct{ Query string }

func (q *query) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"`)) {
		return json.Unmarshal(b, &q.Query)
	}
	type plain query
	return json.Unmarshal(b, (*plain)(q))
}

type datasource struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct {
		Defaults  struct{ Unit string }
		Overrides []struct {
			Matcher struct{ ID, Options string }
		}
	}
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                datasource
		Instant, Range            bool
	}
	Panels []panel
}

func dashboard(t *testing.T) *board {
	t.Helper()
	d := new(board)
	if err := json.Unmarshal([]byte(read(t, "grafana/dashboards/cacheaside.json")), d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expression is one that Prometheus is asked, and where it is.
type expression struct{ In, Expr, Legend string }

func (d *board) expressions() (all []expression) {
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all = append(all, expression{"panel " + p.Title + " " + t.RefID, t.Expr, t.LegendFormat})
		}
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 {
			all = append(all, expression{"annotation " + a.Name, a.Expr, ""})
		}
	}
	return all
}

// Units of Grafana, of which it has some hundred more.
var units = map[string]bool{"percentunit": true, "reqps": true, "ops": true, "s": true, "bytes": true, "Bps": true, "short": true, "none": true}

// TestDashboardForm: what Grafana would not complain about, and show wrongly.
func TestDashboardForm(t *testing.T) {
	d := dashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("the dashboard has the uid %q, title %q, version of the schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	known := datasource{"prometheus", "${datasource}"}
	for _, v := range d.Templating.List {
		if v.Name == "datasource" {
			if v.Type != "datasource" || v.Query.Query != "prometheus" {
				t.Errorf("variable %s is a %s of %q", v.Name, v.Type, v.Query.Query)
			}
		} else if v.Datasource != known || v.AllValue == "" {
			t.Errorf("variable %s asks %v, and all is %q", v.Name, v.Datasource, v.AllValue)
		}
	}
	ids, titles := map[int]bool{}, map[string]string{}
	grid := map[[2]int]string{}
	section, bottom := "", 0
	for _, p := range d.Panels {
		name := section + "/" + p.Title
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: the id %d is missing or taken", name, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 || g.Y < 0 {
			t.Errorf("%s is not in the grid: %+v", name, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := grid[[2]int{x, y}]; other != "" {
					t.Fatalf("%s is on %s", name, other)
				}
				grid[[2]int{x, y}] = name
			}
		}
		if p.Type == "row" {
			section = p.Title
			if len(p.Panels) > 0 || p.GridPos.Y < bottom {
				t.Errorf("the row %s has panels in it, or is not below the one before", section)
			}
			bottom = p.GridPos.Y
			continue
		}
		if p.GridPos.Y <= bottom {
			t.Errorf("%s is above its row", name)
		}
		if p.Title == "" || titles[name] != "" {
			t.Errorf("%s: the title is missing or taken", name)
		}
		titles[name] = p.Type
		switch {
		case p.Type != "stat" && p.Type != "timeseries" && p.Type != "table":
			t.Errorf("%s is a %q", name, p.Type)
		case !strings.HasSuffix(p.Description, "."):
			t.Errorf("%s has the description %q", name, p.Description)
		case p.Datasource != known:
			t.Errorf("%s asks %v", name, p.Datasource)
		case !units[p.FieldConfig.Defaults.Unit]:
			t.Errorf("%s has the unit %q", name, p.FieldConfig.Defaults.Unit)
		case len(p.Targets) == 0:
			t.Errorf("%s asks nothing", name)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] || q.Datasource != known || q.Instant == q.Range || q.Expr == "" {
				t.Errorf("%s: the query %+v", name, q)
			}
			refs[q.RefID] = true
			if len(p.Targets) > 1 && q.LegendFormat == "" {
				t.Errorf("%s: the query %s has no legend", name, q.RefID)
			}
			// What is alike in a selection of jobs is not to be added up over the others.
			for _, metric := range regexp.MustCompile(`(cacheaside|dragonfly)_\w+`).FindAllStringIndex(q.Expr, -1) {
				rest := q.Expr[metric[1]:]
				want := `{job=~"$job",instance=~"$instance"`
				if strings.HasPrefix(q.Expr[metric[0]:], "dragonfly") {
					want = `{instance=~"$server"`
				}
				if !strings.HasPrefix(rest, want) {
					t.Errorf("%s: %s is not of what is selected", name, q.Expr[metric[0]:metric[1]])
				}
			}
			if strings.Contains(q.Expr, "rate(") && !strings.Contains(q.Expr, "[$__rate_interval]") {
				t.Errorf("%s: a rate over a fixed time: %s", name, q.Expr)
			}
		}
	}
	for _, want := range []string{"Outcomes", "Causes", "Routes", "Latency", "Store", "Purges", "Server"} {
		found := false
		for name := range titles {
			found = found || strings.HasPrefix(name, want)
		}
		if !found {
			t.Errorf("there is no row %s", want)
		}
	}
}

// TestDashboardNames: the metrics of the dashboard and of the rules, and their labels'
// names and values, are those of core/prom.
func TestDashboardNames(t *testing.T) {
	metrics := golden(t)
	texts := []string{read(t, "rules.yml")}
	for _, e := range dashboard(t).expressions() {
		texts = append(texts, e.Expr)
	}
	seen := 0
	for _, text := range texts {
		for _, m := range regexp.MustCompile(`\b(cacheaside_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
			name := m[1]
			if strings.Contains(text, "job:"+name+":") || strings.Contains(text, "job_op:"+name+":") {
				continue // of a recording rule
			}
			labels, ok := metrics[name]
			if !ok {
				name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
				labels, ok = metrics[name]
			}
			if !ok {
				t.Errorf("core/prom has no metric %s", name)
				continue
			}
			seen++
			for _, l := range regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
				if l[1] == "job" || l[1] == "instance" {
					continue
				}
				for value := range strings.SplitSeq(l[2], "|") {
					if !labels[l[1]][value] {
						t.Errorf("%s has no %s=%q", name, l[1], value)
					}
				}
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d metrics were found", seen)
	}
}

// golden is what core/prom says of its metrics: the values of each label.
func golden(t *testing.T) map[string]map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]map[string]bool{}
	name := ""
	for _, line := range lines(read(t, "../../core/prom/testdata/metrics.golden")) {
		if m := regexp.MustCompile(`^(\w+) (counter|gauge|histogram)$`).FindStringSubmatch(line); m != nil {
			name = m[1]
			all[name] = map[string]map[string]bool{}
		} else if m := regexp.MustCompile(`^\t(\w+): (.+)$`).FindStringSubmatch(line); m != nil {
			values := map[string]bool{}
			for v := range strings.FieldsSeq(m[2]) {
				values[v] = true
			}
			all[name][m[1]] = values
		}
	}
	return all
}
