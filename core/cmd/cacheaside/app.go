package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/cacheaside/cacheaside/core/internal/redact"
)

// The statuses with which the command exits.
const (
	exitOK              = 0
	exitFailure         = 1
	exitUsage           = 2
	exitAbsent          = 3 // nothing is stored, or the request would miss
	exitNotAcknowledged = 4 // the purge may not have reached all: repeat it
)

// exitError is an error with the status to exit with. Without an err nothing more is
// said: it has been shown.
type exitError struct {
	code int
	err  error
	ours bool // the text has nothing in it that others have made
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit ends with a status when all has been shown.
func exit(code int) error { return &exitError{code: code} }

// failf ends with a status and says why. URLs in the text are redacted.
func failf(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// usagef is for what the one who types can mend: a flag, an argument, a variable. The text
// is shown as it is: what was typed is no part of it.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), ours: true}
}

// app is what the commands share: where they read and write, and the global flags.
type app struct {
	stdin  io.Reader
	stdout *output // never os.Stdout itself: it notes when nobody reads any more
	stderr io.Writer
	getenv func(string) string

	flags   flags
	running bool // flags and arguments are good: what fails now is no wrong usage
}

// flags are the global ones, after [app.settle] with what the environment says.
type flags struct {
	store       string // a URL; may hold a password, so it is shown by redact.URL only
	storeByFlag bool
	inspect     string // a URL without secrets that ends in a slash
	inspectFlag bool
	tokenFile   string
	namespace   string
	timeout     time.Duration
	noColor     bool
	json        bool
}

// run runs the command and returns the status to exit with. It has said what went wrong.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	flushErr := a.stdout.flush()
	if errors.Is(a.stdout.err, syscall.EPIPE) || errors.Is(err, syscall.EPIPE) {
		return exitOK // whoever reads has seen enough
	}
	if err == nil {
		err = flushErr
	}
	if err == nil {
		return exitOK
	}
	code, said := exitFailure, redact.Text(err.Error(), maxText)
	var e *exitError
	switch {
	case errors.As(err, &e):
		code = e.code
		if e.ours {
			said = redact.Clean(err.Error(), maxText)
		}
		if e.err == nil {
			return code
		}
	case !a.running:
		code = exitUsage
		said += ": see " + cmd.CommandPath() + " --help"
	case ctx.Err() != nil:
		said = "interrupted"
	}
	a.say(said)
	return code
}

// say tells something beside the output.
func (a *app) say(text string) { a.tell("cacheaside: %s\n", strings.TrimPrefix(text, "cacheaside: ")) }

// tell writes where errors go. Nobody can be told that it fails.
func (a *app) tell(format string, args ...any) { _, _ = fmt.Fprintf(a.stderr, format, args...) }

// warn tells of an error after which it goes on.
func (a *app) warn(err error) { a.say(redact.Text(err.Error(), maxText)) }

// isTerminal reports whether f, such as a.stdin, is one.
func isTerminal(f any) bool {
	if o, ok := f.(*output); ok {
		f = o.w
	}
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
