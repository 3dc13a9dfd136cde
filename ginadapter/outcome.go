package ginadapter

import (
	"github.com/gin-gonic/gin"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/adapter"
)

// accountKey is where the context of a request has what the cache did with it.
const accountKey = "github.com/cacheaside/cacheaside/ginadapter.outcome"

// Outcome returns what the cache did with the request of c, for middleware in front of it,
// once c.Next has returned or panicked. False: no cache with [WithOutcome] has dealt with it, or
// one still does.
func Outcome(c *gin.Context) (cacheaside.Outcome, bool) { return cacheaside.OutcomeIn(account(c)) }

func account(c *gin.Context) *adapter.Account {
	a, _ := c.Value(accountKey).(*adapter.Account)
	return a
}

// begin is the account of c, which has one from here on.
func begin(c *gin.Context) *adapter.Account {
	a := account(c)
	if a == nil {
		a = new(adapter.Account)
		c.Set(accountKey, a)
	}
	return a
}
