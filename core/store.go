package core

import "github.com/cacheaside/cacheaside/core/store"

// What is said of stores is in the package core/store; the engine's own files use
// these short names.
type (
	// Store is [store.Store].
	Store = store.Store
	// Coordinator is [store.Coordinator].
	Coordinator = store.Coordinator
	// Stamp is [store.Stamp].
	Stamp = store.Stamp
	// Tiered is [store.Tiered].
	Tiered = store.Tiered
)

// Errors of a [Store].
var (
	ErrRefused = store.ErrRefused
	ErrSlow    = store.ErrSlow
)
