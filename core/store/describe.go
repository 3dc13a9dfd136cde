package store

import (
	"context"
	"time"
)

// Describer is a [Store] that can say where its values are.
type Describer interface {
	// Describe asks the server. What that does not tell stays empty.
	Describe(ctx context.Context) (Description, error)
}

// Description is where values are.
type Description struct {
	Name    string // of the software, "Dragonfly"; "memory" in this process
	Version string
	Address string        // without credentials
	Used    int64         // bytes; 0: not known
	Max     int64         // bytes; 0: no limit, or not known
	Latency time.Duration // of one round trip; 0: not known
}
