package direct

import (
	"context"
	"fmt"

	cacheaside "github.com/cacheaside/cacheaside/core"
	"github.com/cacheaside/cacheaside/core/internal/inside"
)

// Check says what is wrong with a purge, in an error that wraps [ErrUsage], and purges
// nothing.
func (s *Store) Check(p cacheaside.Purge) error {
	if err := inside.Of(s.cache).CheckPurge(&p); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return nil
}

// Purge is [cacheaside.Cache.Purge]: once it has returned without an error, no process
// that shares the store answers with what was purged. An error wraps [ErrUsage], and
// nothing was purged, or [ErrNotAcknowledged].
func (s *Store) Purge(ctx context.Context, p cacheaside.Purge) error {
	if err := s.Check(p); err != nil {
		return err
	}
	if err := s.cache.Purge(ctx, p); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAcknowledged, err)
	}
	return nil
}
