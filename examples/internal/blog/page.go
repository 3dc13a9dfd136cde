package blog

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"net/http"
)

// What is long enough to be worth compressing: all blogs as JSON, and a page of the
// newest ones with its style sheet.

// listed and shown are how many of the newest blogs are in the list and on the page.
const listed, shown = 400, 60

// listTag is the tag of what has more than one blog in it.
const listTag = "blogs"

var (
	//go:embed page.html
	pageText string
	page     = template.Must(template.New("page").Parse(pageText))
	//go:embed style.css
	style []byte
)

// Blogs answers GET /blogs: the newest ones, some 30 KB.
func (d *DB) Blogs(ctx context.Context) Answer {
	blogs, err := list(ctx, d, `SELECT id, user_id, title, body FROM blogs ORDER BY id DESC LIMIT ?`, listed,
		func(b *blog) []any { return []any{&b.ID, &b.UserID, &b.Title, &b.Body} })
	if err != nil {
		return failed("reading", err)
	}
	a := answer(http.StatusOK, blogs)
	a.CacheTag = listTag
	return a
}

// Page answers GET /: the newest blogs for a browser, which asks for /style.css and for
// /blogs to count them.
func (d *DB) Page(ctx context.Context) Answer {
	type card struct {
		blog
		Author string
	}
	cards, err := list(ctx, d, `SELECT blogs.id, user_id, title, body, name FROM blogs JOIN users ON users.id = user_id ORDER BY blogs.id DESC LIMIT ?`, shown,
		func(c *card) []any { return []any{&c.ID, &c.UserID, &c.Title, &c.Body, &c.Author} })
	if err != nil {
		return failed("reading", err)
	}
	var html bytes.Buffer
	if err := page.Execute(&html, cards); err != nil {
		return failed("showing", err)
	}
	return Answer{Status: http.StatusOK, Type: "text/html; charset=utf-8", Body: html.Bytes(), CacheTag: listTag}
}

// Style answers GET /style.css.
func Style() Answer {
	return Answer{Status: http.StatusOK, Type: "text/css; charset=utf-8", Body: style}
}

// list reads rows, each into the fields of one T.
func list[T any](ctx context.Context, d *DB, query string, limit int, fields func(*T) []any) ([]T, error) {
	d.slowly(ctx)
	rows, err := d.db.QueryContext(ctx, query, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		var one T
		if err := rows.Scan(fields(&one)...); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
