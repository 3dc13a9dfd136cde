package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// section is one of the report, with the name of its place in the README; a section
// without one is in the report alone.
type section struct {
	report.Section
	place string
}

// write writes the report and the documents.
func (l *lab) write(all []section, out output) error {
	if out.report != "" {
		page := report.Page{Title: "What grows with a cache, and what does not", Facts: l.facts(),
			Lead: "Each figure is the median of the rounds, with the least and the most in brackets; the bars in the charts say the same."}
		for _, s := range all {
			page.Sections = append(page.Sections, s.Section)
		}
		if err := page.Write(out.report); err != nil {
			return err
		}
	}
	if out.docs == "" {
		return nil
	}
	return l.document(all).Write(out.docs)
}

// document is the README with its tables and charts.
func (l *lab) document(all []section) report.Document {
	var d report.Document
	for _, s := range all {
		d.Charts = append(d.Charts, s.Charts...)
		d.Places = append(d.Places, report.Place{Name: s.place, Text: s.Table.Markdown() + "\n" + l.where()})
	}
	return d
}

// where is a line that says on what and when it was measured.
func (l *lab) where() string {
	var facts []string
	for _, f := range l.facts() {
		switch f.Name {
		case "date", "processor", "server", "system":
			facts = append(facts, f.Value)
		default:
			facts = append(facts, f.Name+" "+f.Value)
		}
	}
	return "Measured: " + strings.Join(facts, "; ") + ".\n"
}

// sizeSections are those of rows that have costs of hits, fills and purges.
func sizeSections(name, title, what string, rows []row, logX bool) []section {
	times := &report.Table{Head: []string{"store", what, "hit", "fill", "purge of a tag", "purge of a URL", "bytes of an entry"}}
	works := &report.Table{Head: []string{"store", what, "hit", "fill", "purge of a tag", "purge of a URL"}}
	for _, r := range rows {
		times.Add(r.kind, whole(r.x), took(r.hit), took(r.fill), took(r.tag), took(r.url), report.Count(r.bytes))
		if r.kind != inMemory {
			works.Add(r.kind, whole(r.x), worked(r.hit), worked(r.fill), worked(r.tag), worked(r.url))
		}
	}
	drawn := func(kinds []string) []report.Series {
		var all []report.Series
		for _, kind := range kinds {
			all = append(all, series(rows, kind, "hit, "+kind, func(p point) report.Sample { return p.hit.took }))
		}
		for _, kind := range kinds {
			if kind != nearTier {
				all = append(all, series(rows, kind, "fill, "+kind, func(p point) report.Sample { return p.fill.took }))
			}
		}
		return append(all,
			series(rows, onServer, "purge of a URL, server", func(p point) report.Sample { return p.url.took }),
			series(rows, onServer, "purge of a tag, server", func(p point) report.Sample { return p.tag.took }))
	}
	size := func(kind string) report.Series {
		return series(rows, kind, kind, func(p point) report.Sample { return report.Sample{p.bytes} })
	}
	charts := []report.Chart{
		{Name: name + "-time", Title: "What a call takes", XLabel: what, YLabel: "µs", LogX: logX, LogY: true,
			Series: micro(drawn([]string{inMemory, nearTier, onServer}))},
		{Name: name + "-bytes", Title: "What an entry takes", XLabel: what, YLabel: "bytes", LogX: logX, FromZero: true,
			Series: some([]report.Series{size(inMemory), size(onServer)})},
	}
	return []section{
		{report.Section{Title: title, Table: times, Charts: charts}, name},
		{report.Section{Title: title + ": work of the server", Text: workText, Table: works}, name + "-work"},
	}
}

const workText = "Round trips of one client, commands of the server (those in scripts as well), and its processor time, for each call."

