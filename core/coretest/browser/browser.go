// Package browser is a headless Chromium for tests. It is told what to do in the DevTools
// protocol, by way of pipes: https://chromedevtools.github.io/devtools-protocol/.
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Browser is one that runs. Its methods may be called concurrently.
type Browser struct {
	to    io.Writer
	mu    sync.Mutex
	last  int
	calls map[int]chan reply
	tabs  map[string]func(method string, params json.RawMessage) // by session of the protocol
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start starts the chromium or google-chrome on the PATH, until tb ends. Without one the
// test is skipped, or fails if CACHEASIDE_REQUIRE_BROWSER is in the environment.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CACHEASIDE_REQUIRE_BROWSER") != "" {
			tb.Fatal("no chromium on the PATH")
		}
		tb.Skip("no chromium on the PATH: nothing is tested in a browser")
	}
	dir, err := os.MkdirTemp("", "browser") //nolint:usetesting // it is still written to by what the browser leaves behind
	if err != nil {
		tb.Fatal(err)
	}
	read, to, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	from, write, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
		"--user-data-dir="+dir, "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir, "TZ=UTC")
	cmd.ExtraFiles = []*os.File{read, write}
	if err := cmd.Start(); err != nil {
		cancel()
		tb.Fatal(err)
	}
	_ = read.Close()
	_ = write.Close()
	b := &Browser{to: to, calls: map[int]chan reply{}, tabs: map[string]func(string, json.RawMessage){}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(from)
	}()
	tb.Cleanup(func() {
		_, _ = io.WriteString(to, `{"id":1000000,"method":"Browser.close"}`+"\x00")
		_ = to.Close()
		kill := time.AfterFunc(5*time.Second, cancel)
		_ = cmd.Wait()
		kill.Stop()
		cancel()
		<-done
		_ = from.Close()
		_ = os.RemoveAll(dir)
	})
	return b
}

func (b *Browser) listen(from io.Reader) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, c := range b.calls {
				close(c)
			}
			b.calls = nil
			return
		}
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			reply
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		c, hear := b.calls[m.ID], b.tabs[m.SessionID]
		delete(b.calls, m.ID)
		b.mu.Unlock()
		if c != nil {
			c <- m.reply
		} else if hear != nil {
			hear(m.Method, m.Params)
		}
	}
}

// send calls a method, and decodes what it returns into result.
func (b *Browser) send(tb testing.TB, session, method string, params map[string]any, result any) {
	tb.Helper()
	c := make(chan reply, 1)
	b.mu.Lock()
	if b.calls == nil {
		b.mu.Unlock()
		tb.Fatal("the browser has ended")
	}
	b.last++
	m := map[string]any{"id": b.last, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	b.calls[b.last] = c
	line, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		tb.Fatal(err)
	}
	select {
	case r, ok := <-c:
		if !ok || r.Error != nil {
			tb.Fatalf("%s: %+v", method, r.Error)
		}
		if result != nil {
			if err := json.Unmarshal(r.Result, result); err != nil {
				tb.Fatal(err)
			}
		}
	case <-time.After(30 * time.Second):
		tb.Fatalf("%s: no answer", method)
	}
}

// Tab is a tab of somebody who has not been anywhere yet.
type Tab struct {
	b       *Browser
	tb      testing.TB
	session string
}

// Open opens one, of which hear is told each event, on one goroutine for the whole browser:
// it must not call the tab. Domains are those whose events are wanted, as "Network".
func (b *Browser) Open(tb testing.TB, hear func(method string, params json.RawMessage), domains ...string) *Tab {
	tb.Helper()
	var c struct{ BrowserContextID string }
	b.send(tb, "", "Target.createBrowserContext", nil, &c)
	var target struct{ TargetID string }
	b.send(tb, "", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": c.BrowserContextID}, &target)
	var s struct{ SessionID string }
	b.send(tb, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &s)
	b.mu.Lock()
	b.tabs[s.SessionID] = hear
	b.mu.Unlock()
	t := &Tab{b, tb, s.SessionID}
	for _, domain := range domains {
		t.Do(domain+".enable", nil, nil)
	}
	return t
}

// Do calls a method of the protocol, and decodes what it returns into result, if not nil.
func (t *Tab) Do(method string, params map[string]any, result any) {
	t.tb.Helper()
	t.b.send(t.tb, t.session, method, params, result)
}

// Eval gives what an expression, or the promise that it is, has as its value.
func (t *Tab) Eval(js string, result any) {
	t.tb.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	t.Do("Runtime.evaluate", map[string]any{"expression": js, "awaitPromise": true, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		t.tb.Fatalf("%s: %s", js, r.ExceptionDetails)
	}
	if result != nil {
		_ = json.Unmarshal(r.Result.Value, result) // undefined leaves it as it is
	}
}

// Until waits up to 20 s for a condition, and reports whether it has come true. If poll is
// not empty, that runs every 0.6 s meanwhile.
func (t *Tab) Until(condition, poll string) (ok bool) {
	t.tb.Helper()
	t.Eval(fmt.Sprintf(`new Promise(done => {
		const until = performance.now() + 20000;
		let looks = 0;
		const look = () => {
			if (++looks %% 40 === 0) { %s }
			let ok = false;
			try { ok = !!(%s); } catch {}
			ok || performance.now() > until ? done(ok) : setTimeout(look, 15);
		};
		look();
	})`, poll, condition), &ok)
	return ok
}

// Shoot keeps what is seen as a PNG, where CACHEASIDE_SCREENSHOTS names a folder.
func (t *Tab) Shoot(name string) {
	t.tb.Helper()
	dir := os.Getenv("CACHEASIDE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var s struct{ Data string }
	t.Do("Page.captureScreenshot", map[string]any{"format": "png"}, &s)
	b, err := base64.StdEncoding.DecodeString(s.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), b, 0o600)
	}
	if err != nil {
		t.tb.Fatal(err)
	}
}
