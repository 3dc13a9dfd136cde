package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

func rate(f figures) float64        { return f.rate }
func cpu(f figures) float64         { return f.cpu }
func serverCPUOf(f figures) float64 { return f.serverCPU }

// both is what process and server use together.
func both(f figures) float64 {
	if math.IsNaN(f.serverCPU) {
		return f.cpu
	}
	return f.cpu + f.serverCPU
}

// full has everything of one situation.
func (r *results) full(at situation) *report.Table {
	switch at.how {
	case cold:
		return r.crowd(at)
	case lost:
		return r.gone(at)
	}
	t := &report.Table{Head: []string{"what", "in", "req/s", "× no cache", "× floor", "CPU, process", "CPU, server", "p50", "p99"}}
	for _, c := range r.part(at.id) {
		p := func(figure func(figures) float64) string { return r.sample(at.id, c, figure).Spread(report.Took) }
		t.Add(c.Kind.String(), c.Framework, r.sample(at.id, c, rate).Spread(report.Count),
			r.ratio(at.id, c, choice{none, c.Framework}, rate).Spread(report.Ratio),
			r.ratio(at.id, c, choice{c.Kind.floor(), c.Framework}, rate).Spread(report.Ratio),
			p(cpu), p(serverCPUOf), p(func(f figures) float64 { return f.p50 }), p(func(f figures) float64 { return f.p99 }))
	}
	return t
}

// crowd is of many clients that ask for a cold key.
func (r *results) crowd(at situation) *report.Table {
	t := &report.Table{Head: []string{"what", "in", "calls of the handler", "all have their answer after"}}
	for _, c := range r.part(at.id) {
		t.Add(c.Kind.String(), c.Framework, r.sample(at.id, c, func(f figures) float64 { return f.calls }).Spread(report.Count),
			r.sample(at.id, c, func(f figures) float64 { return f.took }).Spread(report.Took))
	}
	return t
}

// gone is of a server that is no more.
func (r *results) gone(at situation) *report.Table {
	t := &report.Table{Head: []string{"what", "answers/s", "errors", "from the handler", "p50", "p99", "longest"}}
	for _, c := range r.part(at.id) {
		took := func(figure func(figures) float64) string { return r.sample(at.id, c, figure).Spread(report.Took) }
		share := func(figure func(figures) float64) string { return r.sample(at.id, c, figure).Spread(report.Share) }
		t.Add(c.Kind.String(), r.sample(at.id, c, rate).Spread(report.Count),
			share(func(f figures) float64 { return f.errors }), share(func(f figures) float64 { return f.calls }),
			took(func(f figures) float64 { return f.p50 }), took(func(f figures) float64 { return f.p99 }), took(func(f figures) float64 { return f.longest }))
	}
	return t
}

// lasting are the situations that go on as long as one likes, of which there are results.
func (r *results) lasting() (some []situation) {
	for _, at := range r.situations {
		if (at.how == hit || at.how == miss) && r.has(at.id) {
			some = append(some, at)
		}
	}
	return some
}

// across are the kinds in one framework, by situation.
func (r *results) across(framework string, cell func(at situation, c choice) string) *report.Table {
	t := &report.Table{Head: []string{"in " + framework}}
	some := r.lasting()
	for _, at := range some {
		t.Head = append(t.Head, at.name)
	}
	for _, c := range r.choices {
		if c.Framework != framework {
			continue
		}
		row := []string{c.Kind.String()}
		for _, at := range some {
			if len(r.took[at.id][c]) == 0 {
				row = append(row, "–")
				continue
			}
			row = append(row, cell(at, c))
		}
		t.Add(row...)
	}
	return t
}

// speed is how many requests a second there are.
func (r *results) speed(framework string) *report.Table {
	return r.across(framework, func(at situation, c choice) string { return r.sample(at.id, c, rate).Spread(report.Count) })
}

// cost is what a request takes of the processor, in process and server.
func (r *results) cost(framework string) *report.Table {
	return r.across(framework, func(at situation, c choice) string {
		process, server := r.sample(at.id, c, cpu), r.sample(at.id, c, serverCPUOf)
		if len(server) == 0 {
			return report.Took(process.Median())
		}
		return report.Took(process.Median()) + " + " + report.Took(server.Median())
	})
}

// gain is how many times the requests of no cache there are, and of the floor.
func (r *results) gain(framework string) *report.Table {
	return r.across(framework, func(at situation, c choice) string {
		over := r.ratio(at.id, c, choice{none, framework}, rate)
		floor := r.ratio(at.id, c, choice{c.Kind.floor(), framework}, rate)
		if len(floor) == 0 {
			return over.Spread(report.Ratio)
		}
		return report.Ratio(over.Median()) + ", floor " + report.Ratio(floor.Median())
	})
}

