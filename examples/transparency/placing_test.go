package transparency

import (
	"encoding/base64"
	"fmt"
	"github.com/cacheaside/cacheaside/core"
	"github.com/golang-jwt/jwt/v5"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A house is a framework as core/MIDDLEWARE.md shows it: services whose layers are
// given by name, the first one outermost. "cache" is the cache; the others are the
// middleware of uses. A layer may be for one path alone: "/form csrf".
type house struct {
	name  string
	uses  map[string]string // by row of the page: what the framework has for it
	build func(order []string, dir string) builder
}

func houses() []house {
	return []house{fiberHouse(), ginHouse(), echoHouse(), chiHouse(), httpHouse()}
}

// layersOf gives the layers named, each by make; a layer for one path by only.
func layersOf[L any](order []string, make func(name string) L, only func(path string, l L) L) []L {
	var all []L
	for _, name := range order {
		if path, rest, ok := strings.Cut(name, " "); ok && strings.HasPrefix(name, "/") {
			all = append(all, only(path, make(rest)))
			continue
		}
		all = append(all, make(name))
	}
	return all
}

// A tenancy is a service of a house while a test lasts.
type tenancy struct {
	*site
	t *testing.T
}

// with starts a service of these layers.
func (h house) with(t *testing.T, order ...string) tenancy { return h.under(t, nil, order...) }

// under does it with a change of the policy.
func (h house) under(t *testing.T, policy policyOf, order ...string) tenancy {
	t.Helper()
	dir := t.TempDir()
	st := stack{config: policy}
	return tenancy{start(t, st, h.build(order, dir), true), t}
}

// got is what a client gets.
type got struct {
	code   int
	header http.Header
	body   string
	hit    bool
	err    error
}

func (g got) cookies() string {
	var all []string
	for _, c := range (&http.Response{Header: g.header}).Cookies() {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

func (s tenancy) get(path string, header ...string) got {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", header...)
}

func (s tenancy) do(method, path, body string, header ...string) got {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.once.RoundTrip(req)
	var g got
	if err != nil {
		g.err = err
	} else {
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		g = got{res.StatusCode, res.Header, string(b), strings.Contains(res.Header.Get("Cache-Status"), "; hit"), err}
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Fatal("the service does not come to an end")
	}
	return g
}

const signingKey = "an example's key: 32 bytes and more"

// bearer is the Authorization of a user with a JSON Web Token.
func bearer(t *testing.T, user string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

func basic(user string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":secret"))
}

var lastID atomic.Int64

func freshID() string { return fmt.Sprintf("request-%08d", lastID.Add(1)) }

type policyOf = func(*core.Config)
