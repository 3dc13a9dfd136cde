package graphql

import (
	"crypto/sha256"
	"encoding/hex"
)

// hashes reports whether the extensions of a request name no other document than its query
// (automatic persisted queries): a server might run that.
func hashes(request value, query string) bool {
	extensions := request.member("extensions")
	if extensions == nil {
		return true
	}
	p := extensions.member("persistedQuery")
	if p == nil {
		return true
	}
	if p.kind != kindObject {
		return false
	}
	for _, m := range p.members {
		if m.name != "version" && m.name != "sha256Hash" {
			return false
		}
	}
	sum := sha256.Sum256([]byte(query))
	hash := p.member("sha256Hash")
	return hash != nil && hash.kind == kindString && hash.text == hex.EncodeToString(sum[:])
}

// persisted reports whether a request without a query names one: by one way, or it could not
// be told which.
func persisted(request value) bool {
	id, hash := request.member("documentId"), (*value)(nil)
	if extensions := request.member("extensions"); extensions != nil {
		if p := extensions.member("persistedQuery"); p != nil {
			if hash = p.member("sha256Hash"); hash == nil {
				return false
			}
		}
	}
	if id == nil {
		id, hash = hash, nil
	}
	return id != nil && hash == nil && id.kind == kindString && id.text != ""
}
