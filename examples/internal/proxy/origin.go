package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// newOrigin returns the handler that forwards requests to the origin.
func newOrigin(origin *url.URL) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // content codings are the client's and the origin's affair
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(origin)
			r.SetXForwarded()
			via := append(r.In.Header.Values("Via"), viaVersion(r.In)+" cacheaside") // RFC 9110 section 7.6.3
			r.Out.Header.Set("Via", strings.Join(via, ", "))
			r.Out.Host = r.In.Host                 // without this line the origin gets the Host of its URL
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as the client sent it, and as the cache's key has it
		},
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) { // the client has left
				slog.Warn("the origin did not answer", "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		holds := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == "QUERY"
		proxy.ServeHTTP(&writer{ResponseWriter: w, holds: holds}, r)
	})
}

// viaVersion is the protocol in which the request was received, as Via has it.
func viaVersion(r *http.Request) string {
	return strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor)
}

// writer keeps ReverseProxy from flushing after each write where the origin
// did not announce the length: what is flushed has left, and the cache cannot
// store it. Event streams are flushed all the same.
type writer struct {
	http.ResponseWriter
	holds bool
}

// Unwrap lets ReverseProxy find Hijack, for WebSocket.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	h := w.Header()
	if strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/event-stream") {
		w.holds = false
	}
	keepUntyped(h)
	w.ResponseWriter.WriteHeader(status)
}

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	if w.holds {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// keepUntyped keeps the server from guessing a Content-Type that the origin did
// not give.
func keepUntyped(h http.Header) {
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil
	}
}

// complete makes h fit for Fiber's adaptor, which collects the response and
// takes the header last. A response that breaks off becomes a 502 instead of a
// short one, and trailers, which would get among the header, are dropped. Date,
// which the adaptor would lose, is left in date.
func complete(h http.Handler, date *string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Under this key ReverseProxy expects a server that lets it break off.
		ctx := context.WithValue(context.Background(), http.ServerContextKey, &http.Server{})
		b := &buffer{header: http.Header{}}
		if b.serve(h, r.WithContext(ctx)) {
			maps.Copy(w.Header(), b.sent)
			*date = b.sent.Get("Date")
			keepUntyped(w.Header())
			w.WriteHeader(b.status)
			_, _ = b.body.WriteTo(w)
			return
		}
		keepUntyped(w.Header())
		w.WriteHeader(http.StatusBadGateway)
	})
}

type buffer struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (b *buffer) serve(h http.Handler, r *http.Request) (ok bool) {
	defer func() {
		switch v := recover(); v {
		case nil, http.ErrAbortHandler:
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(b, r)
	b.WriteHeader(http.StatusOK)
	return true
}

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) {
	if b.status == 0 && status >= 200 {
		b.status, b.sent = status, b.header.Clone()
		b.sent.Del("Trailer")
	}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}
