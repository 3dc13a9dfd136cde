package blog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	cacheaside "github.com/cacheaside/cacheaside/core"
)

// maxBody is the longest body that is accepted, in bytes.
const maxBody = 64 << 10

// ReadBody reads the body of a request, and one byte more than is accepted, so
// that what is too long is seen.
func ReadBody(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxBody+1)) // what cannot be read is no JSON
	return b
}

// PutUser answers PUT /users/:id. Once it has, no process answers with the old
// user any more.
func (d *DB) PutUser(ctx context.Context, cache *cacheaside.Cache, text string, body []byte) Answer {
	id, wrong := number(text)
	if wrong != nil {
		return *wrong
	}
	var u user
	if wrong := decode(body, &u); wrong != nil {
		return *wrong
	}
	switch {
	case u.Name == "" || u.Email == "":
		return failure(http.StatusBadRequest, "name and email are needed")
	case u.ID != 0 && u.ID != id:
		return failure(http.StatusBadRequest, "the id in the body is not that of the URL")
	}
	u.ID = id
	res, err := d.db.ExecContext(ctx, `UPDATE users SET name = ?, email = ? WHERE id = ?`, u.Name, u.Email, u.ID)
	if err != nil {
		return failed("writing", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return notFound()
	}
	// First the database, then the purge: the other way round a reader could
	// have the old user stored again in between.
	if !purge(ctx, cache, userTag(id)) {
		return failure(http.StatusServiceUnavailable, "the user is written, but the cache has not acknowledged the purge: send it again")
	}
	return answer(http.StatusOK, u)
}

// PostBlog answers POST /blogs.
func (d *DB) PostBlog(ctx context.Context, cache *cacheaside.Cache, body []byte) Answer {
	var b blog
	if wrong := decode(body, &b); wrong != nil {
		return *wrong
	}
	switch {
	case b.Title == "" || b.Body == "":
		return failure(http.StatusBadRequest, "user_id, title and body are needed")
	case b.ID != 0:
		return failure(http.StatusBadRequest, "the id of a new blog is not yours to choose")
	}
	res, err := d.db.ExecContext(ctx, `INSERT INTO blogs (user_id, title, body) SELECT id, ?, ? FROM users WHERE id = ?`, b.Title, b.Body, b.UserID)
	if err != nil {
		return failed("writing", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return failure(http.StatusUnprocessableEntity, "there is no user with this user_id")
	}
	if b.ID, err = res.LastInsertId(); err != nil {
		return failed("writing", err)
	}
	a := answer(http.StatusCreated, b)
	if !purge(ctx, cache, blogTag(b.ID), listTag) { // the first of the 404 that was there before
		a = failure(http.StatusServiceUnavailable, fmt.Sprintf("blog %d is written, but the cache has not acknowledged the purge: do not send it again, a 404 and a list without it may be seen for a while", b.ID))
	}
	a.Location = "/blogs/" + strconv.FormatInt(b.ID, 10)
	return a
}

// purge reports whether the purge of tags was acknowledged. What was written stays
// written when the client leaves, so the purge must not end then.
func purge(ctx context.Context, cache *cacheaside.Cache, tags ...string) bool {
	err := cache.PurgeTags(context.WithoutCancel(ctx), tags...)
	if err != nil {
		slog.Error("purging", "tags", tags, "error", err)
	}
	return err == nil
}

func decode(body []byte, v any) *Answer {
	if len(body) > maxBody {
		a := failure(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body exceeds %d bytes", maxBody))
		return &a
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind it")
		}
	}
	if err != nil {
		a := failure(http.StatusBadRequest, "the body is no such JSON: "+err.Error())
		return &a
	}
	return nil
}
