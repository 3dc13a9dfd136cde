package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// accountKey is where the context of a request has what the cache did with it.
const accountKey = "github.com/cacheaside/cacheaside/echoadapter.outcome"

// Outcome returns what the cache did with the request of c, for middleware in front of it,
// once the next handler has returned or panicked. False: no cache with [WithOutcome] has dealt with it, or
// one still does.
func Outcome(c echo.Context) (cacheaside.Outcome, bool) { return cacheaside.OutcomeIn(account(c)) }

func account(c echo.Context) *adapter.Account {
	a, _ := c.Get(accountKey).(*adapter.Account)
	return a
}

// begin is the account of c, which has one from here on.
func begin(c echo.Context) *adapter.Account {
	a := account(c)
	if a == nil {
		a = new(adapter.Account)
		c.Set(accountKey, a)
	}
	return a
}
