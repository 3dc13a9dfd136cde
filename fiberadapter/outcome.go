package fiberadapter

import (
	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// accountKey is where the locals of a request have what the cache did with it.
const accountKey = "github.com/cacheaside/cacheaside/fiberadapter.outcome"

// Outcome returns what the cache did with the request of c, for middleware in front of it,
// once c.Next has returned or panicked. False: no cache with [WithOutcome] has dealt with it, or
// one still does.
func Outcome(c *fiber.Ctx) (cacheaside.Outcome, bool) { return cacheaside.OutcomeIn(account(c)) }

func account(c *fiber.Ctx) *adapter.Account {
	a, _ := c.Locals(accountKey).(*adapter.Account)
	return a
}

// begin is the account of c, which has one from here on.
func begin(c *fiber.Ctx) *adapter.Account {
	a := account(c)
	if a == nil {
		a = new(adapter.Account)
		c.Locals(accountKey, a)
	}
	return a
}
