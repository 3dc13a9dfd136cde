package inspect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Instances find each other in the store, each in a slot of its own, as long as they have
// requests. Nobody writes who was not asked to share.
func TestSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &values{of: map[string][]byte{}}
		start := func(name string, opts ...Option) (*Endpoint, *Recorder) {
			r := NewRecorder(nil)
			e, err := newEndpoint(&fake{values: store}, r, Access{Token: fullToken}, append(opts, WithInstance(name))...)
			if err != nil {
				t.Fatal(err)
			}
			return e, r
		}
		a, ra := start("a", WithSharing())
		_, rb := start("b", WithSharing())
		alone, rc := start("c")
		recorders := []*Recorder{ra, rb, rc}
		seen := func(e *Endpoint) string {
			var all Instances
			r := e.Serve(t.Context(), asked("GET /api/instances", fullToken), nil)
			if json.Unmarshal(r.Body, &all); r.Status != 200 {
				t.Fatalf("%d %s", r.Status, r.Body)
			}
			text := ""
			for _, p := range all.Instances {
				text += fmt.Sprintf("%s%d ", p.Instance.Host, p.Recent.Requests)
			}
			return text
		}
		for i := range 12 { // a minute
			for _, r := range recorders {
				e := hitOf("/", keyNamed(i))
				r.Observe(&e)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		// Of others a little less is known.
		if got := seen(a); !slices.Contains([]string{"a12 b10 ", "a12 b11 ", "a12 b12 "}, got) {
			t.Error(got)
		}
		if got := seen(alone); got != "c12 " {
			t.Error(got)
		}
		store.Lock()
		if n := len(store.of); n != 2 {
			t.Errorf("%d slots are in use", n)
		}
		for i := range sharedSlots { // somebody writes what is none, or all too much
			if slot := slotKey(i); store.of[slot] == nil {
				store.of[slot] = []byte([]string{"{", `{"instance":{"id":""}}`, "[]", `{"instance":{"id":"` + strings.Repeat("x", sharedBytes) + `"}}`}[i%4])
			}
		}
		store.of[slotKey(20)] = []byte(`{"instance":{"id":"<script>\u202e","host":"evil\u202e"},"recent":{"requests":1,"results":{"<b>":7,"hit":1}}}`)
		store.Unlock()
		body := string(a.Serve(t.Context(), asked("GET /api/instances", fullToken), nil).Body)
		if strings.Contains(body, "\u202e") || strings.Contains(body, "\\u003cb") || !strings.Contains(body, `evil\\u{202e}`) {
			t.Error(body)
		}
		store.Lock()
		delete(store.of, slotKey(20))
		store.Unlock()
		time.Sleep(sharedFor + time.Second)
		synctest.Wait()
		if got := seen(a); got != "a12 " {
			t.Errorf("half a minute without requests: %s", got)
		}
	})
}