func perTagSections(rows []tagRow) []section {
	times := &report.Table{Head: []string{"store", "entries with the tag", "purge of the tag", "its work", "hit before", "first request after", "bytes of all before", "after"}}
	purge, after := map[string]*report.Series{}, &report.Series{Name: "first request after, server"}
	var all []report.Series
	for _, r := range rows {
		times.Add(r.kind, whole(r.n), took(r.tag), worked(r.tag), took(r.hit), took(r.refill), room(r.n, r.before), room(r.n, r.after))
		s := purge[r.kind]
		if s == nil {
			s = &report.Series{Name: "purge, " + r.kind}
			purge[r.kind] = s
		}
		s.Points = append(s.Points, r.tag.took.Point(float64(r.n)))
		if r.kind == onServer {
			after.Points = append(after.Points, r.refill.took.Point(float64(r.n)))
		}
	}
	for _, kind := range []string{inMemory, onServer, nearTier} {
		if s := purge[kind]; s != nil {
			all = append(all, *s)
		}
	}
	all = append(all, *after)
	return []section{{report.Section{Title: "Entries of a tag", Table: times, Charts: []report.Chart{
		{Name: "pertag-time", Title: "What a purge of a tag takes", XLabel: "entries that have the tag", YLabel: "µs", LogX: true, LogY: true, Series: micro(all)},
	}}, "pertag"}}
}

func processSections(rows []*processRow) []section {
	times := &report.Table{Head: []string{"store", "processes", "hits a second, all", "hit", "bare GET", "fill", "purge of a URL", "runs of the handler for a cold key", "hit ratio from cold"}}
	works := &report.Table{Head: []string{"store", "processes", "hit", "fill", "purge of a URL"}}
	byKind := func(name string, of func(*processRow) report.Sample, kinds ...string) (all []report.Series) {
		for _, kind := range kinds {
			s := report.Series{Name: fmt.Sprintf(name, kind)}
			for _, r := range rows {
				if sample := of(r); r.kind == kind && len(sample) > 0 {
					s.Points = append(s.Points, sample.Point(float64(r.n)))
				}
			}
			all = append(all, s)
		}
		return all
	}
	slices.SortStableFunc(rows, func(a, b *processRow) int { return order(a.kind) - order(b.kind) })
	for _, r := range rows {
		times.Add(r.kind, whole(r.n), r.rate.Spread(report.Count), took(r.hit), r.floor.Spread(report.Took), took(r.fill), took(r.url),
			r.runs.Spread(report.Count), r.ratio.Spread(report.Share))
		if r.kind != inMemory {
			works.Add(r.kind, whole(r.n), worked(r.hit), worked(r.fill), worked(r.url))
		}
	}
	rates := append(byKind("hits, %s", func(r *processRow) report.Sample { return r.rate }, inMemory, nearTier, onServer),
		byKind("bare GETs, %s", func(r *processRow) report.Sample { return r.floorRate }, onServer)...)
	purge := byKind("%s", func(r *processRow) report.Sample { return r.url.cpu }, onServer, nearTier)
	charts := []report.Chart{
		{Name: "processes-rate", Title: "Hits of all processes together", XLabel: "processes", YLabel: "in a second", LogY: true, Series: some(rates)},
		{Name: "processes-ratio", Title: "Hit ratio of the same traffic, from cold", XLabel: "processes", YLabel: "percent", FromZero: true,
			Series: percent(byKind("%s", func(r *processRow) report.Sample { return r.ratio }, inMemory, onServer, nearTier))},
	}
	if purge = micro(some(purge)); len(purge) > 0 {
		charts = append(charts, report.Chart{Name: "processes-purge", Title: "Purge of a URL that all processes have read: the server's processor time",
			XLabel: "processes", YLabel: "µs", FromZero: true, Series: purge})
	}
	return []section{
		{report.Section{Title: "Processes", Table: times, Charts: charts}, "processes"},
		{report.Section{Title: "Processes: work of the server", Text: workText, Table: works}, "processes-work"},
	}
}

