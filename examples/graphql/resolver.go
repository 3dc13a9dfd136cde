package main

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"math"
	"strconv"

	graphql "github.com/graph-gophers/graphql-go"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

//go:embed schema.graphql
var schemaText string

// resolver answers the fields of Query and Mutation. Whatever a response shows gives it a
// tag, wherever in the query it was asked for, and whoever changes that purges the tag.
type resolver struct {
	db    *database
	cache *cacheaside.Cache
}

const listTag = "blogs"

func userTag(id int) string { return "user-" + strconv.Itoa(id) }
func blogTag(id int) string { return "blog-" + strconv.Itoa(id) }

// number is that of an ID, 0 for one that nothing has.
func number(id graphql.ID) int {
	n, err := strconv.Atoi(string(id))
	if err != nil || string(id) != strconv.Itoa(n) {
		return 0
	}
	return n
}

func (r *resolver) User(ctx context.Context, args struct{ ID graphql.ID }) *userResolver {
	id := number(args.ID)
	cacheaside.AddTags(ctx, userTag(id)) // also if there is none: somebody may add it
	u, ok := r.db.user(id)
	if !ok {
		return nil
	}
	return &userResolver{r, u}
}

func (r *resolver) Blog(ctx context.Context, args struct{ ID graphql.ID }) *blogResolver {
	id := number(args.ID)
	cacheaside.AddTags(ctx, blogTag(id))
	for _, b := range r.db.list(1, func(b blog) bool { return b.ID == id }) {
		return &blogResolver{r, b}
	}
	return nil
}

func (r *resolver) Blogs(ctx context.Context, args struct{ First int32 }) []*blogResolver {
	return r.blogs(ctx, int(args.First), func(blog) bool { return true })
}

func (r *resolver) blogs(ctx context.Context, first int, wanted func(blog) bool) []*blogResolver {
	cacheaside.AddTags(ctx, listTag)
	list := r.db.list(first, wanted)
	found := make([]*blogResolver, len(list))
	for i, b := range list {
		found[i] = &blogResolver{r, b}
	}
	return found
}

func (r *resolver) RenameUser(ctx context.Context, args struct {
	ID   graphql.ID
	Name string
},
) (*userResolver, error) {
	u, err := r.db.rename(number(args.ID), args.Name)
	if err != nil {
		return nil, err
	}
	// First the database, then the purge: the other way round a reader could have the old
	// name stored again in between.
	return &userResolver{r, u}, r.purge(ctx, userTag(u.ID))
}

func (r *resolver) Publish(ctx context.Context, args struct {
	Author      graphql.ID
	Title, Text string
},
) (*blogResolver, error) {
	b, err := r.db.publish(number(args.Author), args.Title, args.Text)
	if err != nil {
		return nil, err
	}
	return &blogResolver{r, b}, r.purge(ctx, listTag, blogTag(b.ID)) // somebody may have asked for it before
}

func (r *resolver) purge(ctx context.Context, tags ...string) error {
	if err := r.cache.PurgeTags(ctx, tags...); err != nil {
		slog.ErrorContext(ctx, "purging", "error", err)
		return errors.New("it is written, but the cache has not acknowledged the purge: old responses may be seen for a while")
	}
	return nil
}

type userResolver struct {
	r *resolver
	u user
}

func (u *userResolver) ID() graphql.ID { return graphql.ID(strconv.Itoa(u.u.ID)) }
func (u *userResolver) Name() string   { return u.u.Name }
func (u *userResolver) Blogs(ctx context.Context) []*blogResolver {
	return u.r.blogs(ctx, math.MaxInt, func(b blog) bool { return b.Author == u.u.ID })
}

type blogResolver struct {
	r *resolver
	b blog
}

func (b *blogResolver) ID() graphql.ID { return graphql.ID(strconv.Itoa(b.b.ID)) }
func (b *blogResolver) Title() string  { return b.b.Title }
func (b *blogResolver) Text() string   { return b.b.Text }
func (b *blogResolver) Author(ctx context.Context) (*userResolver, error) {
	if u := b.r.User(ctx, struct{ ID graphql.ID }{graphql.ID(strconv.Itoa(b.b.Author))}); u != nil {
		return u, nil
	}
	return nil, errNoUser
}
