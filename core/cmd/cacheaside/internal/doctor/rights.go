package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/internal/keys"
	"github.com/cacheaside/cacheaside/core/store"
)

// right is one that the user needs, and how it is tried.
type right struct {
	name    string // as ACL SETUSER has it
	without string // what does not work without it
	status  Status
	cluster bool // in a cluster only
	command func(tag string) []string
}

func on(end string, command string, args ...string) func(string) []string {
	return func(tag string) []string { return append([]string{command, tag + end}, args...) }
}

func plain(command ...string) func(string) []string {
	return func(string) []string { return command }
}

const (
	noLookup  = "nothing is ever found"
	noFill    = "nothing is stored"
	noPurge   = "nothing can be purged"
	noNear    = "there is no near tier"
	noCluster = "its nodes are not found"
	msKept    = "60000"
)

// rights are those that the README of core/dragonfly lists, in an order in which each can
// be tried. Those of the second list are tried on a connection of their own.
var rights = []right{
	{"get", noLookup, Fail, false, on("", "GET")},
	{"getrange", noFill, Fail, false, on("", "GETRANGE", "0", "1")},
	{"set", noFill, Fail, false, on(":lock", "SET", "doctor", "NX", "GET", "PX", msKept)},
	{"pttl", "responses with tags are not stored", Fail, false, on("", "PTTL")},
	{"lpush", noPurge, Fail, false, on(":list", "LPUSH", "doctor")},
	{"pexpire", noFill, Fail, false, on(":list", "PEXPIRE", msKept)},
	{"ltrim", noPurge, Fail, false, on(":list", "LTRIM", "0", "0")},
	{"lrange", "the first response with a tag is not stored while something is being purged", Warn, false, on(":list", "LRANGE", "0", "0")},
	{"del", noFill, Fail, false, on(":list", "DEL")},
	{"unlink", noPurge, Fail, false, on(":gone", "UNLINK")},
	{"eval", noFill, Fail, false, func(tag string) []string { return []string{"EVAL", "return 1", "1", tag} }},
	{"evalsha", noFill, Fail, false, func(tag string) []string {
		return []string{"EVALSHA", strings.Repeat("0", 40), "1", tag} // of no script
	}},
	{"ping", "the log does not say what the server is", Warn, false, plain("PING")},
	{"info", "the log does not say what the server is, and a cluster is known by several addresses only", Warn, false, plain("INFO", "server")},
	{"cluster|slots", noCluster, Fail, true, plain("CLUSTER", "SLOTS")},
	{"cluster|shards", noCluster, Warn, true, plain("CLUSTER", "SHARDS")}, // CLUSTER SLOTS does as well
	{"asking", "calls fail while slots move", Warn, true, plain("ASKING")},
}

// dragonflyRights are those that matter on Dragonfly alone.
var dragonflyRights = []right{
	{"readwrite", "a Dragonfly that emulates a cluster is only used at the address that it gives of itself", Warn, true, plain("READWRITE")},
}

var nearRights = []right{
	{"client|tracking", noNear, Warn, false, plain("CLIENT", "TRACKING", "ON", "OPTIN")},
	{"client|caching", noNear, Warn, false, plain("CLIENT", "CACHING", "YES")},
	{"multi", noNear, Warn, false, plain("MULTI")},
	{"exec", noNear, Warn, false, plain("EXEC")},
}

// rights tries each right on each node. It reports whether those are there without which
// nothing works.
func (p *patient) rights(ctx context.Context) bool {
	ctx, cancel := p.step(ctx)
	defer cancel()
	tried, good := 0, true
	missing := map[string]bool{}
	for i := range p.nodes {
		n := &p.nodes[i]
		t, err := p.try(ctx, n)
		switch {
		case err != nil:
			p.find(Rights, Fail, n.on()+err.Error(), remedyOf(cause(err)))
			return false
		case t.foreignKey:
			pattern := "~" + p.Namespace + ":" + keys.Format + ":*"
			p.find("right "+pattern, Fail, n.on()+"the user may not touch the keys of the namespace", "give it its keys: ACL SETUSER … "+pattern)
			return false
		}
		tried += t.tried
		for _, r := range t.lacks {
			name := n.spelled(r.name)
			if missing[name] {
				continue
			}
			missing[name] = true
			p.find("right +"+name, r.status, n.on()+"the user lacks it: "+r.without, "give it to the user: ACL SETUSER … +"+name)
			good = good && r.status != Fail
		}
	}
	if len(missing) == 0 {
		p.find(Rights, OK, fmt.Sprintf("the user has all %d that the cache needs", tried/len(p.nodes)), "")
	}
	return good
}

