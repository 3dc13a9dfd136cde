// Package strictjson reads JSON from which nothing is taken for something else than was
// meant: json.Unmarshal would forget the first of two members of one name, take NAME for
// name, and replace bytes that are no UTF-8.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Object reads an object into pointers by the names of its members, each of which may be
// missing. The error says what to do, and is fit for whoever has sent the text.
func Object(text []byte, members map[string]any) error {
	if !utf8.Valid(text) {
		return errors.New("the body has a character that is none: send UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("the body is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("the body is no such JSON: %w", err)
		}
		name, _ := t.(string) // as all names are
		into, known := members[name]
		switch {
		case !known:
			return fmt.Errorf("there is no %.80q: use %s", name, strings.Join(slices.Sorted(maps.Keys(members)), ", "))
		case seen[name]:
			return fmt.Errorf("%q is there twice: give one", name)
		}
		seen[name] = true
		if err := d.Decode(into); err != nil {
			return fmt.Errorf("%q is no such JSON: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("the body is no such JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON")
	}
	return nil
}
