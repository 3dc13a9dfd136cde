package memory

// What the tests compare with what they find.
const (
	EntryOverhead = entryOverhead
	StampOverhead = stampOverhead
)

// Stamped counts the stamps that are kept.
func (s *Store) Stamped() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		n += sh.stamps.n
		sh.mu.RUnlock()
	}
	return n
}

// Referred counts the entries of all stamps together.
func (s *Store) Referred() (n int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		sh.stamps.all(func(st *stamp) { n += st.refs })
		sh.mu.RUnlock()
	}
	return n
}

// Entries counts them, after what is due has been done.
func (s *Store) Entries() int {
	s.cache.CleanUp()
	return s.cache.EstimatedSize()
}

// Maximum is the weight that entries may have together.
func (s *Store) Maximum() uint64 { return s.cache.GetMaximum() }

// Found finds an entry, and returns what says whether it is still good.
func (s *Store) Found(key string) (judge func() bool) {
	it, _ := s.cache.GetIfPresent(key)
	return func() bool { _, ok := it.tags.judge(); return ok }
}

// Hold keeps the stamp under key from being changed, until release is called.
func (s *Store) Hold(key string) (release func()) {
	sh, _ := s.shard(key)
	sh.mu.Lock()
	return sh.mu.Unlock
}
