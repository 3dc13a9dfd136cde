package fiberadapter

import (
	"github.com/gofiber/fiber/v2"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Outcome returns what the cache did with the request of c, for middleware in front of it,
// once c.Next has returned or panicked. False: no cache with [WithOutcome] has dealt with it, or
// one still does.
func Outcome(c *fiber.Ctx) (cacheaside.Outcome, bool) {
	return cacheaside.OutcomeIn(adapter.AccountOf(c.Locals(adapter.AccountKey)))
}

// account is that of the request of c, which has one from here on.
func account(c *fiber.Ctx) *adapter.Account {
	return adapter.OpenAccount(c.Locals(adapter.AccountKey), func(a *adapter.Account) { c.Locals(adapter.AccountKey, a) })
}
