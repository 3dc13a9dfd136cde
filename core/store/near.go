package store

// NearStats counts what the near tier of a store did since that was opened.
type NearStats struct {
	On            bool   // there is one, and the server keeps it true
	Hits          uint64 // reads answered by a copy, of values and, unless they were known to be unchanged, stamps
	Admissions    uint64 // copies made
	Rejections    uint64 // tracked reads that made no copy: the key was gone, too large, just written, or the read failed
	Invalidations uint64 // copies removed because the server said that they changed
	Drops         uint64 // how often all copies were dropped: connections made and lost, FLUSHALL
	Entries       int    // copies there are, about
	Bytes         uint64 // what they take, about
}

// NearCounter is a [Tiered] that counts what its copies are good for.
type NearCounter interface {
	NearStats() NearStats
}
