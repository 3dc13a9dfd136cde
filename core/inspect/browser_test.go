package inspect

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// A browser is a headless Chromium, which is told what to do in the DevTools protocol by
// way of pipes: https://chromedevtools.github.io/devtools-protocol/.
type browser struct {
	to    io.Writer
	mu    sync.Mutex
	last  int
	calls map[int]chan reply
	pages map[string]*page // by session
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startBrowser starts one, if there is one on the PATH.
func startBrowser(t *testing.T) *browser {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CACHEASIDE_REQUIRE_BROWSER") != "" {
			t.Fatal("no chromium on the PATH")
		}
		t.Skip("no chromium on the PATH: the page is not tested in a browser")
	}
	dir, err := os.MkdirTemp("", "inspect") //nolint:usetesting // it is still written to by what the browser leaves behind
	if err != nil {
		t.Fatal(err)
	}
	read, to, _ := os.Pipe()
	from, write, _ := os.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
		"--user-data-dir="+dir, "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir, "TZ=UTC")
	cmd.ExtraFiles = []*os.File{read, write}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	b := &browser{to: to, calls: map[int]chan reply{}, pages: map[string]*page{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(from)
	}()
	t.Cleanup(func() {
		fmt.Fprintf(to, `{"id":1000000,"method":"Browser.close"}`+"\x00")
		to.Close()
		kill := time.AfterFunc(5*time.Second, cancel)
		cmd.Wait()
		kill.Stop()
		cancel()
		<-done
		from.Close()
		os.RemoveAll(dir)
	})
	return b
}

func (b *browser) listen(from io.Reader) {
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
		c, p := b.calls[m.ID], b.pages[m.SessionID]
		delete(b.calls, m.ID)
		b.mu.Unlock()
		if c != nil {
			c <- m.reply
		} else if p != nil {
			p.hear(m.Method, m.Params)
		}
	}
}

