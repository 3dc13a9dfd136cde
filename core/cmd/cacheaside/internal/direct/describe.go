package direct

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/purges"
	"github.com/cacheaside/cacheaside/core/internal/redact"
	"github.com/cacheaside/cacheaside/core/observe"
)

// describe says what is under a key, and how a request with this key would be answered.
func (s *Store) describe(ctx context.Context, n name, raw []byte, a *asked) (v inspect.Entry, cause observe.Cause, err error) {
	v = inspect.Entry{
		Key: s.show(n.wire, s.text(n)), Size: int64(len(raw)), Tags: []inspect.Tag{}, Header: []inspect.Field{},
		Result: observe.ResultMiss.String(),
	}
	var e entry.Entry
	if v.Problem = problem(n, raw, &e); v.Problem != "" {
		v.Because = "what is there is no entry of this cache"
		return v, observe.CauseCorrupt, nil
	}
	now := s.now()
	v.Status, v.StoredAt, v.BodyBytes = int(e.Status), time.Unix(0, e.Born).UnixMilli(), int64(len(e.Body))
	v.Lifetime, v.Saves = time.Duration(e.Lifetime).Seconds(), (time.Duration(e.Took) * time.Microsecond).Seconds()
	v.Header = fieldsOf(&e)
	for f := range e.Vary { // of the request that was stored: values may be anybody's
		v.Selecting = append(v.Selecting, inspect.Field{Name: redact.Clean(f.Name, 100), Value: redact.Hidden})
	}
	var check purges.Check
	if v.Tags, err = s.tagsOf(ctx, &e, &check); err != nil {
		return v, 0, err
	}
	if left, err := s.client.Do(ctx, s.client.B().Pttl().Key(n.wire).Build()).AsInt64(); err == nil && left > 0 { // some users may not
		v.Gone = float64(left) / 1000
	}
	current := s.ledger.Current(ctx, &check, &e, n.wire, nil, now)
	d, age := decide(&e, check.Soft, now, a.control)
	v.Age, v.TTL = age.Seconds(), d.TTL.Seconds()
	switch {
	case !current:
		v.Because, cause = notCurrent(check.Why)
		if check.Why == purges.Failed {
			switch err := s.ledger.ReadJournal(ctx); {
			case errors.Is(err, errNoJournal):
				v.Because, cause = "the clock or the journal of purges is gone: nobody can tell any more whether it was purged", observe.CauseLost
			case err != nil:
				return v, 0, err
			default: // it was read just after it could not be
				return v, 0, errors.New("reading what was purged: try again")
			}
		}
	case !selects(&e, a):
		v.Because, cause = "what is stored answers other requests", observe.CauseVary
	case d.Use == httprules.Fresh:
		v.Result, v.Because = observe.ResultHit.String(), fmt.Sprintf("it is fresh for another %v", d.TTL.Round(time.Second))
	case d.Use == httprules.StaleAllowed:
		v.Result, v.Because = observe.ResultStale.String(), "it is stale, which the request allows"
	case d.MaySWR:
		v.Result, v.Because = observe.ResultStale.String(), "it is stale, and would be renewed in the background"
	case d.Fwd == "request":
		v.Because, cause = "the request rules it out", observe.CauseRequest
	case e.Flags&entry.NoCache != 0:
		v.Because, cause = "it has to be validated before each use", observe.CauseExpired
	default:
		v.Because, cause = "it is stale", observe.CauseExpired
	}
	if v.Result != observe.ResultMiss.String() && !strings.HasPrefix(v.Because, "it is stale, which") && strings.Contains(e.Key, "|") {
		v.Because += ", for requests with what else is in the key"
	}
	return v, cause, nil
}

func notCurrent(why purges.Why) (because string, cause observe.Cause) {
	if why == purges.Purged {
		return "it was purged", observe.CausePurged
	}
	return "a stamp of its tags is gone: nobody can tell any more whether it was purged", observe.CauseLost
}

// problem decodes what is under a key, and says what it is if it is no response.
func problem(n name, raw []byte, e *entry.Entry) string {
	err := entry.Decode(raw, e)
	switch {
	case errors.Is(err, entry.ErrVersion):
		return "it is of another format version, and will be overwritten"
	case err != nil:
		return "it is no entry: " + err.Error()
	case e.Kind == entry.KindVary:
		return "it is a list of variants, where there should be a response"
	case !n.is(e):
		return "it is the entry of another resource"
	case !e.Harmless():
		return "it has fields that no response may have, and is not used"
	}
	return ""
}

// selects reports whether the request has what the entry was selected by.
func selects(e *entry.Entry, a *asked) bool {
	for f := range e.Vary {
		if string(a.req.AppendSelected(nil, f.Name)) != f.Value {
			return false
		}
	}
	return true
}

// What the engine allows for, in core/decide.go.
const (
	clockSkew = 2 * time.Second
	softGrace = time.Minute
)

// decide says what an entry is good for, as core/decide.go does.
func decide(e *entry.Entry, soft uint64, now time.Time, control httprules.RequestControl) (d httprules.Decision, age time.Duration) {
	rules := httprules.Stored{
		Lifetime: time.Duration(e.Lifetime), StaleWhileRevalidate: time.Duration(e.SWR), StaleIfError: time.Duration(e.SIE),
		StatedStale: e.Flags&entry.StatedStale != 0, NoCache: e.Flags&entry.NoCache != 0, MustRevalidate: e.Flags&entry.MustRevalidate != 0,
	}
	if age = time.Duration(now.UnixNano() - e.Born); age < -clockSkew {
		age = rules.Lifetime
	}
	age = max(0, age)
	if soft > 0 {
		at := min(age, time.Duration(time.UnixMicro(int64(min(soft, math.MaxInt64/1000))).UnixNano()-e.Born))
		if at < rules.Lifetime {
			rules.StaleWhileRevalidate = max(rules.StaleWhileRevalidate, softGrace)
		}
		rules.Lifetime = max(0, min(rules.Lifetime, at))
	}
	return httprules.Decide(rules, age, control), age
}

// tagsOf describes the tags of an entry, and leaves their stamps in check.
func (s *Store) tagsOf(ctx context.Context, e *entry.Entry, check *purges.Check) ([]inspect.Tag, error) {
	tags := []inspect.Tag{}
	var stored []string
	for tag := range e.Tags {
		stored = append(stored, strings.Clone(tag))
	}
	check.Known = s.ledger.TagSet(stored)
	if len(stored) == 0 {
		return tags, nil
	}
	stamps, err := s.store.Stamps(ctx, nil, check.Known.Keys)
	if err != nil {
		return tags, err
	}
	check.Stamps = stamps
	for i, tag := range stored {
		t, stamp := tagOf(tag), stamps[i]
		t.Stamp = strconv.FormatUint(stamp.Soft, 10)
		switch {
		case stamp.Hard == 0 || stamp.Epoch != e.Epoch:
			t.State = "lost"
		case stamp.Hard > e.Stamp:
			t.State = "purged"
		case stamp.Soft > e.Stamp:
			t.State = "soft"
		default:
			t.State = "valid"
		}
		tags = append(tags, t)
	}
	return tags, nil
}
