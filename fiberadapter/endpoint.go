package fiberadapter

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// handler serves e, which answers a request at once, with its body.
func handler(e interface {
	Serve(ctx context.Context, req *adapter.Request, body []byte) *adapter.Response
}) fiber.Handler {
	return func(c *fiber.Ctx) error {
		x := exchanges.Get().(*exchange)
		defer x.release()
		x.reset(c)
		// Not c.Body(), which decodes what anybody has compressed to nothing.
		return x.Reply(e.Serve(c.UserContext(), &x.req, c.Request().Body()))
	}
}