// send calls a method, and decodes what it returns into result.
func (b *browser) send(t *testing.T, session, method string, params map[string]any, result any) {
	t.Helper()
	c := make(chan reply, 1)
	b.mu.Lock()
	if b.calls == nil {
		b.mu.Unlock()
		t.Fatal("the browser has ended")
	}
	b.last++
	m := map[string]any{"id": b.last, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	b.calls[b.last] = c
	line, _ := json.Marshal(m)
	_, err := b.to.Write(append(line, 0))
	b.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r, ok := <-c:
		if !ok || r.Error != nil {
			t.Fatalf("%s: %+v", method, r.Error)
		}
		if result != nil {
			if err := json.Unmarshal(r.Result, result); err != nil {
				t.Fatal(err)
			}
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: no answer", method)
	}
}

// page is a tab with the inspector.
type page struct {
	*browser
	t       *testing.T
	session string
	base    string
	mu      sync.Mutex
	faults  []string // what the console says, and violations of the policy
}

// visit opens a page of the inspector, as somebody who has not been here.
func (b *browser) visit(t *testing.T, base string) *page {
	t.Helper()
	p := &page{browser: b, t: t, base: base}
	var c struct{ BrowserContextID string }
	b.send(t, "", "Target.createBrowserContext", nil, &c)
	var target struct{ TargetID string }
	b.send(t, "", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": c.BrowserContextID}, &target)
	var s struct{ SessionID string }
	b.send(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &s)
	p.session = s.SessionID
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	p.do("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.do(domain+".enable", nil, nil)
	}
	p.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		window.violations = [];
		addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));
		window.fired = 0;`}, nil)
	p.look("light", 1280, 900)
	p.do("Page.navigate", map[string]any{"url": base}, nil)
	return p
}

func (p *page) hear(method string, params json.RawMessage) {
	var m struct {
		Type  string
		Entry struct{ Level, Text, URL string }
	}
	json.Unmarshal(params, &m)
	fault := ""
	switch {
	case method == "Runtime.exceptionThrown":
		fault = string(params)
	case method == "Runtime.consoleAPICalled" && (m.Type == "error" || m.Type == "warning"):
		fault = string(params)
	case method == "Log.entryAdded" && (m.Entry.Level == "error" || m.Entry.Level == "warning"):
		fault = m.Entry.Text + " " + m.Entry.URL
	}
	if fault != "" {
		p.mu.Lock()
		p.faults = append(p.faults, fault)
		p.mu.Unlock()
	}
}

func (p *page) do(method string, params map[string]any, result any) {
	p.t.Helper()
	p.send(p.t, p.session, method, params, result)
}

func (p *page) look(scheme string, width, height int) {
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
	}}, nil)
}

// eval gives what an expression, or the promise that it is, has as its value.
func (p *page) eval(js string, result any) {
	p.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	p.do("Runtime.evaluate", map[string]any{"expression": js, "awaitPromise": true, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", js, r.ExceptionDetails)
	}
	if result != nil {
		json.Unmarshal(r.Result.Value, result)
	}
}

// until waits for a condition. Meanwhile the page asks the API as if one had come back to
// its tab, not only each few seconds.
func (p *page) until(condition string) {
	p.t.Helper()
	var ok bool
	p.eval(`new Promise(done => {
		const until = performance.now() + 20000;
		let looks = 0;
		const look = () => {
			if (++looks % 40 === 0) document.dispatchEvent(new Event('visibilitychange'));
			let ok = false;
			try { ok = !!(`+condition+`); } catch {}
			ok || performance.now() > until ? done(ok) : setTimeout(look, 15);
		};
		look();
	})`, &ok)
	if !ok {
		var text string
		p.eval(`document.body.innerText`, &text)
		p.t.Fatalf("never: %s\n%s", condition, text)
	}
}

// press presses keys: names such as Tab and Enter, or a single character.
func (p *page) press(keys ...string) {
	p.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
	for _, k := range keys {
		name, shift := strings.CutPrefix(k, "Shift+")
		mods := 0
		if shift {
			mods = 8
		}
		m := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": codes[name], "modifiers": mods}
		switch {
		case name == "Enter":
			m["text"] = "\r"
		case len(name) == 1:
			m["text"] = name
			if name == " " {
				m["code"] = "Space"
			}
		}
		p.do("Input.dispatchKeyEvent", m, nil)
		p.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": codes[name], "modifiers": mods}, nil)
	}
}

func (p *page) write(text string) {
	p.do("Input.insertText", map[string]any{"text": text}, nil)
}

// tabTo presses Tab until an element has the focus.
func (p *page) tabTo(selector string) {
	p.t.Helper()
	for range 120 {
		var there bool
		p.eval(`document.activeElement.matches(`+quoted(selector)+`)`, &there)
		if there {
			return
		}
		p.press("Tab")
	}
	p.t.Fatalf("Tab does not lead to %s", selector)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// signIn opens the page by keyboard alone.
func (p *page) signIn(token string) {
	p.t.Helper()
	p.until(`document.activeElement && document.activeElement.id === 'token'`)
	p.write(token)
	p.press("Enter")
	p.until(`!document.getElementById('frame').hidden && document.getElementById('live').textContent`)
}

// view goes to one, by its link.
func (p *page) view(id, title string) {
	p.t.Helper()
	p.eval(`location.hash = '#/`+id+`'`, nil)
	p.until(`document.getElementById('title').textContent === ` + quoted(title))
}

// clean fails if the console or the policy had something to say that was not expected.
func (p *page) clean(expected ...string) {
	p.t.Helper()
	var violations []string
	p.eval(`violations`, &violations)
	var fired int
	p.eval(`fired`, &fired)
	if len(violations) > 0 || fired > 0 {
		p.t.Errorf("violations of the policy: %q; %d scripts ran that were none", violations, fired)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, f := range p.faults {
		for _, e := range expected {
			if strings.Contains(f, e) {
				continue next
			}
		}
		p.t.Errorf("the console: %s", f)
	}
	p.faults = nil
}

// shoot keeps what is seen, where CACHEASIDE_SCREENSHOTS names a folder.
func (p *page) shoot(name string) {
	dir := os.Getenv("CACHEASIDE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var s struct{ Data string }
	p.do("Page.captureScreenshot", map[string]any{"format": "png"}, &s)
	b, _ := base64.StdEncoding.DecodeString(s.Data)
	if err := os.WriteFile(filepath.Join(dir, name+".png"), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// serve mounts an endpoint below /admin/cache/.
func serve(t *testing.T, e *atomic.Pointer[Endpoint]) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/admin/cache") {
			http.NotFound(w, r)
			return
		}
		req := &adapter.Request{
			Method: r.Method, Scheme: "http", Host: r.Host, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header,
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
		res := e.Load().Serve(r.Context(), req, body)
		for _, f := range res.Header {
			w.Header().Add(f.Name, f.Value)
		}
		w.WriteHeader(res.Status)
		w.Write(res.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/admin/cache/"
}
