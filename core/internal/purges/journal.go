package purges

import (
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/cacheaside/cacheaside/core/store"
)

const (
	// maxPrefixes bounds the prefixes in the journal. With one too many, the oldest
	// becomes a purge of everything.
	maxPrefixes = 64
	// nextNumber stands for the number of a purge that has none yet.
	nextNumber = 1<<53 - 1
)

// journal holds the purges of everything and of path prefixes, and the ways. It is
// immutable once it is in use.
type journal struct {
	All      newest   `json:"all"`
	Prefixes []prefix `json:"prefixes,omitempty"` // oldest first
	Ways     []Way    `json:"ways,omitempty"`     // oldest first
}

// newest holds the numbers of the newest hard and soft purge, in the journal's epoch. A
// hard purge counts as a soft one too, so Soft is never less than Hard.
type newest struct {
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
	At   uint64 `json:"at,omitempty"` // when Soft was, in microseconds since 1970
}

// prefix is a purge of a URL and all below it.
type prefix struct {
	URL   string `json:"url"` // as in the tag of a URL, without a query
	Purge newest `json:"purge"`
}

// purgesOf returns the newest purges that concern what is stored for url, empty where
// the key has none that a purge can name, with these tags.
func (j *journal) purgesOf(url string, tags iter.Seq[string]) newest {
	p := j.All
	for i := range j.Prefixes {
		if j.Prefixes[i].reaches(url, tags) {
			p = p.merge(j.Prefixes[i].Purge)
		}
	}
	return p
}

// merge returns the newest of two.
func (p newest) merge(q newest) newest {
	if p.Soft < q.Soft {
		p.Soft, p.At = q.Soft, q.At
	}
	p.Hard = max(p.Hard, q.Hard)
	return p
}

// bump returns p after a purge that has no number yet.
func (p newest) bump(soft bool, at uint64) newest {
	p.Soft, p.At = nextNumber, at
	if !soft {
		p.Hard = nextNumber
	}
	return p
}

// reaches reports whether the prefix covers url, or one that is among the tags.
func (p *prefix) reaches(url string, tags iter.Seq[string]) bool {
	if url != "" && p.covers(url) {
		return true
	}
	for tag := range tags {
		if tagged, ok := strings.CutPrefix(tag, OfURL); ok && p.covers(tagged) {
			return true
		}
	}
	return false
}

// covers reports whether url is the prefix itself or below it: /blog covers
// /blog?page=2 and /blog/1000, but not /blogs.
func (p *prefix) covers(url string) bool {
	rest, ok := strings.CutPrefix(url, p.URL)
	return ok && (rest == "" || strings.HasSuffix(p.URL, "/") || strings.IndexByte("/?|", rest[0]) >= 0)
}

// withPurge returns j after a purge of url and all below it, or of everything where url
// is empty. The purge has no number yet.
func (j *journal) withPurge(url string, soft bool, at uint64) *journal {
	if url == "" {
		out := &journal{All: j.All.bump(soft, at), Ways: j.Ways}
		if soft {
			out.Prefixes = j.Prefixes // their hard purges still count
		}
		return out
	}
	out, mine := &journal{All: j.All, Ways: j.Ways}, prefix{url, j.All}
	for _, p := range j.Prefixes {
		if p.URL == url {
			mine = p
		} else {
			out.Prefixes = append(out.Prefixes, p)
		}
	}
	mine.Purge = mine.Purge.bump(soft, at)
	out.Prefixes = append(out.Prefixes, mine)
	for len(out.Prefixes) > maxPrefixes {
		out.All, out.Prefixes = out.All.merge(out.Prefixes[0].Purge), out.Prefixes[1:]
	}
	return out
}

// withWay returns j with one more way, which has no number yet.
func (j *journal) withWay(w Way) *journal {
	out := *j
	w.Since = nextNumber
	out.Ways = append(slices.Clone(j.Ways[max(0, len(j.Ways)+1-maxWays):]), w)
	return &out
}

// full reports whether there is no room for w.
func (j *journal) full(w *Way) bool {
	n := 0
	for i := range j.Ways {
		if j.Ways[i].Search != "" {
			n++
		}
	}
	return w.Search != "" && (n >= maxSearches || len(j.Ways) >= maxWays)
}

// since returns the number with which w came into the journal; 0 if it is not there.
func (j *journal) since(w *Way) uint64 {
	for i := range j.Ways {
		if j.Ways[i].id == w.id {
			return j.Ways[i].Since
		}
	}
	return 0
}

// encode returns the text for the store, which puts in the next number.
func (j *journal) encode() string {
	b, _ := json.Marshal(j) // nothing in it can fail
	text := strings.ReplaceAll(string(b), "^", `\u005e`)
	for _, name := range []string{`"hard":`, `"soft":`, `"since":`} { // never inside a string, where quotes are escaped
		text = strings.ReplaceAll(text, name+strconv.FormatUint(nextNumber, 10), name+store.Number)
	}
	return text
}

// decodeJournal fails on anything that is not a journal of ours.
func decodeJournal(from store.Journal) (*journal, bool) {
	if from.Text == "" { // just made: what was purged before it is not known
		return &journal{All: newest{Hard: from.Began, Soft: from.Began}}, true
	}
	j := new(journal)
	err := json.Unmarshal([]byte(from.Text), j)
	for i := range j.Ways {
		j.Ways[i].identify()
	}
	return j, err == nil && j.All.Hard >= from.Began && j.All.Soft >= j.All.Hard
}
