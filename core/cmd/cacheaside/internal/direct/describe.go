package direct

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cacheaside/cacheaside/core/inspect"
	"github.com/cacheaside/cacheaside/core/internal/coding"
	"github.com/cacheaside/cacheaside/core/internal/entry"
	"github.com/cacheaside/cacheaside/core/internal/freshness"
	"github.com/cacheaside/cacheaside/core/internal/httprules"
	"github.com/cacheaside/cacheaside/core/internal/inside"
	"github.com/cacheaside/cacheaside/core/internal/parts"
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
		v.Because = inside.Because(observe.CauseCorrupt)
		return v, observe.CauseCorrupt, nil
	}
	now := s.now()
	v.Status, v.StoredAt, v.BodyBytes = int(e.Status), time.Unix(0, e.Born).UnixMilli(), int64(len(e.Body))
	if e.Coding != 0 {
		v.Coding, v.Plain = coding.Coding(e.Coding).String(), int64(e.Size)
	}
	v.Lifetime, v.Saves = time.Duration(e.Lifetime).Seconds(), (time.Duration(e.Took) * time.Microsecond).Seconds()
	v.Header, v.Parts = fieldsOf(&e), parts.InWords(&e)
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
	d := freshness.Decide(&e, check.Soft, now, a.control)
	v.Age, v.TTL = freshness.Age(&e, now).Seconds(), d.TTL.Seconds()
	answers, because := inside.Answers(d)
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
		v.Because, cause = inside.Because(observe.CauseVary), observe.CauseVary
	case answers != 0 && !e.Whole() && !a.covered(&e):
		v.Because, cause = inside.Because(observe.CausePartial), observe.CausePartial
	case answers != 0:
		v.Result, v.Because = answers.String(), because
	case d.Fwd == "request":
		v.Because, cause = inside.Because(observe.CauseRequest), observe.CauseRequest
	case e.Flags&entry.NoCache != 0:
		v.Because, cause = "it has to be validated before each use", observe.CauseExpired
	default:
		v.Because, cause = "it is stale", observe.CauseExpired
	}
	if v.Result != observe.ResultMiss.String() && d.Use != httprules.StaleAllowed && strings.Contains(e.Key, "|") {
		v.Because += ", for requests with what else is in the key"
	}
	return v, cause, nil
}

// covered reports whether e, which is incomplete, has all that is asked for.
func (a *asked) covered(e *entry.Entry) bool {
	if a.req.Method != http.MethodGet || a.req.Header == nil {
		return false
	}
	ranges, verdict := httprules.WantedRanges(a.req.Header, parts.VersionOf(e), int64(e.Size))
	return verdict == httprules.RangeOK && parts.Covers(e, ranges)
}

func notCurrent(why purges.Why) (because string, cause observe.Cause) {
	if why == purges.Purged {
		return inside.Because(observe.CausePurged), observe.CausePurged
	}
	return "a stamp of its tags is gone: nobody can tell any more whether it was purged", observe.CauseLost
}

// problem decodes what is under a key, and says what it is if it is no response.
func problem(n name, raw []byte, e *entry.Entry) string {
	err := entry.Decode(raw, e)
	switch {
	case err != nil:
		return inside.Problem(err)
	case e.Kind == entry.KindVary:
		return "it is a list of variants, where there should be a response"
	case !n.is(e):
		return inside.AnotherResource
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
		t.Stamp, t.State = strconv.FormatUint(stamp.Soft, 10), purges.StateOf(e, stamp)
		tags = append(tags, t)
	}
	return tags, nil
}