// byFramework is a figure of one situation in all frameworks.
func (r *results) byFramework(id string, cell func(c choice) string) *report.Table {
	some := r.part(id)
	t := &report.Table{Head: []string{""}}
	for _, f := range frameworks {
		if slices.ContainsFunc(some, func(c choice) bool { return c.Framework == f }) {
			t.Head = append(t.Head, f)
		}
	}
	for _, k := range kindsOf(some) {
		row := []string{k.String()}
		for _, f := range t.Head[1:] {
			if !slices.Contains(some, choice{k, f}) {
				row = append(row, "–")
				continue
			}
			row = append(row, cell(choice{k, f}))
		}
		t.Add(row...)
	}
	return t
}

// hits compares the frameworks.
func (r *results) hits() *report.Table {
	return r.byFramework("hit-1", func(c choice) string {
		return r.sample("hit-1", c, rate).Spread(report.Count) + ", " + report.Took(r.sample("hit-1", c, both).Median())
	})
}

// herd compares what a cold key does in the frameworks.
func (r *results) herd() *report.Table {
	return r.byFramework("cold", func(c choice) string {
		return r.sample("cold", c, func(f figures) float64 { return f.calls }).Spread(report.Count) + " in " +
			report.Took(r.sample("cold", c, func(f figures) float64 { return f.took }).Median())
	})
}

// costChart is what a request takes in one framework, in all situations.
func (r *results) costChart(framework string) report.Chart {
	chart := report.Chart{
		Name: "cost", Title: "CPU of a request in " + framework + ": hits and a miss",
		YLabel: "µs, process and server together", LogY: true,
	}
	some := r.lasting()
	for _, at := range some {
		chart.Groups = append(chart.Groups, at.short)
	}
	for _, c := range r.choices {
		if c.Framework != framework {
			continue
		}
		line := report.Series{Name: c.Kind.String()}
		for _, at := range some {
			line.Points = append(line.Points, scaled(r.sample(at.id, c, both), 1e-3))
		}
		chart.Series = append(chart.Series, line)
	}
	return chart
}

// scaled is a sample as a point of a chart.
func scaled(s report.Sample, by float64) report.Point {
	p := s.Point(0)
	p.Y, p.Low, p.High = p.Y*by, p.Low*by, p.High*by
	return p
}

// hitChart compares the frameworks.
func (r *results) hitChart() report.Chart {
	chart := report.Chart{Name: "frameworks", Title: "Hits of 1 KiB", YLabel: "requests a second"}
	some := r.part("hit-1")
	for _, c := range some {
		if !slices.Contains(chart.Groups, c.Framework) {
			chart.Groups = append(chart.Groups, c.Framework)
		}
	}
	for _, k := range kindsOf(some) {
		if k.isFibers() {
			continue
		}
		line := report.Series{Name: k.String()}
		for _, f := range chart.Groups {
			line.Points = append(line.Points, r.sample("hit-1", choice{k, f}, rate).Point(0))
		}
		chart.Series = append(chart.Series, line)
	}
	return chart
}

// lostChart is how long clients wait when the server goes.
func (r *results) lostChart(at situation) report.Chart {
	chart := report.Chart{Name: at.id, Title: "Longest waits: " + at.name, YLabel: "ms", LogY: true}
	for _, part := range []struct {
		name   string
		figure func(figures) float64
	}{{"median", func(f figures) float64 { return f.p50 }}, {"99 %", func(f figures) float64 { return f.p99 }}, {"longest", func(f figures) float64 { return f.longest }}} {
		line := report.Series{Name: part.name}
		for _, c := range r.part(at.id) {
			line.Points = append(line.Points, scaled(r.sample(at.id, c, part.figure), 1e-6))
		}
		chart.Series = append(chart.Series, line)
	}
	for _, c := range r.part(at.id) {
		chart.Groups = append(chart.Groups, strings.TrimPrefix(strings.TrimPrefix(c.Kind.String(), "Fiber's cache, "), "cacheaside, "))
	}
	return chart
}

// facts are what the figures are of.
func (m *measuring) facts(r *results, interrupted bool) []report.Fact {
	name := "at DRAGONFLY_ADDR"
	if m.own {
		name = string(m.store.Kind) + " on the same machine"
	}
	rounds := 0
	for _, at := range r.situations {
		rounds = max(rounds, r.rounds(at.id))
	}
	said := strconv.Itoa(rounds)
	if interrupted {
		said += ", then interrupted"
	}
	return append([]report.Fact{report.Today()}, append(report.Machine(),
		report.Fact{Name: "server", Value: name},
		report.Fact{Name: "rounds", Value: said},
		report.Fact{Name: "measure", Value: m.opt.time.String()},
		report.Fact{Name: "clients", Value: fmt.Sprintf("%d, and %d for a cold key", m.opt.clients, m.opt.crowd)},
		report.Fact{Name: "handler", Value: fmt.Sprintf("waits %v, and %v for a cold key", m.opt.wait, m.opt.slow)})...)
}

