package httprules

import "github.com/dunglas/httpsfv"

// Groups reads Cache-Groups or Cache-Group-Invalidation: a list of strings (RFC
// 9875 sections 2 and 3). Parameters are ignored; a field that is no such list is
// ignored as a whole.
func Groups(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	return out
}

// TagFields are the response fields in which a handler names the tags (surrogate
// keys) of its response.
var TagFields = []string{"Cache-Tag", "Surrogate-Key"}
