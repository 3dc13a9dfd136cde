// Package fiberadapter puts cacheaside in front of the handlers of a Fiber v2
// service:
//
//	cache, err := cacheaside.New(cacheaside.Config{Store: store, Policy: cacheaside.Policy{TTL: 30 * time.Second}})
//	...
//	app := fiber.New()
//	app.Use(fiberadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it runs only when the handler does. An error that the
// handler returns goes on to middleware in front, as without the cache. Only if its
// response is to be stored, or a stale one is sent in its place, does this middleware
// call the app's ErrorHandler itself. A response is stored when it has been sent, as
// middleware in front has left it. Body streams (SendStream, SendFile,
// SetBodyStreamWriter) reach the client as they are and are not stored.
//
// [NewStorage] is for Fiber's own middlewares that ask for a fiber.Storage.
package fiberadapter
