package dragonfly

import (
	"context"
	"crypto/fips140"
	"crypto/sha1" //nolint:gosec // it is how servers name scripts
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"
)

// script is a Lua script and the name that servers give it: none where SHA-1 is
// forbidden, and the script is sent with every call.
type script struct{ text, sha string }

func newScript(text string) *script {
	if fips140.Enforced() {
		return &script{text: text}
	}
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return &script{text, hex.EncodeToString(sum[:])}
}

// invocation is a call of a script. Its keys are of one slot.
type invocation struct {
	*script
	keys, args []string
}

func (i *invocation) short(b rueidis.Builder) rueidis.Completed {
	if i.sha == "" {
		return i.long(b)
	}
	return b.Evalsha().Sha1(i.sha).Numkeys(int64(len(i.keys))).Key(i.keys...).Arg(i.args...).Build()
}

func (i *invocation) long(b rueidis.Builder) rueidis.Completed {
	return b.Eval().Script(i.text).Numkeys(int64(len(i.keys))).Key(i.keys...).Arg(i.args...).Build()
}

// run runs a script, which takes a second command if the server does not know it
// yet. The error is as for do.
func (s *Store) run(ctx context.Context, sc *script, keys, args []string) (rueidis.RedisResult, error) {
	call := invocation{sc, keys, args}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	result, err := s.do(ctx, call.short(s.client.B()))
	if err == nil && isUnknown(result.Error()) {
		result, err = s.do(ctx, call.long(s.client.B()))
	}
	return result, err
}

// runAll runs scripts in one round trip, those that the server does not know yet in
// another one. The error is as for do.
func (s *Store) runAll(ctx context.Context, calls []invocation) ([]rueidis.RedisResult, error) {
	if len(calls) == 1 {
		result, err := s.run(ctx, calls[0].script, calls[0].keys, calls[0].args)
		return []rueidis.RedisResult{result}, err
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	cmds := make(rueidis.Commands, len(calls))
	for i := range calls {
		cmds[i] = calls[i].short(s.client.B())
	}
	results, err := s.pipeline(ctx, cmds)
	if err != nil {
		return nil, err
	}
	var again []int
	cmds = cmds[:0]
	for i := range calls {
		if isUnknown(results[i].Error()) {
			again = append(again, i)
			cmds = append(cmds, calls[i].long(s.client.B()))
		}
	}
	if len(again) == 0 {
		return results, nil
	}
	late, err := s.pipeline(ctx, cmds)
	if err != nil {
		return nil, err
	}
	for i, at := range again {
		results[at] = late[i]
	}
	return results, nil
}

// isUnknown reports whether the server did not know a script, and so did nothing.
func isUnknown(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "NOSCRIPT")
}
