package main

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // that of stamps
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// copier fills a server faster than the cache does: it reads what the cache has stored
// for a group of entries, and writes that for other groups, under their keys. The copies
// are what the cache would have stored, with checksums that are right, and are hits like
// others.
type copier struct {
	b         *backend
	namespace string
	from      string // the group that is copied
	keys      []string
}

// newCopier finds what is stored for a group.
func newCopier(ctx context.Context, b *backend, namespace string, group int) (*copier, error) {
	c := &copier{b: b, namespace: namespace, from: groupName(group)}
	err := b.scan(ctx, namespace, func(keys []string) error {
		for _, key := range keys {
			if strings.Contains(key, c.from) {
				c.keys = append(c.keys, key)
			}
		}
		return nil
	})
	if err == nil && len(c.keys) == 0 {
		err = fmt.Errorf("nothing is stored for %s", c.from)
	}
	return c, err
}

// stored is a value, and where the name of the group is in it.
type stored struct {
	key, value string
	in, at     []int // key, value
	ms         int64
}

// fill copies the group to those from first to the one before last.
func (c *copier) fill(ctx context.Context, first, last int) error {
	values, err := c.read(ctx)
	if err != nil {
		return err
	}
	const writers, part = 2, 50 // groups
	errs := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for g := first + w*part; g < last && errs[w] == nil && ctx.Err() == nil; g += writers * part {
				errs[w] = c.write(ctx, values, g, min(g+part, last))
			}
		})
	}
	all.Wait()
	return errors.Join(errors.Join(errs...), ctx.Err())
}

func (c *copier) read(ctx context.Context) ([]stored, error) {
	values := make([]stored, 0, len(c.keys))
	for _, key := range c.keys {
		value, err := c.b.client.Do(ctx, c.b.client.B().Get().Key(key).Build()).ToString()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		ms, err := c.b.client.Do(ctx, c.b.client.B().Pttl().Key(key).Build()).AsInt64()
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("%s lasts %d ms: %w", key, ms, err)
		}
		values = append(values, stored{key, value, indexes(key, c.from), indexes(value, c.from), ms})
	}
	return values, nil
}

func (c *copier) write(ctx context.Context, values []stored, first, last int) error {
	cmds := make(rueidis.Commands, 0, (last-first)*len(values))
	for g := first; g < last; g++ {
		name := groupName(g)
		for _, v := range values {
			key := string(replaced(v.key, v.in, name))
			value := resum(key, replaced(v.value, v.at, name))
			cmds = append(cmds, c.b.client.B().Set().Key(key).Value(rueidis.BinaryString(value)).Px(time.Duration(v.ms)*time.Millisecond).Build())
		}
	}
	for _, r := range c.b.client.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

func indexes(text, name string) (at []int) {
	for from := 0; ; from = at[len(at)-1] + len(name) {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return at
		}
		at = append(at, from+i)
	}
}

func replaced(text string, at []int, name string) []byte {
	b := []byte(text)
	for _, i := range at {
		copy(b[i:], name)
	}
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// resum corrects the checksum of a value: of an entry, which has a CRC-32C of all else
// after four bytes, or of a stamp, which ends with a digest of its key and text. Should
// the formats change, there are no hits, and the program ends with an error.
func resum(key string, value []byte) []byte {
	if bytes.HasPrefix(value, []byte("ca")) && len(value) > 8 {
		sum := crc32.Update(crc32.Update(0, castagnoli, value[:4]), castagnoli, value[8:])
		binary.LittleEndian.PutUint32(value[4:], sum)
		return value
	}
	if n := len(value) - 8; n > 0 {
		digest := sha1.Sum(append([]byte(key), value[:n]...)) //nolint:gosec // it is no signature
		hex.Encode(value[n:], digest[:4])
	}
	return value
}

// entry is a key of the group that has an entry.
func (c *copier) entry() string {
	for _, key := range c.keys {
		if strings.Contains(key, "/"+c.from+"/") {
			return key
		}
	}
	return ""
}