// trial is what has become of trying all rights on a node.
type trial struct {
	tried      int
	lacks      []right
	foreignKey bool // the user may give the commands, but not for keys of the namespace
}

// try tries all rights on a node. An error is no answer of the server's.
func (p *patient) try(ctx context.Context, n *node) (t trial, err error) {
	all := rights
	if n.dragonfly() {
		all = slices.Concat(rights, dragonflyRights)
	}
	cluster := p.client.Mode() == rueidis.ClientModeCluster
	for _, r := range all {
		if r.cluster && !cluster {
			continue
		}
		if err := t.take(r, n.client.Do(ctx, n.client.B().Arbitrary(r.command(n.tag)...).Build()).Error()); err != nil || t.foreignKey {
			return t, err
		}
	}
	c, end := n.client.Dedicate()
	defer end()
	defer c.Close() // nobody else is to have a connection that is in a transaction, or tracks
	for _, r := range nearRights {
		// That the server cannot do it is another finding.
		if err := t.take(r, c.Do(ctx, c.B().Arbitrary(r.command(n.tag)...).Build()).Error()); err != nil {
			return t, err
		}
	}
	t.foreignKey = n.dragonfly() && t.noKeys()
	return t, nil
}

// take notes what trying a right was answered.
func (t *trial) take(r right, err error) error {
	switch {
	case isForeignKey(err):
		t.foreignKey = true
	case isNoPerm(err):
		t.lacks = append(t.lacks, r)
	case err != nil && !isAnswer(err):
		return fmt.Errorf("trying %s: %w", r.name, err)
	}
	t.tried++
	return nil
}

// noKeys reports whether everything is refused that has a key, and not what has none:
// Dragonfly says of a key that is not for the user what it says of a command.
func (t *trial) noKeys() bool {
	const tag = "{doctor}"
	keyed, plain := 0, 0
	for _, r := range t.lacks {
		if strings.Contains(strings.Join(r.command(tag), " "), tag) {
			keyed++
		} else {
			plain++
		}
	}
	all := 0
	for _, r := range rights {
		if strings.Contains(strings.Join(r.command(tag), " "), tag) {
			all++
		}
	}
	return keyed == all && plain < t.tried-all
}

func (n *node) dragonfly() bool { return n.info["dragonfly_version"] != "" }

// spelled is a right as the server has it: Dragonfly has those of subcommands as a whole.
func (n *node) spelled(name string) string {
	if n.dragonfly() {
		name, _, _ = strings.Cut(name, "|")
	}
	return name
}

func isAnswer(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok || rueidis.IsRedisNil(err)
}

// isForeignKey reports whether the user may give the command, but not for this key. Redis
// 7.0 and older have other words for it than the newer ones.
func isForeignKey(err error) bool {
	return isNoPerm(err) && (strings.Contains(err.Error(), "to access one of the keys") || strings.Contains(err.Error(), "to access a key"))
}

// scripts does once what a cache does: a fill with a tag, its purge, a purge of everything,
// and a large value. It reports whether all works.
func (p *patient) scripts(ctx context.Context) bool {
	ctx, cancel := p.step(ctx)
	defer cancel()
	for _, n := range p.nodes {
		if what, err := p.exercise(ctx, &n); err != nil {
			p.find(Scripts, Fail, n.on()+what+": "+err.Error(), remedyOf(cause(err)))
			return false
		}
	}
	p.find(Scripts, OK, "a response was stored, read and purged, by all scripts of the cache, and a large one moved", "")
	return true
}

