// Package chiadapter puts cacheaside in front of the handlers of a chi v5
// service:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	...
//	r := chi.NewRouter()
//	r.Use(chiadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it runs only when the handler does.
package chiadapter
