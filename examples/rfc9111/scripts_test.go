package rfc9111

import "slices"

func scripts() []script {
	return slices.Concat(storing)
}

// known are scripts that the engine fails, and what is wrong.
var known = map[string]string{}

// exceptions are scripts that a framework cannot play, and why.
var exceptions = map[string]map[string]string{}

var storing = []script{
	{"3", "explicit freshness is stored", []step{
		get.gives("Cache-Control: max-age=60"),
		get.after(59).hits().shows("Age: 59", "Cache-Status: cacheaside; hit; ttl=1"),
		get.after(1).gives(),
	}},
	{"3", "a response that says nothing is not stored", []step{get.gives(), get.gives()}},
}
