package echoadapter

import (
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"github.com/cacheaside/cacheaside/core/nethttp"
)

// front is the Response in front of the cache as a writer of net/http; 1xx
// responses go past it, for it would take them for the final one.
type front struct {
	res *echo.Response
	c   echo.Context // in which hooks of res look for it; nil: there are none
}

func (f front) Header() http.Header         { return f.res.Header() }
func (f front) Unwrap() http.ResponseWriter { return f.res.Writer }

func (f front) Write(b []byte) (int, error) {
	if f.c != nil && !f.res.Committed {
		defer f.c.SetResponse(f.swap())
	}
	return f.res.Write(b)
}

func (f front) WriteHeader(status int) {
	if nethttp.Informational(status) {
		f.res.Writer.WriteHeader(status)
		return
	}
	if f.c != nil {
		defer f.c.SetResponse(f.swap())
	}
	f.res.WriteHeader(status)
}

// swap puts res into the context, and returns what was there.
func (f front) swap() (old *echo.Response) {
	old = f.c.Response()
	f.c.SetResponse(f.res)
	return old
}

// hooksAt is where a Response has its hooks, which it does not show; nil in an Echo that
// keeps them otherwise.
var hooksAt = func() []int {
	f, ok := reflect.TypeFor[echo.Response]().FieldByName("beforeFuncs")
	if !ok || f.Type.Kind() != reflect.Slice {
		return nil
	}
	return f.Index
}()

// hasHooks reports whether middleware in front does something as the header of res is
// sent; where nobody knows, it may.
func hasHooks(res *echo.Response) bool {
	return hooksAt == nil || reflect.ValueOf(res).Elem().FieldByIndex(hooksAt).Len() > 0
}