// line is the facts in one line of a document.
func line(facts []report.Fact) string {
	said := make([]string, 0, len(facts))
	for _, f := range facts {
		said = append(said, f.Name+" "+f.Value)
	}
	return strings.Join(said, " · ") + "\n"
}

// explained is what a situation is about.
func explained(at situation) string {
	switch {
	case at.how == cold:
		return "All clients are connected and ask at the same time for one response that is not stored. What counts is how often the handler is called, and when the last client has its answer."
	case at.how == miss:
		return "Each request is for a response that nobody has asked for, so that each calls the handler and stores what it gives. The floors store nothing and have no part in it."
	case at.pause:
		return "Clients get hits; then the server is stopped in its tracks (SIGSTOP): connections stay, answers do not come. What clients get from that moment on. An error is also an answer that takes more than " + patience.String() + "."
	case at.how == lost:
		return "Clients get hits; then the server is killed. What clients get from that moment on."
	case at.gzip:
		return "As above with Accept-Encoding: gzip. cacheaside stores the response compressed. Fiber's cache stores it plain, and the framework's middleware in front compresses each answer, as it does without a cache. The floors have it compressed ready."
	}
	return "The same response again and again."
}

// page is the report.
func (m *measuring) page(r *results, interrupted bool) report.Page {
	first := m.opt.frameworks[0]
	p := report.Page{
		Title: "Side by side",
		Lead:  "What a user would choose between, measured in turns in one run: each figure is the median of the rounds, with the least and the most. Ratios are made within a round.",
		Facts: m.facts(r, interrupted),
	}
	summary := report.Section{Title: "In " + first, Text: "Requests a second. Clients, service and server share the machine, so this is what all of them together can do."}
	if speed := r.speed(first); len(speed.Head) > 1 {
		summary.Table = speed
		p.Sections = append(p.Sections, summary, report.Section{
			Title: "CPU of a request",
			Text:  "What process and server use of a processor for a request: with two figures, the second is the server's. That is what a service pays for, whatever the clients cost.",
			Table: r.cost(first), Charts: charts(known(r, first), r.costChart(first)),
		})
	}
	if r.has("hit-1") {
		p.Sections = append(p.Sections, report.Section{Title: "Frameworks", Text: "Hits of 1 KiB: requests a second, and the CPU of process and server together.", Table: r.hits(), Charts: []report.Chart{r.hitChart()}})
	}
	for _, at := range r.situations {
		if !r.has(at.id) {
			continue
		}
		title := strings.ToUpper(at.name[:1]) + at.name[1:]
		s := report.Section{Title: title, Text: explained(at), Table: r.full(at)}
		if at.how == lost {
			s.Charts = []report.Chart{r.lostChart(at)}
		}
		p.Sections = append(p.Sections, s)
	}
	return p
}

// known reports whether the system tells what processes use.
func known(r *results, framework string) bool {
	for _, at := range r.situations {
		for _, c := range r.part(at.id) {
			if c.Framework == framework && len(r.sample(at.id, c, cpu)) > 0 {
				return true
			}
		}
	}
	return false
}

func charts(draw bool, some ...report.Chart) []report.Chart {
	if !draw {
		return nil
	}
	return some
}

// tellAll prints the tables and writes what is to be written.
func (m *measuring) tellAll(r *results, out, log io.Writer, interrupted bool) error {
	p := m.page(r, interrupted)
	if len(p.Sections) == 0 {
		return nil
	}
	_, _ = fmt.Fprint(out, line(p.Facts))
	for _, s := range p.Sections {
		_, _ = fmt.Fprintf(out, "\n%s\n\n%s", s.Title, s.Table.Text())
	}
	if m.opt.out != "" {
		if err := p.Write(m.opt.out); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(log, "written:", filepath.Join(m.opt.out, "report.html"))
	}
	if m.opt.docs != "" && !interrupted {
		return m.document(r).Write(m.opt.docs)
	}
	return nil
}

// document is the README with its tables and plots.
func (m *measuring) document(r *results) report.Document {
	first := m.opt.frameworks[0]
	d := report.Document{Charts: []report.Chart{r.costChart(first), r.hitChart()}, Places: []report.Place{
		{Name: "machine", Text: line(m.facts(r, false))},
		{Name: "speed", Text: r.speed(first).Markdown()},
		{Name: "gain", Text: r.gain(first).Markdown()},
		{Name: "cost", Text: r.cost(first).Markdown()},
		{Name: "frameworks", Text: r.hits().Markdown()},
		{Name: "cold", Text: r.herd().Markdown()},
	}}
	for _, at := range r.situations {
		if at.how == lost && r.has(at.id) {
			d.Places = append(d.Places, report.Place{Name: at.id, Text: r.gone(at).Markdown()})
		}
	}
	return d
}