// cause is what the server has said, if it has.
func cause(err error) error {
	for e := err; e != nil; {
		if isAnswer(e) {
			return e
		}
		switch u := e.(type) { //nolint:errorlint // it goes through them
		case interface{ Unwrap() error }:
			e = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, one := range u.Unwrap() {
				if found := cause(one); isAnswer(found) {
					return found
				}
			}
			return err
		default:
			return err
		}
	}
	return err
}

// wrong is an answer that the cache does not expect.
type wrong string

func (w wrong) Error() string { return string(w) }

const (
	errLost   wrong = "what was just written is not there: the server is not alone at this address, or has no memory left"
	errUndone wrong = "the purge had no effect"
	errTaken  wrong = "the lock was not taken, or not kept"
)

func (p *patient) exercise(ctx context.Context, n *node) (what string, err error) {
	s, life := p.store, kept*millisecond
	key, lock, clock, stamps := n.tag, n.tag+":lock", n.tag+":clock", []string{n.tag + ":t:doctor"}
	if err = s.Delete(ctx, lock, key); err != nil {
		return "removing keys", err
	}
	fill := store.Fill{Lock: lock, Token: "doctor", TTL: life, Key: key, Stamps: stamps, Clock: clock, Adopt: true}
	begun, err := s.Begin(ctx, fill)
	if err == nil && begun.Token != fill.Token {
		err = errTaken
	}
	if err != nil {
		return "beginning a fill", err
	}
	if held, err := s.CompareAndExtend(ctx, lock, fill.Token, life); err != nil || !held {
		return "keeping a lock", either(err, errTaken)
	}
	written, err := s.Write(ctx, store.Write{
		Lock: lock, Token: fill.Token, Since: begun.Mark, Clock: clock, Stamps: stamps,
		Values: []store.Value{{Key: key, Data: []byte("a response"), TTL: life}},
	})
	if err != nil || !written.Stored {
		return "storing a response", either(err, errTaken)
	}
	value, found, at, err := s.GetStamped(ctx, key, nil, stamps)
	if err != nil || !found || string(value) != "a response" || len(at) != 1 || at[0].Epoch != begun.Mark.Epoch || at[0].Hard > begun.Mark.Seq {
		return "reading it with its stamps", either(err, errLost)
	}
	if _, err = s.Bump(ctx, clock, stamps, false, uint64(max(0, p.Now().UnixMicro())), life); err != nil {
		return "purging a tag", err
	}
	if at, err = s.Stamps(ctx, nil, stamps); err != nil || at[0].Hard <= begun.Mark.Seq {
		return "purging a tag", either(err, errUndone)
	}
	journal, err := s.ReadJournal(ctx, clock)
	if err != nil {
		return "reading the journal", err
	}
	if _, ok, err := s.WriteJournal(ctx, clock, journal, `{"all":{"hard":`+store.Number+`,"soft":`+store.Number+`}}`); err != nil || !ok {
		return "purging everything", either(err, errUndone)
	}
	if _, err = s.Begin(ctx, fill); err != nil {
		return "beginning a fill", err
	}
	if held, err := s.CompareAndSwap(ctx, lock, fill.Token, "", 0); err != nil || !held {
		return "releasing a lock", either(err, errTaken)
	}
	large := make([]byte, store.LargeValue)
	if err = s.Set(ctx, key, large, life); err != nil {
		return "storing a value of " + strconv.Itoa(len(large)>>10) + " KiB", err
	}
	if value, found, err = s.Get(ctx, key); err != nil || !found || len(value) != len(large) {
		return "reading a value of " + strconv.Itoa(len(large)>>10) + " KiB", either(err, errLost)
	}
	if err = s.Delete(ctx, key); err != nil {
		return "removing keys", err
	}
	if _, found, err = s.Get(ctx, key); err != nil || found {
		return "removing keys", either(err, errUndone)
	}
	return "", nil
}

// either is err, or otherwise where there is none.
func either(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