func purgeSections(rows []*purgeRow) []section {
	times := &report.Table{Head: []string{"store", "purges a second", "of a", "hit ratio", "expected", "hit", "miss", "purge", "commands a second", "the server's processor"}}
	line := func(name, kind, what string, of func(*purgeRow) report.Sample) report.Series {
		s := report.Series{Name: name}
		for _, r := range rows {
			if sample := of(r); r.kind == kind && r.what == what && r.rate > 0 && len(sample) > 0 {
				s.Points = append(s.Points, sample.Point(float64(r.rate)))
			}
		}
		return s
	}
	for _, r := range rows {
		times.Add(r.kind, whole(r.rate), r.what, r.ratio.Spread(report.Share), report.Share(r.expect.Median()), r.hit.Spread(report.Took), r.miss.Spread(report.Took),
			r.purge.Spread(report.Took), r.commands.Spread(report.Count), share(r.cpu).Spread(report.Share))
	}
	ratio := func(r *purgeRow) report.Sample { return r.ratio }
	hit := func(r *purgeRow) report.Sample { return r.hit }
	hits := make([]report.Series, 0, 6)
	ratios := []report.Series{
		line("not read, server", onServer, tagUnread, ratio),
		line("URL, read, server", onServer, urlRead, ratio),
		line("URL, read, expected", onServer, urlRead, func(r *purgeRow) report.Sample { return report.Sample{r.expect.Median()} }),
		line("tag of ten, read, server", onServer, tagRead, ratio),
		line("tag of ten, read, expected", onServer, tagRead, func(r *purgeRow) report.Sample { return report.Sample{r.expect.Median()} }),
	}
	for _, kind := range []string{inMemory, nearTier, onServer} {
		hits = append(hits, line(kind+", purges of what is not read", kind, tagUnread, hit), line(kind+", purges of what is read", kind, tagRead, hit))
	}
	return []section{{report.Section{Title: "Purges in a second", Table: times, Charts: []report.Chart{
		{Name: "purges-ratio", Title: fmt.Sprintf("Hit ratio of %s requests a second", report.Count(reads)), XLabel: "purges in a second", YLabel: "percent", LogX: true, FromZero: true,
			Series: some(percent(ratios))},
		{Name: "purges-hit", Title: "What a hit takes, while tags are purged", XLabel: "purges in a second", YLabel: "µs", LogX: true, LogY: true, Series: micro(some(hits))},
	}}, "purges"}}
}

// series is a line of what rows of a kind have.
func series(rows []row, kind, name string, of func(point) report.Sample) report.Series {
	s := report.Series{Name: name}
	for _, r := range rows {
		if sample := of(r.point); r.kind == kind && len(sample) > 0 {
			s.Points = append(s.Points, sample.Point(float64(r.x)))
		}
	}
	return s
}

// some are the series that have points.
func some(all []report.Series) []report.Series {
	return slices.DeleteFunc(all, func(s report.Series) bool { return len(s.Points) == 0 })
}

// micro are series in microseconds, percent such in percent.
func micro(all []report.Series) []report.Series   { return scaled(all, 1e-3) }
func percent(all []report.Series) []report.Series { return scaled(all, 100) }

func scaled(all []report.Series, by float64) []report.Series {
	all = some(all)
	for _, s := range all {
		for i, p := range s.Points {
			s.Points[i] = report.Point{X: p.X, Y: p.Y * by, Low: p.Low * by, High: p.High * by}
		}
	}
	return all
}

// share is of a second.
func share(s report.Sample) report.Sample {
	out := make(report.Sample, len(s))
	for i, x := range s {
		out[i] = x / 1e9
	}
	return out
}

func took(c cost) string { return c.took.Spread(report.Took) }

// worked is what a call has the server do.
func worked(c cost) string {
	if len(c.trips) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f trips, %.1f commands, %s", c.trips.Median(), c.commands.Median(), report.Took(c.cpu.Median()))
}

// room is what so many entries take, if that can be told from what else the memory does.
func room(n int, bytes float64) string {
	if n < least {
		return "–"
	}
	return report.Bytes(bytes)
}

func whole(n int) string { return commas(strconv.Itoa(n)) }

func commas(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
