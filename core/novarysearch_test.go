package cacheaside_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/store"
)

func searching(cfg *cacheaside.Config) { cfg.Policy.Key.NoVarySearch = true }

// declaring is a handler whose responses say so.
func declaring(field string) *rows {
	return &rows{values: map[string]int{"/p": 1}, header: http.Header{"No-Vary-Search": {field}}}
}

func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared store.Store = newServer(t)
		h := declaring(`params=("a")`)
		one, two := newInstance(t, shared, h, searching), newInstance(t, shared, h, searching)
		one.want(t, "/p?a=1", "1", "stored")
		one.want(t, "/p?a=2", "1", "stored") // it was not announced before
		one.want(t, "/p?a=3", "1", "no-vary-search")
		two.want(t, "/p?a=4", "1", "no-vary-search")
		two.want(t, "/p?a=4", "1", "no-vary-search")
		two.want(t, "/p?a=4&b=1", "1", "fwd")
		one.want(t, "/p?a=5&b=1", "1", "no-vary-search")
		h.set("/p", 2)
		must(t, one.PurgeURL(context.Background(), "http://example.com/p?a=9"))
		two.want(t, "/p?a=4", "2", "fwd")
		one.want(t, "/p?a=3", "2", "no-vary-search")
	})
	_ = fmt.Sprint
	_ = strings.Contains
	_ = time.Second
}
