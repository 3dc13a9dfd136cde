package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	fiberrecover "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"github.com/cacheaside/cacheaside/chiadapter"
	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/echoadapter"
	"github.com/cacheaside/cacheaside/fiberadapter"
	"github.com/cacheaside/cacheaside/ginadapter"
)

const (
	handlerTime = 5 * time.Millisecond
	hangTime    = 400 * time.Millisecond
)

// database is what the handlers read, and how they fail.
type database struct {
	rows   []row
	mode   atomic.Int32
	failed atomic.Int64 // answers that were errors of the handler's own
	large  int          // the row whose page is large; 0: none
}

type row struct {
	version atomic.Int64
	// Versions below promised were purged, with acknowledgement.
	promised atomic.Int64
	changed  [8]atomic.Int64 // when a version came, Unix nanoseconds
	stalled  [8]atomic.Int64 // stalls.total at that time
}

// How handlers behave.
const (
	working int32 = iota
	panicking
	hanging
	unavailable
)

// next makes a new version of the row.
func (r *row) next() int64 {
	v := r.version.Load() + 1
	r.changed[v%int64(len(r.changed))].Store(time.Now().UnixNano())
	r.stalled[v%int64(len(r.stalled))].Store(stalls.total.Load())
	r.version.Store(v)
	return v
}

// newDatabase has n rows, in their first version.
func newDatabase(n int) *database {
	d := &database{rows: make([]row, n)}
	for i := range d.rows {
		d.rows[i].next()
	}
	return d
}

var errBroken = errors.New("the database is down")

// answer is the whole handler but for its framework.
func (d *database) answer(ctx context.Context, id string) (body string, err error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 || n >= len(d.rows) {
		return "", err
	}
	cacheaside.AddTags(ctx, tagOf(n))
	switch d.mode.Load() {
	case panicking:
		d.failed.Add(1)
		panic("on purpose")
	case hanging:
		time.Sleep(hangTime)
	case unavailable:
		d.failed.Add(1)
		return "", errBroken
	}
	v := d.rows[n].version.Load()
	time.Sleep(handlerTime)
	return d.page(n, v), nil
}

func tagOf(n int) string { return "row-" + strconv.Itoa(n) }

// bodyOf shows, wherever it is cut, what it belongs to.
func bodyOf(n int, version int64) string {
	return strings.Repeat(fmt.Sprintf("%d:%d;", n, version), 128)
}

func parseBody(n int, body string) (version int64, ok bool) {
	first, _, _ := strings.Cut(body, ";")
	id, v, ok := strings.Cut(first, ":")
	version, err := strconv.ParseInt(v, 10, 64)
	return version, ok && err == nil && id == strconv.Itoa(n) && body == bodyOf(n, version)
}

var frameworks = []string{"fiber", "gin", "echo", "chi"}

// service is an app in one framework; its handlers recover from panics as apps
// do. A nil cache leaves it bare.
func service(framework string, d *database, cache *cacheaside.Cache) (serve func(net.Listener) error, stop func()) {
	const broken = "the handler failed"
	var h http.Handler
	switch framework {
	case "fiber":
		app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: time.Minute})
		app.Use(fiberrecover.New())
		if cache != nil {
			app.Use(fiberadapter.New(cache))
		}
		app.Get("/:id", func(c *fiber.Ctx) error {
			body, err := d.answer(c.UserContext(), c.Params("id"))
			if err != nil {
				return fiber.NewError(fiber.StatusServiceUnavailable, broken)
			}
			return c.SendString(body)
		})
		return app.Listener, func() { _ = app.ShutdownWithTimeout(time.Second) }
	case "gin":
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
		if cache != nil {
			r.Use(ginadapter.New(cache, ginadapter.WithEngine(r)))
		}
		r.Match([]string{http.MethodGet, http.MethodHead}, "/:id", func(c *gin.Context) {
			body, err := d.answer(c.Request.Context(), c.Param("id"))
			if err != nil {
				c.String(http.StatusServiceUnavailable, broken)
				return
			}
			c.String(http.StatusOK, body)
		})
		h = r
	case "echo":
		e := echo.New()
		e.Use(echomiddleware.RecoverWithConfig(echomiddleware.RecoverConfig{DisablePrintStack: true, LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err }}))
		if cache != nil {
			e.Use(echoadapter.New(cache))
		}
		e.Match([]string{http.MethodGet, http.MethodHead}, "/:id", func(c echo.Context) error {
			body, err := d.answer(c.Request().Context(), c.Param("id"))
			if err != nil {
				return echo.NewHTTPError(http.StatusServiceUnavailable, broken)
			}
			return c.String(http.StatusOK, body)
		})
		h = e
	default:
		r := chi.NewRouter()
		r.Use(recovered)
		if cache != nil {
			r.Use(chiadapter.New(cache))
		}
		page := func(w http.ResponseWriter, r *http.Request) {
			body, err := d.answer(r.Context(), chi.URLParam(r, "id"))
			if err != nil {
				http.Error(w, broken, http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(body))
		}
		r.Get("/{id}", page)
		r.Head("/{id}", page)
		h = r
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	return s.Serve, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	}
}

// recovered is what chi's Recoverer does, without the stack on the terminal.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// percentile of sorted durations.
func percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

func sortedOf(d []time.Duration) []time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d
}
