package fiberadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
)

// separator ends the prefix in a key. No prefix contains it or ends with a part
// of it, so none is the beginning of another one's keys.
const separator = "::"

var _ fiber.Storage = (*Storage)(nil)

// StorageConfig says where a [Storage] keeps its data. Either URL or Client is
// required.
type StorageConfig struct {
	// URL is that of the server, as for [dragonfly.Open].
	URL string
	// Client is used instead of URL. It stays open when the storage is closed.
	Client rueidis.Client
	// Prefix begins all keys, followed by "::". Each middleware needs a prefix
	// of its own, because Reset removes everything under it. Printable ASCII
	// without spaces, at most 64 bytes, without "::" in it and ':' at its end.
	// Empty: "fiber".
	Prefix string
	// Timeout bounds every command. Zero: one second.
	Timeout time.Duration
}

// Storage is a [fiber.Storage] for Fiber's own middlewares: cache, session,
// limiter, csrf and idempotency. All methods may be called concurrently. Keys
// and values are copied before they are used, since Fiber reuses their memory.
//
// Dragonfly in cache mode, or a server that evicts, may drop sessions and
// counters before their time.
type Storage struct {
	store   *dragonfly.Store
	client  rueidis.Client
	owned   bool
	prefix  string // with the separator
	timeout time.Duration
}

// NewStorage returns a storage, and connects to the server if cfg has a URL. An
// error names the field that is wrong, or says why there is no connection.
func NewStorage(cfg StorageConfig) (*Storage, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "fiber"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Storage{client: cfg.Client, prefix: cfg.Prefix + separator, timeout: cfg.Timeout}
	var err error
	if cfg.URL != "" {
		if s.client, err = dragonfly.NewClient(context.Background(), cfg.URL); err != nil {
			return nil, fmt.Errorf("fiberadapter: StorageConfig.URL: %w", err)
		}
		s.owned = true
	}
	if s.store, err = dragonfly.FromClient(s.client, dragonfly.WithCallTimeout(cfg.Timeout)); err != nil {
		return nil, fmt.Errorf("fiberadapter: %w", err)
	}
	return s, nil
}

func (cfg *StorageConfig) validate() error {
	var errs []error
	switch {
	case cfg.URL == "" && cfg.Client == nil:
		errs = append(errs, errors.New("fiberadapter: StorageConfig: URL and Client are both empty: give one of them"))
	case cfg.URL != "" && cfg.Client != nil:
		errs = append(errs, errors.New("fiberadapter: StorageConfig: URL and Client are both set: give one of them"))
	}
	if len(cfg.Prefix) > 64 || strings.Contains(cfg.Prefix, separator) || strings.HasSuffix(cfg.Prefix, ":") ||
		strings.ContainsFunc(cfg.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, fmt.Errorf("fiberadapter: StorageConfig.Prefix is %.80q: give at most 64 printable ASCII characters without spaces, without \"::\" and without ':' at the end", cfg.Prefix))
	}
	if cfg.Timeout < 0 {
		errs = append(errs, fmt.Errorf("fiberadapter: StorageConfig.Timeout is %v: give a positive duration, or 0 for 1s", cfg.Timeout))
	}
	return errors.Join(errs...)
}

// Get returns the value under key, which is not nil even if it is empty, or nil
// if there is none.
func (s *Storage) Get(key string) ([]byte, error) {
	if key == "" {
		return nil, nil
	}
	value, found, err := s.store.Get(context.Background(), s.prefix+key)
	if found && value == nil {
		value = []byte{}
	}
	return value, err
}

// Set keeps val under key for exp, precise to the millisecond; 0 means without
// end. An empty key and a nil value are ignored; an empty value is kept.
func (s *Storage) Set(key string, val []byte, exp time.Duration) error {
	switch {
	case exp < 0:
		return fmt.Errorf("fiberadapter: the expiration is %v: it must be positive, or 0 for none", exp)
	case key == "" || val == nil:
		return nil
	case exp == 0:
		return s.keep(s.prefix+key, bytes.Clone(val))
	}
	return s.store.Set(context.Background(), s.prefix+key, bytes.Clone(val), exp)
}

// keep sets a value without expiry, which a cache's store has no use for.
func (s *Storage) keep(key string, val []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := s.client.Do(ctx, s.client.B().Set().Key(key).Value(rueidis.BinaryString(val)).Build()).Error(); err != nil {
		return fmt.Errorf("fiberadapter: SET: %w", err)
	}
	return nil
}

// Delete removes the key. An absent key is no error.
func (s *Storage) Delete(key string) error {
	if key == "" {
		return nil
	}
	return s.store.Delete(context.Background(), s.prefix+key)
}

// Reset removes all keys under the prefix, on all nodes of a cluster. Keys that
// are set meanwhile may stay. It reads the names of all keys of the server, so
// it takes its time on a large one.
func (s *Storage) Reset() error {
	var errs []error
	for addr, node := range s.client.Nodes() {
		if err := s.reset(node); err != nil {
			errs = append(errs, fmt.Errorf("fiberadapter: Reset at %s: %w", addr, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Storage) reset(node rueidis.Client) error {
	replica, err := s.isReplica(node)
	if err != nil || replica { // it follows its primary
		return err
	}
	pattern := escapeGlob(s.prefix) + "*"
	for cursor := uint64(0); ; {
		page, err := s.scan(node, cursor, pattern)
		if err != nil {
			return err
		}
		if err := s.unlink(page.Elements); err != nil {
			return err
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (s *Storage) isReplica(node rueidis.Client) (bool, error) {
	if s.client.Mode() == rueidis.ClientModeStandalone {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	role, err := node.Do(ctx, node.B().Role().Build()).ToArray()
	if err != nil || len(role) == 0 {
		return false, err
	}
	name, err := role[0].ToString()
	return name == "slave" || name == "replica", err
}

func (s *Storage) scan(node rueidis.Client, cursor uint64, pattern string) (rueidis.ScanEntry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	return node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(512).Build()).AsScanEntry()
}

// unlink pipelines one command per key, since the keys belong to different slots.
func (s *Storage) unlink(keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(keys))
	for i, key := range keys {
		commands[i] = s.client.B().Unlink().Key(key).Build()
	}
	for _, result := range s.client.DoMulti(ctx, commands...) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	return nil
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// escapeGlob makes a pattern of MATCH that stands for s itself.
func escapeGlob(s string) string { return globEscaper.Replace(s) }

// Close closes the client if the storage made it from a URL.
func (s *Storage) Close() error {
	if s.owned {
		s.client.Close()
	}
	return nil
}
