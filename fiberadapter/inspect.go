package fiberadapter

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/inspect"
)

// NewInspect returns a handler that shows what the cache does and holds: see
// [inspect.Endpoint]. Route GET and POST to it, with a wildcard as in "/cache/*", not behind
// the cache. It fails where access lets nobody in, or everybody.
func NewInspect(cache *cacheaside.Cache, recorder *inspect.Recorder, access inspect.Access, opts ...inspect.Option) (fiber.Handler, error) {
	if cache == nil {
		return nil, errors.New("fiberadapter.NewInspect: the cache is nil: make one with cacheaside.New")
	}
	endpoint, err := inspect.New(cache, recorder, access, opts...)
	if err != nil {
		return nil, err
	}
	return handler(endpoint), nil
}
