package inspect

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
	"github.com/cacheaside/cacheaside/core/coretest/browser"
)

// page is a tab with the inspector.
type page struct {
	*browser.Tab
	t      *testing.T
	base   string
	mu     sync.Mutex
	faults []string // what the console says, and violations of the policy
}

// visit opens a page of the inspector, as somebody who has not been here.
func visit(t *testing.T, b *browser.Browser, base string) *page {
	t.Helper()
	p := &page{t: t, base: base}
	p.Tab = b.Open(t, p.hear, "Page", "Runtime", "Log", "Network")
	p.Do("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	p.Do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
		window.violations = [];
		addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI));
		window.fired = 0;`}, nil)
	p.look("light", 1280, 900)
	p.Do("Page.navigate", map[string]any{"url": base}, nil)
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

func (p *page) look(scheme string, width, height int) {
	p.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.Do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
	}}, nil)
}

// until waits for a condition. Meanwhile the page asks the API as if one had come back to
// its tab, not only each few seconds.
func (p *page) until(condition string) {
	p.t.Helper()
	if !p.Until(condition, `document.dispatchEvent(new Event('visibilitychange'));`) {
		var text string
		p.Eval(`document.body.innerText`, &text)
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
		p.Do("Input.dispatchKeyEvent", m, nil)
		p.Do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": codes[name], "modifiers": mods}, nil)
	}
}

func (p *page) write(text string) {
	p.Do("Input.insertText", map[string]any{"text": text}, nil)
}

// tabTo presses Tab until an element has the focus.
func (p *page) tabTo(selector string) {
	p.t.Helper()
	for range 120 {
		var there bool
		p.Eval(`document.activeElement.matches(`+quoted(selector)+`)`, &there)
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
	p.Eval(`location.hash = '#/`+id+`'`, nil)
	p.until(`document.getElementById('title').textContent === ` + quoted(title))
}

// clean fails if the console or the policy had something to say that was not expected.
func (p *page) clean(expected ...string) {
	p.t.Helper()
	var violations []string
	p.Eval(`violations`, &violations)
	var fired int
	p.Eval(`fired`, &fired)
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
