package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestTailCursor: nothing is shown twice, what was missed is said, and another process is
// asked from its beginning.
func TestTailCursor(t *testing.T) {
	page := func(instance string, next, missed int, events ...string) string {
		all := make([]string, len(events))
		for i, key := range events {
			all[i] = fmt.Sprintf(`{"seq":1,"kind":"request","result":"miss","key":{"text":%q}}`, "http://example.com/"+key)
		}
		return fmt.Sprintf(`{"instance":%q,"next":%d,"missed":%d,"events":[%s]}`, instance, next, missed, strings.Join(all, ","))
	}
	script := []struct{ query, answer string }{
		{"after=0&limit=20&route=%2Fx", page("a", 5, 0, "one")},
		{"after=5&limit=500&route=%2Fx", page("a", 2000, 900, "two")},
		{"after=2000&limit=500&route=%2Fx", page("b", 3, 0, "no: it is of another order")},
		{"after=0&limit=500&route=%2Fx", page("b", 3, 0, "three")},
		{"after=3&limit=500&route=%2Fx", page("b", 503, 0, slices.Repeat([]string{"many"}, 500)...)},
		{"after=503&limit=500&route=%2Fx", page("b", 504, 0, "four")},
		{"after=504&limit=500&route=%2Fx", page("b", 504, 0)},
	}
	var mu sync.Mutex
	at := 0
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.RawQuery != script[at].query {
			t.Errorf("%d: asked for %s, want %s", at, r.URL.RawQuery, script[at].query)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, script[at].answer)
		at = min(at+1, len(script)-1)
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, []string{"CACHEASIDE_INSPECT=" + url, "CACHEASIDE_TOKEN=" + token}, "tail", "--every", "1ms", "--route", "/x")
	var out, errs synced
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.sees(t, "/four")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		_, key, _ := strings.Cut(strings.TrimSpace(line), "http://example.com/")
		got = append(got, key)
	}
	if want := slices.Concat([]string{"one", "two", "three"}, slices.Repeat([]string{"many"}, 500), []string{"four"}); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if want := "cacheaside: 900 events missed: more happened than the service keeps\n" +
		"cacheaside: another process answers: it was started anew, or several share the address: then give the address of one\n"; errs.String() != want {
		t.Errorf("%q", errs.String())
	}
}
