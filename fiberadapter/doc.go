// Package fiberadapter puts cacheaside in front of the handlers of a Fiber v2
// service:
//
//	cache, err := core.New(core.Config{Store: store, TTL: 30 * time.Second})
//	...
//	app := fiber.New()
//	app.Use(fiberadapter.New(cache))
//
// Middleware registered before it runs on every request, hit or miss;
// middleware registered after it only when the handler does. An error that the
// handler returns is turned into its response by the app's ErrorHandler inside
// of this middleware, because until then there is no response to decide on;
// middleware in front does not see it. Body streams (SendStream, SendFile,
// SetBodyStreamWriter) reach the client as they are and are not stored.
//
// [NewStorage] is for Fiber's own middlewares that ask for a fiber.Storage.
package fiberadapter
