package main

import (
	"container/list"
	"time"
)

// near is the copies of one process. Their policy is LRU here; that of the product is
// W-TinyLFU, which keeps the hottest keys at least as well.
type near struct {
	bytes, bound int64
	maxAge       time.Duration
	within       time.Duration
	copies       map[uint64]*list.Element
	order        *list.List // the least recently used is last
	hot          [hotSlots]seen
}

// The same as in core/dragonfly.
const (
	hotSlots     = 1 << 14
	copyOverhead = 256
	maxShare     = 8
)

// seen is the last read on the server of a key in a slot of [near.hot].
type seen struct {
	key uint64
	at  time.Duration
}

type copied struct {
	it    *item
	bytes int64
	until time.Duration
}

func newNear(bound int64, maxAge, within time.Duration) *near {
	return &near{bound: bound, maxAge: maxAge, within: within, copies: map[uint64]*list.Element{}, order: list.New()}
}

// get gives the copy of a key. The server's word of a change takes no time here: current
// is what the server has, and nothing older is used.
func (n *near) get(key uint64, current *item, now time.Duration) *item {
	e := n.copies[key]
	if e == nil {
		return nil
	}
	c := e.Value.(*copied)
	if c.it != current || c.until <= now {
		n.drop(e)
		return nil
	}
	n.order.MoveToFront(e)
	return c.it
}

// admit takes note that an item was read on the server, and reports whether a copy of it
// was fetched, because it is hot.
func (n *near) admit(it *item, value int64, now time.Duration) bool {
	bytes := value + copyOverhead
	if bytes > n.bound/maxShare || !n.again(it.key, now) {
		return false
	}
	if e := n.copies[it.key]; e != nil {
		n.drop(e)
	}
	for n.bytes+bytes > n.bound {
		n.drop(n.order.Back())
	}
	n.copies[it.key] = n.order.PushFront(&copied{it, bytes, min(now+n.maxAge, it.expires)})
	n.bytes += bytes
	return true
}

// again is what core/dragonfly does to find out what is hot: a key takes the one of its two
// slots that was written first.
func (n *near) again(key uint64, now time.Duration) bool {
	h := mix(key)
	a, b := &n.hot[h%hotSlots], &n.hot[h>>14%hotSlots]
	for _, slot := range [2]*seen{a, b} {
		if slot.at > 0 && slot.key == key && now-slot.at <= n.within {
			*slot = seen{}
			return true
		}
	}
	if b.at < a.at {
		a = b
	}
	*a = seen{key, now}
	return false
}

func (n *near) drop(e *list.Element) {
	c := n.order.Remove(e).(*copied)
	delete(n.copies, c.it.key)
	n.bytes -= c.bytes
}
