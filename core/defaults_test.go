package cacheaside_test

import "time"

// What the documentation of Config and Policy promises.
const (
	defaultLookupTimeout   = 50 * time.Millisecond
	defaultStoreTimeout    = 250 * time.Millisecond
	defaultPurgeTimeout    = time.Second
	defaultLockTTL         = 3 * time.Second
	defaultBreakerFailures = 5
	defaultBreakerPause    = time.Second
	defaultWaitTimeout     = 10 * time.Second
	defaultMaxBytes        = 16 << 20 // a quarter of MaxCaptureBytes
	defaultMaxHeaderBytes  = 64 << 10
)
