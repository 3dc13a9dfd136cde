package cacheaside

import "unsafe"

// viewOf is a string over b, which must not change while the string is in use.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
