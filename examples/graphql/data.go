package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

type user struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type blog struct {
	ID, Author  int
	Title, Text string
}

// database is what a service has elsewhere. It counts how often it is read, to show what
// the cache spares.
type database struct {
	reads atomic.Int64

	mu    sync.Mutex
	users map[int]user
	blogs []blog // by ID, from 1
}

func newDatabase() *database {
	d := &database{users: map[int]user{}}
	for i, name := range []string{"Ada", "Grace", "Barbara"} {
		d.users[i+1] = user{i + 1, name}
		d.blogs = append(d.blogs, blog{i + 1, i + 1, "Hello from " + name, "The first of many."})
	}
	return d
}

func (d *database) user(id int) (user, bool) {
	d.reads.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.users[id]
	return u, ok
}

// list returns the blogs that are wanted, the newest first.
func (d *database) list(first int, wanted func(blog) bool) (found []blog) {
	d.reads.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range slices.Backward(d.blogs) {
		if len(found) < first && wanted(b) {
			found = append(found, b)
		}
	}
	return found
}

var errNoUser = errors.New("there is no such user")

func (d *database) rename(id int, name string) (user, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.users[id]; !ok {
		return user{}, errNoUser
	}
	if name == "" {
		return user{}, errors.New("a user needs a name")
	}
	d.users[id] = user{id, name}
	return d.users[id], nil
}

const maxBlogs = 10_000

func (d *database) publish(author int, title, text string) (blog, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.users[author]; !ok {
		return blog{}, errNoUser
	}
	if len(d.blogs) >= maxBlogs {
		return blog{}, fmt.Errorf("there are %d blogs, which is enough", maxBlogs)
	}
	b := blog{len(d.blogs) + 1, author, title, text}
	d.blogs = append(d.blogs, b)
	return b, nil
}
