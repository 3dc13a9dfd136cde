package graphql

import (
	"bytes"
	"encoding/json"
)

// HasErrors reports whether a response must not be stored: where it has errors (section 7.1
// of the specification), or one of several has, or it is not JSON at all, such as one that
// comes in parts.
func HasErrors(body []byte) bool {
	var responses []map[string]json.RawMessage
	if body = bytes.TrimSpace(body); !bytes.HasPrefix(body, []byte("[")) {
		responses = make([]map[string]json.RawMessage, 1)
		if json.Unmarshal(body, &responses[0]) != nil {
			return true
		}
	} else if json.Unmarshal(body, &responses) != nil {
		return true
	}
	for _, r := range responses {
		errs, some := r["errors"]
		if r == nil || some && string(errs) != "null" {
			return true
		}
	}
	return false
}
