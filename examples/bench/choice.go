package main

import (
	"fmt"
	"slices"
	"strings"
)

// A kind is what answers: a cache, none, or the floor.
type kind string

const (
	none         kind = "none"
	memory       kind = "memory"
	near         kind = "near"
	server       kind = "server"
	fiberMemory  kind = "fiber-memory"
	fiberRedis   kind = "fiber-redis"
	fiberRueidis kind = "fiber-rueidis"
	floorMemory  kind = "floor-memory"
	floorServer  kind = "floor-server"
)

// kinds are all of them, in the order of the tables, by the names they have there.
var kinds = []struct {
	kind kind
	name string
}{
	{none, "no cache"},
	{memory, "cacheaside, memory"},
	{near, "cacheaside, near"},
	{server, "cacheaside, server"},
	{fiberMemory, "Fiber's cache, memory"},
	{fiberRedis, "Fiber's cache, storage/redis"},
	{fiberRueidis, "Fiber's cache, our Storage"},
	{floorMemory, "floor, a map"},
	{floorServer, "floor, GET"},
}

func (k kind) String() string {
	for _, named := range kinds {
		if named.kind == k {
			return named.name
		}
	}
	return string(k)
}

// onServer reports whether a hit may need the server.
func (k kind) onServer() bool {
	return slices.Contains([]kind{near, server, fiberRedis, fiberRueidis, floorServer}, k)
}

// isFloor reports whether it is a bare look-up.
func (k kind) isFloor() bool { return k == floorMemory || k == floorServer }

// floor is the bare look-up in the same place.
func (k kind) floor() kind {
	switch k {
	case server, fiberRedis, fiberRueidis, floorServer:
		return floorServer
	}
	return floorMemory
}

// isFibers reports whether it is the framework's own cache.
func (k kind) isFibers() bool { return k == fiberMemory || k == fiberRedis || k == fiberRueidis }

// choice is one of those that a user has.
type choice struct {
	Kind      kind
	Framework string
}

func (c choice) String() string { return c.Kind.String() + ", " + c.Framework }

const fiberName = "fiber"

var frameworks = []string{fiberName, "gin", "echo", "chi"}

// choices are those of some kinds in some frameworks, in the order of the tables.
func choices(of []kind, in []string) (all []choice) {
	for _, named := range kinds {
		for _, framework := range frameworks {
			if slices.Contains(of, named.kind) && slices.Contains(in, framework) && (!named.kind.isFibers() || framework == fiberName) {
				all = append(all, choice{named.kind, framework})
			}
		}
	}
	return all
}

// how says what a case does.
type how int

const (
	hit  how = iota // the same response again and again
	miss            // each request asks for something new
	cold            // all ask at once for what is not there
	lost            // hits, until the server is no more
)

// situation is what is measured of each choice.
type situation struct {
	id, name string
	short    string // in a chart
	how      how
	path     string // of the response that is asked for
	gzip     bool   // clients accept it
	pause    bool   // the server is not ended but stopped
}

var situations = []situation{
	{id: "hit-1", short: "1 KiB", name: "hit, 1 KiB", path: "/plain/1/hot"},
	{id: "hit-16", short: "16 KiB", name: "hit, 16 KiB", path: "/plain/16/hot"},
	{id: "hit-256", short: "256 KiB", name: "hit, 256 KiB", path: "/plain/256/hot"},
	{id: "gzip", short: "16 KiB, gzip", name: "hit, 16 KiB, compressed", path: "/gzip/hot", gzip: true},
	{id: "miss", short: "miss, 1 KiB", name: "miss and store, 1 KiB", how: miss, path: "/plain/1/"},
	{id: "cold", name: "cold key", how: cold, path: "/slow/"},
	{id: "paused", name: "server hangs", how: lost, path: "/plain/1/hot", pause: true},
	{id: "ended", name: "server ended", how: lost, path: "/plain/1/hot"},
}

// takes reports whether the choice has a part in it. What a lost server does to requests is
// no matter of the framework: Fiber stands for all, unless others alone are asked for.
func (s situation) takes(c choice, first string) bool {
	switch s.how {
	case hit:
		return true
	case lost:
		return c.Kind.onServer() && c.Framework == first
	}
	return !c.Kind.isFloor()
}

// picked are those of all that a flag names, or all.
func picked[T any](flag, text string, all []T, id func(T) string) ([]T, error) {
	if text == "" {
		return all, nil
	}
	var known []string
	for _, one := range all {
		known = append(known, id(one))
	}
	var some []T
	names := strings.Split(text, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if !slices.Contains(known, names[i]) {
			return nil, fmt.Errorf("-%s: there is no %q: use some of %s", flag, names[i], strings.Join(known, ","))
		}
	}
	for i, one := range all {
		if slices.Contains(names, known[i]) {
			some = append(some, one)
		}
	}
	return some, nil
}
