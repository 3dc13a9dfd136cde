package echoadapter

import (
	"github.com/labstack/echo/v4"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// Outcome returns what the cache did with the request of c, for middleware in front of it,
// once the next handler has returned or panicked. False: no cache with [WithOutcome] has dealt with it, or
// one still does.
func Outcome(c echo.Context) (cacheaside.Outcome, bool) {
	return cacheaside.OutcomeIn(adapter.AccountOf(c.Get(adapter.AccountKey)))
}

// account is that of the request of c, which has one from here on.
func account(c echo.Context) *adapter.Account {
	return adapter.OpenAccount(c.Get(adapter.AccountKey), func(a *adapter.Account) { c.Set(adapter.AccountKey, a) })
}
