// Package echoadapter puts cacheaside in front of the handlers of an Echo v4
// service:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	...
//	e := echo.New()
//	e.Use(echoadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it runs only when the handler does. An error that the
// handler returns goes on to middleware in front, as without the cache. Only if its
// response is to be stored, or a stale one is sent in its place, does this middleware
// call HTTPErrorHandler itself.
package echoadapter
