package dragonfly

import (
	"context"
	"crypto/fips140"
	"crypto/sha1" //nolint:gosec // it is how servers name scripts
	"encoding/hex"
	"strings"
	"time"

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

// movePause is how soon a script is sent again whose keys are moving to another node, the
// first time.
const movePause = 2 * time.Millisecond

// insist is run for a purge: while the slot of its keys moves, and some of them have, so
// that nobody could run the script, it is sent again as long as ctx allows.
func (s *Store) insist(ctx context.Context, sc *script, keys, args []string) (rueidis.RedisResult, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	for pause := movePause; ; pause = min(2*pause, 16*movePause) {
		result, err := s.run(ctx, sc, keys, args)
		if err != nil || !isMoving(result.Error()) {
			return result, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done(): // the server's answer says more than the deadline
			timer.Stop()
			return result, nil
		case <-timer.C:
		}
	}
}

// isMoving reports whether a node did nothing, since it has some of the keys of a command
// and not all.
func isMoving(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && e.IsTryAgain()
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
	var unknown []int
	var again rueidis.Commands
	for i := range calls {
		if isUnknown(results[i].Error()) {
			unknown, again = append(unknown, i), append(again, calls[i].long(s.client.B()))
		}
	}
	if len(again) == 0 {
		return results, nil
	}
	late, err := s.pipeline(ctx, again)
	if err != nil {
		return nil, err
	}
	for i, at := range unknown {
		results[at] = late[i]
	}
	return results, nil
}

// isUnknown reports whether the server did not know a script, and so did nothing.
func isUnknown(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "NOSCRIPT")
}
