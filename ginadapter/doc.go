// Package ginadapter puts cacheaside in front of the handlers of a Gin service:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	...
//	r := gin.New()
//	r.Use(ginadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it runs only when the handler does, since a hit aborts the
// chain. A response is not stored when its handler has added to c.Errors.
package ginadapter
