// Package blog is the service that the examples put a cache in front of: users
// and blogs in an SQLite database that is slow on purpose, and a page that shows them.
//
// What reads gives its response a tag, what writes purges the tag:
//
//	GET /users/7    Cache-Tag: user-7
//	PUT /users/7    PurgeTags(ctx, "user-7")
package blog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite"

	cacheaside "github.com/cacheaside/cacheaside/core" // the driver "sqlite", in Go only
)

const schema = `
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
CREATE TABLE blogs (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, title TEXT NOT NULL, body TEXT NOT NULL);

INSERT INTO users
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
SELECT i, 'User ' || i, 'user' || i || '@example.com' FROM n;

INSERT INTO blogs
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
SELECT i, 1 + i * 7 % 1000, 'Blog ' || i, 'What user ' || (1 + i * 7 % 1000) || ' wrote in blog ' || i || '.' FROM n;
`

// DB is the database with 1000 users and 1000 blogs to begin with.
type DB struct {
	db      *sql.DB
	dir     string
	latency time.Duration
	reads   atomic.Uint64
}

// Open opens the database in a file, which it makes if need be: several
// processes may share it. Without a path it is a temporary one, which Close
// removes.
func Open(ctx context.Context, path string, latency time.Duration) (*DB, error) {
	d := &DB{latency: latency}
	if path == "" {
		dir, err := os.MkdirTemp("", "cacheaside-blog-")
		if err != nil {
			return nil, err
		}
		d.dir, path = dir, filepath.Join(dir, "blog.db")
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(wal)"}, "_txlock": {"immediate"},
	}.Encode()}
	var err error
	d.db, err = sql.Open("sqlite", name.String())
	if err == nil {
		err = d.fill(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// fill makes the tables, unless another process has.
func (d *DB) fill(ctx context.Context) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var version int
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil || version > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, schema+`PRAGMA user_version = 1;`); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the database and removes its file if that is temporary.
func (d *DB) Close() error {
	var err error
	if d.db != nil {
		err = d.db.Close()
	}
	if d.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// Answer is a response of the service, for a framework to send.
type Answer struct {
	Status   int
	Type     string // the field Content-Type
	Body     []byte
	CacheTag string // the field Cache-Tag, if not empty
	Location string // the field Location, if not empty
}

// Fields are the header fields.
func (a Answer) Fields() map[string]string {
	out := map[string]string{"Content-Type": a.Type}
	if a.CacheTag != "" {
		out["Cache-Tag"] = a.CacheTag
	}
	if a.Location != "" {
		out["Location"] = a.Location
	}
	return out
}

type user struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

type blog struct {
	ID     int64  `json:"id"`
	UserID int64  `json:"user_id"`
	Title  string `json:"title"`
	Body   string `json:"body"`
}

// A tag is made of the number, not of the text in the URL: /users/007 is user 7.
func userTag(id int64) string { return "user-" + strconv.FormatInt(id, 10) }
func blogTag(id int64) string { return "blog-" + strconv.FormatInt(id, 10) }

// User answers GET /users/:id. The tag is in a field of the response.
func (d *DB) User(ctx context.Context, text string) Answer {
	id, wrong := number(text)
	if wrong != nil {
		return *wrong
	}
	var u user
	a := d.read(ctx, &u, `SELECT id, name, email FROM users WHERE id = ?`, id, &u.ID, &u.Name, &u.Email)
	a.CacheTag = userTag(id)
	return a
}

// Blog answers GET /blogs/:id. The tag goes the other way: code that knows no
// response, only the request's context, can give it as well.
func (d *DB) Blog(ctx context.Context, text string) Answer {
	id, wrong := number(text)
	if wrong != nil {
		return *wrong
	}
	cacheaside.AddTags(ctx, blogTag(id)) // even if there is none yet: a 404 may be cached
	var b blog
	return d.read(ctx, &b, `SELECT id, user_id, title, body FROM blogs WHERE id = ?`, id, &b.ID, &b.UserID, &b.Title, &b.Body)
}

// Stats answers GET /stats.
func (d *DB) Stats(cache cacheaside.Stats) Answer {
	return answer(http.StatusOK, map[string]any{"origin_reads": d.reads.Load(), "cache": cache})
}

// number is the id in a URL, or what to answer where there is none.
func number(text string) (int64, *Answer) {
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		a := notFound()
		return 0, &a
	case err != nil:
		a := failure(http.StatusBadRequest, "the id is not a number")
		return 0, &a
	}
	return int64(n), nil
}

// read reads the row with the id into the fields of v.
func (d *DB) read(ctx context.Context, v any, query string, id int64, fields ...any) Answer {
	d.slowly(ctx)
	err := d.db.QueryRowContext(ctx, query, id).Scan(fields...)
	switch {
	case err == nil:
		return answer(http.StatusOK, v)
	case errors.Is(err, sql.ErrNoRows):
		return notFound()
	default:
		return failed("reading", err)
	}
}

// slowly counts a read, and takes its time.
func (d *DB) slowly(ctx context.Context) {
	d.reads.Add(1)
	select {
	case <-time.After(d.latency):
	case <-ctx.Done():
	}
}

func failed(what string, err error) Answer {
	slog.Error(what+" the database", "error", err)
	return failure(http.StatusInternalServerError, "the database failed")
}

func notFound() Answer { return failure(http.StatusNotFound, "there is none with this id") }

func failure(status int, text string) Answer {
	return answer(status, map[string]string{"error": text})
}

func answer(status int, v any) Answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only for types that JSON does not have
	}
	return Answer{Status: status, Type: "application/json", Body: b}
}
