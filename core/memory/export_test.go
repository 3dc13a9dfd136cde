package memory

// What the tests compare with what they find.
const (
	EntryOverhead = entryOverhead
	MaxLocks      = maxLocks
	MaxStamps     = maxStamps
)

// Locks counts the locks that are kept, expired or not.
func (s *Store) Locks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.locks.entries)
}

// Stamped counts the stamps that are kept, expired or not.
func (s *Store) Stamped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stamps.entries)
}
