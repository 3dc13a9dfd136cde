package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/cacheaside/cacheaside/examples/bench/internal/report"
)

// results are what the rounds have measured: of each situation and choice one figure a
// round, so that those of one round stand at one place.
type results struct {
	situations []situation
	choices    []choice
	took       map[string]map[choice][]figures // by the id of the situation
}

func newResults(s []situation, c []choice) *results {
	r := &results{situations: s, choices: c, took: map[string]map[choice][]figures{}}
	for _, at := range s {
		r.took[at.id] = map[choice][]figures{}
	}
	return r
}

// add adds a turn, in which all choices have been measured.
func (r *results) add(at situation, turn map[choice]figures) {
	for c, f := range turn {
		r.took[at.id][c] = append(r.took[at.id][c], f)
	}
}

// sample is one of the figures in all rounds.
func (r *results) sample(id string, c choice, figure func(figures) float64) report.Sample {
	var s report.Sample
	for _, f := range r.took[id][c] {
		if v := figure(f); !math.IsNaN(v) {
			s = append(s, v)
		}
	}
	return s
}

// ratio is one choice by another, round by round.
func (r *results) ratio(id string, c, by choice, figure func(figures) float64) report.Sample {
	return r.sample(id, c, figure).Over(r.sample(id, by, figure))
}

// has reports whether anything was measured of it.
func (r *results) has(id string) bool { return len(r.took[id]) > 0 }

// part are the choices that a situation has results of.
func (r *results) part(id string) (some []choice) {
	for _, c := range r.choices {
		if len(r.took[id][c]) > 0 {
			some = append(some, c)
		}
	}
	return some
}

// turn is a situation in one round.
type turn struct {
	round   int
	at      situation
	choices []choice
}

// turns are all that there is to do, in an order that depends on the seed alone. What loses
// the server comes last.
func (m *measuring) turns() (all []turn) {
	random := rand.New(rand.NewPCG(m.opt.seed, 0))
	for _, breaking := range []bool{false, true} {
		for round := range m.opt.rounds {
			var some []turn
			for _, at := range m.opt.situations {
				t := turn{round: round + 1, at: at}
				for _, c := range m.opt.choices {
					if (at.how == lost) == breaking && (!breaking || m.own) && at.takes(c, m.opt.frameworks[0]) {
						t.choices = append(t.choices, c)
					}
				}
				random.Shuffle(len(t.choices), func(i, j int) { t.choices[i], t.choices[j] = t.choices[j], t.choices[i] })
				if len(t.choices) > 0 {
					some = append(some, t)
				}
			}
			random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			all = append(all, some...)
		}
	}
	return all
}

// run measures all, and tells of each measure before it begins. Once ctx has ended it
// returns what there is so far, with the error of ctx.
func (m *measuring) run(ctx context.Context, tell func(done, of int, what string)) (*results, error) {
	r := newResults(m.opt.situations, m.opt.choices)
	turns := m.turns()
	steps := 0
	for _, t := range turns {
		steps += len(t.choices)
	}
	if steps == 0 {
		return r, errors.New("there is nothing to measure: -only, -cases and -frameworks leave out each other's, or the server is not this program's to stop")
	}
	services := map[choice]*service{}
	defer func() {
		for _, s := range services {
			s.end()
		}
	}()
	done, round := 0, 0
	for _, t := range turns {
		if t.round != round { // full of what nobody asks for any more
			round = t.round
			if err := m.client.Do(ctx, m.client.B().Flushall().Build()).Error(); err != nil {
				return r, errors.Join(ctx.Err(), err)
			}
		}
		taken := map[choice]figures{}
		for _, c := range t.choices {
			tell(done, steps, fmt.Sprintf("round %d of %d: %s", t.round, m.opt.rounds, t.at.name))
			f, err := m.one(ctx, services, t.at, c)
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				return r, err
			}
			taken[c] = f
			done++
		}
		r.add(t.at, taken)
	}
	tell(done, steps, "done")
	return r, nil
}

// one measures by the service that is there, or starts one. For a server that goes it is a
// new one each time: what it makes of that afterwards is nobody's concern.
func (m *measuring) one(ctx context.Context, services map[choice]*service, at situation, c choice) (figures, error) {
	s := services[c]
	if s == nil || at.how == lost {
		if at.how == lost && s != nil {
			s.end()
			delete(services, c)
		}
		var err error
		if s, err = start(ctx, m.order(c)); err != nil {
			return figures{}, err
		}
		services[c] = s
	}
	return m.measure(ctx, s, at)
}

// rounds is how many rounds there are of a situation.
func (r *results) rounds(id string) int {
	n := 0
	for _, f := range r.took[id] {
		n = max(n, len(f))
	}
	return n
}

// kindsOf are the kinds of choices, in the order of the tables.
func kindsOf(some []choice) (all []kind) {
	for _, c := range some {
		if !slices.Contains(all, c.Kind) {
			all = append(all, c.Kind)
		}
	}
	return all
}
