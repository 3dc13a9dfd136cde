package chiadapter

import (
	"net/http"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/nethttp"
)

// Entry returns the way into the service that router is, for [cacheaside.Cache.Warm]: the
// router that the http.Server has, or what is around that. It panics if router is nil.
func Entry(router http.Handler) adapter.Entry {
	if router == nil {
		panic("chiadapter.Entry: the router is nil: give it the router of the http.Server")
	}
	return nethttp.Entry(router)
}
