package memory

// EntryOverhead lets the test compare the estimate with the heap.
const EntryOverhead = entryOverhead
