package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// maxAnswer is the longest answer of an inspector that is read, in bytes. Its own are far
// shorter.
const maxAnswer = 8 << 20

// client asks an inspector.
type client struct {
	base    string // ends in a slash
	token   string
	timeout time.Duration
	http    *http.Client
}

// client returns one for --inspect.
func (a *app) client() (*client, error) {
	if a.flags.inspect == "" {
		return nil, usagef("this needs the inspector of a service: give its URL as --inspect or CACHEASIDE_INSPECT")
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	return &client{base: a.flags.inspect, token: token, timeout: a.flags.timeout, http: &http.Client{
		// The token is for whom it was meant.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// token is that of the inspector; empty: there is none.
func (a *app) token() (string, error) {
	const longest = 4 << 10
	from, token := "CACHEASIDE_TOKEN", a.getenv("CACHEASIDE_TOKEN")
	if a.flags.tokenFile != "" {
		from = "--token-file"
		f, err := os.Open(a.flags.tokenFile)
		if err != nil {
			return "", failf(exitUsage, "--token-file: %w", err)
		}
		defer func() { _ = f.Close() }()
		raw, err := io.ReadAll(io.LimitReader(f, longest+1))
		if err != nil {
			return "", failf(exitUsage, "--token-file: %w", err)
		}
		if token = string(raw); strings.TrimSpace(token) == "" {
			return "", usagef("--token-file: the file is empty: write the inspector's token into it")
		}
	}
	token = strings.TrimSpace(token)
	if len(token) > longest || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", usagef("%s: that is no token: it has characters that no header may have, or is too long", from)
	}
	return token, nil
}

// apiError is what the inspector has answered in place of what was asked for.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

// silentError is that there was no answer.
type silentError struct {
	sent bool // the request may have arrived
	err  error
}

func (e *silentError) Error() string { return e.err.Error() }
func (e *silentError) Unwrap() error { return e.err }

// get asks for what name says and has it in v, of which the member must is always there.
func (c *client) get(ctx context.Context, name string, query url.Values, must string, v any) error {
	if len(query) > 0 {
		name += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, name, nil, must, v)
}

// post asks with a body.
func (c *client) post(ctx context.Context, name string, body any, must string, v any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, name, raw, must, v)
}

func (c *client) do(ctx context.Context, method, name string, body []byte, must string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+"api/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "cacheaside")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.silent(ctx, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return c.silent(ctx, err)
	}
	return c.decode(resp, raw, must, v)
}

// silent says that there was no answer, and what to do.
func (c *client) silent(ctx context.Context, err error) error {
	var by *url.Error
	if errors.As(err, &by) {
		err = by.Err // it names the URL again, with the query
	}
	var dial *net.OpError
	sent := !errors.As(err, &dial) || dial.Op != "dial"
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("the inspector at %s has not answered within %v: look at the service, or give a longer --timeout", c.base, c.timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		err = fmt.Errorf("the inspector at %s cannot be reached: %w: is the service running, and is that where the inspector is mounted?", c.base, err)
	}
	return &silentError{sent, err}
}

// decode reads an answer.
func (c *client) decode(resp *http.Response, raw []byte, must string, v any) error {
	stranger := func(what string) error {
		return &apiError{resp.StatusCode, fmt.Sprintf("what answers at %s is no inspector of this version: %s; "+
			"--inspect is the URL at which the service has mounted it, such as http://127.0.0.1:9090/cache/", c.base, what)}
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return stranger(fmt.Sprintf("it answers %d and sends us to %q, but the token goes nowhere else", resp.StatusCode, redact.URL(resp.Header.Get("Location"))))
	}
	if len(raw) > maxAnswer {
		return stranger(fmt.Sprintf("its answer exceeds %d MiB", maxAnswer>>20))
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var members map[string]json.RawMessage
	if kind != "application/json" || json.Unmarshal(raw, &members) != nil {
		return stranger(fmt.Sprintf("it answers %d with %q", resp.StatusCode, resp.Header.Get("Content-Type")))
	}
	if resp.StatusCode != http.StatusOK {
		var text string
		if json.Unmarshal(members["error"], &text) != nil || text == "" {
			return stranger(fmt.Sprintf("it answers %d without a word", resp.StatusCode))
		}
		if resp.StatusCode == http.StatusUnauthorized {
			if c.token == "" {
				text = "the inspector wants a token: give it as CACHEASIDE_TOKEN or by --token-file"
			} else {
				text += ": look at CACHEASIDE_TOKEN or --token-file"
			}
		}
		return &apiError{resp.StatusCode, text}
	}
	if members[must] == nil {
		return stranger(fmt.Sprintf("its answer has no %q", must))
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return stranger("its answer has other types: " + redact.Text(err.Error(), 200))
	}
	return nil
}

// asUsage is err, with the status of wrong usage where the inspector says that what was
// typed makes no sense.
func asUsage(err error) error {
	var e *apiError
	if errors.As(err, &e) && e.status == http.StatusBadRequest {
		return &exitError{code: exitUsage, err: err}
	}
	return err
}

// again reports whether it makes sense to ask again after err: the service is being
// started, or its store does not answer for a moment.
func again(err error) bool {
	var silent *silentError
	var e *apiError
	return errors.As(err, &silent) || errors.As(err, &e) && e.status >= 500 && e.status != http.StatusNotImplemented
}
