package inspect

// For tests from outside of the package.
const (
	FullToken = fullToken
	Secret    = secret
)

var Asked = asked
