package nethttp

import "net/http"

// Taken implements [adapter.Router]: routers note the pattern in the request.
func (x *exchange) Taken() string { return x.r.Pattern }

// Find implements [adapter.Router].
func (x *exchange) Find() string {
	if x.framework.Find != nil {
		return x.framework.Find(x.r)
	}
	if mux, ok := x.next.(interface {
		Handler(r *http.Request) (http.Handler, string)
	}); ok {
		_, pattern := mux.Handler(x.r)
		return pattern
	}
	return x.r.Pattern
}

// Show implements [adapter.Router].
func (x *exchange) Show(route string) {
	x.r.Pattern = route
	if x.framework.Show != nil {
		x.framework.Show(x.r, route)
	}
}
