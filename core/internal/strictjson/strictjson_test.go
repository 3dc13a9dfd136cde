package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestObject(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                         "",
		` {"n": 1, "l": ["a"]} `:     "",
		`{"n": null}`:                "",
		``:                           "no JSON object",
		`[]`:                         "no JSON object",
		`null`:                       "no JSON object",
		`{"n": 1`:                    "no such JSON",
		`{"n": 1,}`:                  "no such JSON",
		`{"n": "x"}`:                 `"n" is no such JSON`,
		`{"n": 1.5}`:                 `"n" is no such JSON`,
		`{"N": 1}`:                   `there is no "N": use l, n`,
		`{"": 1}`:                    `there is no "": use l, n`,
		`{"n": 1, "n": 2}`:           `"n" is there twice`,
		`{"n": 1, "\u006e": 2}`:      `"n" is there twice`,
		`{"n": 1} {}`:                "behind the JSON",
		`{"n": 1}x`:                  "behind the JSON",
		"{\"l\": [\"\xff\"]}":        "send UTF-8",
		`{"` + "\u202e" + `": 1}`:    `there is no "\u202e": use l, n`,
		strings.Repeat(`{"n":`, 1e5): "no such JSON",
	} {
		var n int
		var l []string
		err := Object([]byte(text), map[string]any{"n": &n, "l": &l})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"n": 1, "l": ["a"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want struct {
			N int      `json:"n"`
			L []string `json:"l"`
		}
		if err := Object(text, map[string]any{"n": &got.N, "l": &got.L}); err != nil {
			return
		}
		if err := json.Unmarshal(text, &want); err != nil || got.N != want.N || len(got.L) != len(want.L) {
			t.Errorf("%q: %+v, encoding/json says %+v, %v", text, got, want, err)
		}
	})
}
