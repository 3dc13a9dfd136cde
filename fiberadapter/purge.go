package fiberadapter

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// NewPurge returns a handler that purges: see [cacheaside.PurgeEndpoint] for what it
// takes. Route POST to it; for PURGE on any URL, the method has to be among
// fiber.Config's RequestMethods. It fails where access lets nobody in, or
// everybody.
func NewPurge(cache *cacheaside.Cache, access cacheaside.PurgeAccess) (fiber.Handler, error) {
	if cache == nil {
		return nil, errors.New("fiberadapter.NewPurge: the cache is nil: make one with cacheaside.New")
	}
	endpoint, err := cache.PurgeEndpoint(access)
	if err != nil {
		return nil, err
	}
	return handler(endpoint), nil
}
