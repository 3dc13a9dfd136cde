package adapter_test

import (
	"bytes"
	"testing"

	"github.com/cacheaside/cacheaside/core/adapter"
)

// account is a memory that keeps count.
type account struct{ limit, used, most int64 }

func (a *account) Reserve(n int64) bool {
	if a.used+n > a.limit {
		return false
	}
	a.used += n
	a.most = max(a.most, a.used)
	return true
}

func (a *account) Release(n int64) { a.used -= n }

func TestBuffer(t *testing.T) {
	for _, tt := range []struct {
		name         string
		limit, max   int64
		whole        int64
		pieces, size int
		reason       string
		most         int64 // that was reserved
	}{
		{"declared", 1000, 1000, 1000, 10, 100, "", 1000},
		{"grows", 1 << 20, 1 << 20, -1, 10, 100, "", 800 + 1600},
		{"grows to the limit", 1 << 20, 1000, -1, 10, 100, "", 800 + 1000},
		{"one piece", 1000, 1000, -1, 1, 1000, "", 1000},
		{"too large", 1 << 20, 999, -1, 10, 100, adapter.ReasonTooLarge, 800 + 999},
		{"declared less", 1 << 20, 1 << 20, 50, 2, 100, "", 100 + 200},
		{"no room", 999, 1 << 20, -1, 1, 1000, adapter.ReasonCaptureFull, 0},
		{"no room to grow", 1000, 1 << 20, -1, 10, 100, adapter.ReasonCaptureFull, 900},
		{"no limit", 1 << 20, 0, -1, 3, 1, "", 2 + 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &account{limit: tt.limit}
			f := &adapter.Forward{MaxBody: tt.max, Memory: a}
			var b adapter.Buffer
			var want, seen []byte
			reason := ""
			for i := range tt.pieces {
				p := bytes.Repeat([]byte{byte(i)}, tt.size)
				if reason = b.Grow(f, len(p), tt.whole); reason != "" {
					break
				}
				if i == 0 {
					seen = b.Bytes()
				}
				adapter.Append(&b, p)
				want = append(want, p...)
				if a.used < int64(cap(b.Bytes())) {
					t.Errorf("%d bytes are reserved for %d", a.used, cap(b.Bytes()))
				}
			}
			if reason != tt.reason || a.most != tt.most || !bytes.Equal(b.Bytes(), want) || b.Len() != int64(len(want)) || len(seen) != 0 {
				t.Errorf("%q after %d bytes, %d reserved; want %q, %d", reason, b.Len(), a.most, tt.reason, tt.most)
			}
			if b.Drop(f); a.used != 0 || b.Len() != 0 {
				t.Errorf("%d bytes are reserved, %d there", a.used, b.Len())
			}
		})
	}
}
