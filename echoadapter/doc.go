// Package echoadapter puts cacheaside in front of the handlers of an Echo v4
// service:
//
//	cache, err := core.New(core.Config{Store: store, TTL: 30 * time.Second})
//	...
//	e := echo.New()
//	e.Use(echoadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it only when the handler does. An error that the
// handler returns is turned into its response by the service's
// HTTPErrorHandler inside of this middleware, because until then there is no
// response to decide on; middleware in front does not see it.
package echoadapter
