package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	graphql "github.com/graph-gophers/graphql-go"
)

// maxContent is the longest content that is read, in bytes.
const maxContent = 256 << 10

// maxBatch is how many requests content may have.
const maxBatch = 10

// request is one by the GraphQL over HTTP specification.
type request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
}

// handler executes a request, or a batch of them one after another.
type handler struct{ schema *graphql.Schema }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxContent))
	if err != nil {
		http.Error(w, "the content is too long, or has not come", http.StatusRequestEntityTooLarge)
		return
	}
	batch := bytes.HasPrefix(bytes.TrimLeft(content, " \t\r\n"), []byte("["))
	requests := make([]request, 1)
	if batch {
		err = json.Unmarshal(content, &requests)
	} else {
		err = json.Unmarshal(content, &requests[0])
	}
	if err != nil || len(requests) == 0 || len(requests) > maxBatch {
		http.Error(w, "the content is no GraphQL request, or too many of them", http.StatusBadRequest)
		return
	}
	responses := make([]*graphql.Response, len(requests))
	for i, one := range requests {
		responses[i] = h.schema.Exec(r.Context(), one.Query, one.OperationName, one.Variables)
	}
	if batch {
		send(w, responses)
	} else {
		send(w, responses[0])
	}
}

func send(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		slog.Error("answering", "error", err)
		http.Error(w, "that went wrong", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the client may have left
}
