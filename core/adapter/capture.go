package adapter

// Memory is what captures share: a number of bytes. Its methods may be called
// concurrently.
type Memory interface {
	// Reserve reports whether n more bytes may be allocated. It does not wait.
	Reserve(n int64) bool
	// Release gives n bytes back.
	Release(n int64)
}

// Buffer is a body that is captured piece by piece. It takes the memory for what it
// holds from [Forward].Memory, and the old memory back only once the new one is there:
// what is reserved is never less than what is in use. The zero value is empty; it is
// not for concurrent use.
type Buffer struct {
	b        []byte
	reserved int64
}

// Bytes are what was captured. They stay as they are when more comes.
func (b *Buffer) Bytes() []byte { return b.b }

// Len is how many there are.
func (b *Buffer) Len() int64 { return int64(len(b.b)) }

// Grow makes room for n more bytes, or says why there is none. Whole is how long the
// body will be, -1 where nobody knows: then a larger buffer is twice as large.
func (b *Buffer) Grow(f *Forward, n int, whole int64) (reason string) {
	need := b.Len() + int64(n)
	switch {
	case f.MaxBody > 0 && need > f.MaxBody:
		return ReasonTooLarge
	case need <= int64(cap(b.b)):
		return ""
	}
	size := max(need, 2*int64(cap(b.b)))
	if whole >= need {
		size = whole
	}
	if f.MaxBody > 0 {
		size = min(size, f.MaxBody)
	}
	if f.Memory != nil && !f.Memory.Reserve(size) {
		if size == need || !f.Memory.Reserve(need) {
			return ReasonCaptureFull
		}
		size = need
	}
	grown := make([]byte, len(b.b), size)
	copy(grown, b.b)
	if f.Memory != nil && b.reserved > 0 {
		f.Memory.Release(b.reserved)
	}
	b.b, b.reserved = grown, size
	return ""
}

// Append adds p, for which Grow has made room.
func Append[T []byte | string](b *Buffer, p T) { b.b = append(b.b, p...) }

// Drop gives the memory back.
func (b *Buffer) Drop(f *Forward) {
	if f.Memory != nil && b.reserved > 0 {
		f.Memory.Release(b.reserved)
	}
	*b = Buffer{}
}
