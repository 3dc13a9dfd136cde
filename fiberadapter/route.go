package fiberadapter

import (
	"reflect"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/gofiber/fiber/v2"
)

// Fiber knows the route of a request only once its handler is called: until then, and
// so on a hit, Ctx.Route is that of the middleware.

// Taken implements [adapter.Router].
func (x *exchange) Taken() string {
	path := x.c.Route().Path
	if x.table.of(x.c.App()).has(path, x.c.Path()) {
		return path
	}
	return ""
}

// Find implements [adapter.Router].
func (x *exchange) Find() string {
	return x.table.of(x.c.App()).find(x.c.Method(), x.c.Path())
}

// Show implements [adapter.Router]. Fiber has no way to set the route, so it is put where
// Fiber keeps it.
func (x *exchange) Show(route string) {
	if at := routeAt; at != 0 && x.c.Route().Path != route {
		if r := x.table.of(x.c.App()).shown[route]; r != nil {
			*(**fiber.Route)(unsafe.Add(unsafe.Pointer(x.c), at)) = r
		}
	}
}

// routeAt is where a Ctx has its route; 0 in a Fiber that keeps it otherwise.
var routeAt = func() uintptr {
	f, ok := reflect.TypeFor[fiber.Ctx]().FieldByName("route")
	if !ok || f.Type != reflect.TypeFor[*fiber.Route]() {
		return 0
	}
	return f.Offset
}()

// routes are those of an app, but for middleware.
type routes struct {
	app   *fiber.App
	count uint32 // of handlers, to see that there are more
	list  []fiber.Route
	fixed []string                // what the path of each begins with, in lower case
	shown map[string]*fiber.Route // by path
	mixed map[string]bool         // paths that middleware has as well
}

// routeTable has the routes of the app that was asked last.
type routeTable struct{ last atomic.Pointer[routes] }

func (t *routeTable) of(app *fiber.App) *routes {
	if r := t.last.Load(); r != nil && r.app == app && r.count == app.HandlersCount() {
		return r
	}
	r := &routes{app: app, count: app.HandlersCount(), list: app.GetRoutes(true), shown: map[string]*fiber.Route{}, mixed: map[string]bool{}}
	for i := range r.list {
		one := r.list[i]
		fixed, _, _ := strings.Cut(one.Path, ":")
		if end := strings.IndexAny(fixed, "*+?"); end >= 0 {
			fixed = fixed[:end]
		}
		r.fixed = append(r.fixed, strings.ToLower(strings.TrimRight(fixed, "/")))
		one.Params = nil // Fiber has no values for them
		r.shown[one.Path] = &one
	}
	paths := map[string]int{}
	for _, one := range app.GetRoutes() {
		paths[one.Path]++
	}
	for i := range r.list {
		paths[r.list[i].Path]--
	}
	for path, more := range paths {
		r.mixed[path] = more > 0
	}
	t.last.Store(r)
	return r
}

// has reports whether a request for path that has come to a route of that pattern has
// come to a handler.
func (r *routes) has(pattern, path string) bool {
	return r.shown[pattern] != nil && (!r.mixed[pattern] || r.match(pattern, path))
}

func (r *routes) find(method, path string) string {
	for i := range r.list {
		one := &r.list[i]
		if one.Method == method && len(path) >= len(r.fixed[i]) && strings.EqualFold(path[:len(r.fixed[i])], r.fixed[i]) && r.match(one.Path, path) {
			return one.Path
		}
	}
	return ""
}

func (r *routes) match(pattern, path string) bool {
	if pattern == "/" {
		return path == "/"
	}
	return fiber.RoutePatternMatch(path, pattern, r.app.Config())
}
