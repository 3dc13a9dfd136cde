// Package blog is the service that the examples put a cache in front of: users
// and blogs in an SQLite database that is slow on purpose.
package blog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", in Go only

	"github.com/cacheaside/cacheaside/core"
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

// DB is the database with 1000 users and 1000 blogs.
type DB struct {
	db      *sql.DB
	dir     string
	latency time.Duration
	reads   atomic.Uint64
}

// Open makes the database in a temporary file, which Close removes.
func Open(ctx context.Context, latency time.Duration) (*DB, error) {
	dir, err := os.MkdirTemp("", "cacheaside-blog-")
	if err != nil {
		return nil, err
	}
	d := &DB{dir: dir, latency: latency}
	d.db, err = sql.Open("sqlite", filepath.Join(dir, "blog.db"))
	if err == nil {
		_, err = d.db.ExecContext(ctx, schema)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close closes the database and removes its file.
func (d *DB) Close() error {
	var err error
	if d.db != nil {
		err = d.db.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// Answer is a response of the service, for a framework to send.
type Answer struct {
	Status int
	JSON   []byte
}

// User answers GET /users/:id.
func (d *DB) User(ctx context.Context, id string) Answer {
	var user struct {
		ID    int64  `json:"id"`
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	return d.read(ctx, id, &user, `SELECT id, name, email FROM users WHERE id = ?`,
		&user.ID, &user.Name, &user.Email)
}

// Blog answers GET /blogs/:id.
func (d *DB) Blog(ctx context.Context, id string) Answer {
	var blog struct {
		ID     int64  `json:"id"`
		UserID int64  `json:"user_id"`
		Title  string `json:"title"`
		Body   string `json:"body"`
	}
	return d.read(ctx, id, &blog, `SELECT id, user_id, title, body FROM blogs WHERE id = ?`,
		&blog.ID, &blog.UserID, &blog.Title, &blog.Body)
}

// Stats answers GET /stats.
func (d *DB) Stats(cache core.Stats) Answer {
	return answer(http.StatusOK, map[string]any{"origin_reads": d.reads.Load(), "cache": cache})
}

// read reads the row with the id into the fields of v.
func (d *DB) read(ctx context.Context, id string, v any, query string, fields ...any) Answer {
	n, err := strconv.ParseUint(id, 10, 63)
	if errors.Is(err, strconv.ErrSyntax) {
		return failure(http.StatusBadRequest, "the id is not a number")
	}
	if err == nil {
		d.reads.Add(1)
		select {
		case <-time.After(d.latency):
		case <-ctx.Done():
		}
		err = d.db.QueryRowContext(ctx, query, n).Scan(fields...)
	}
	switch {
	case err == nil:
		return answer(http.StatusOK, v)
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, strconv.ErrRange):
		return failure(http.StatusNotFound, "there is none with this id")
	default:
		slog.Error("reading the database", "error", err)
		return failure(http.StatusInternalServerError, "the database failed")
	}
}

func failure(status int, text string) Answer {
	return answer(status, map[string]string{"error": text})
}

func answer(status int, v any) Answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only for types that JSON does not have
	}
	return Answer{status, b}
}
