package memory

// What the tests compare with what they find.
const EntryOverhead = entryOverhead

// Stamped counts the stamps that are kept.
func (s *Store) Stamped() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		n += len(sh.stamps)
		sh.mu.RUnlock()
	}
	return n
}
