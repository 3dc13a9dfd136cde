package observe

// The String of each value is what it is called in a label. That of a zero value is
// empty, and so is that of a number that is none: the values are those from 1 on, as long
// as they have a String.

// Kind is what an [Event] tells of.
type Kind uint8

// The kinds.
const (
	// KindRequest: a request was answered. There is one for each that came from a client.
	// Where it passes several handles of a cache, the one nearest to the handler tells.
	KindRequest Kind = iota + 1
	// KindHandler: the handler has returned, for a client or in the background.
	KindHandler
	// KindStore: a response was stored, or was not, though the rules allow it.
	KindStore
	// KindStoreCall: a store that is not in this process has answered, or failed to.
	KindStoreCall
	// KindRefresh: a background run is over, or was dropped.
	KindRefresh
	// KindPurge: a purge was acknowledged, or was not.
	KindPurge
	// KindBreaker: the circuit breaker has opened or closed.
	KindBreaker
)

// String is the kind's name.
func (k Kind) String() string {
	return name(k, "request", "handler", "store", "store_call", "refresh", "purge", "breaker")
}

// Method is that of a request, as far as it matters to a cache.
type Method uint8

// The methods.
const (
	MethodGet Method = iota + 1
	MethodHead
	MethodOther
)

// MethodOf tells the method of a request.
func MethodOf(method string) Method {
	switch method {
	case "GET":
		return MethodGet
	case "HEAD":
		return MethodHead
	}
	return MethodOther
}

// String is the method's name.
func (m Method) String() string { return name(m, "GET", "HEAD", Other) }

// Result is how a request was answered.
type Result uint8

// The results.
const (
	ResultHit         Result = iota + 1 // with what is stored and fresh
	ResultStale                         // with what is stored and stale: see [Stale]
	ResultRevalidated                   // with what is stored, which the handler has said to be good still
	ResultCollapsed                     // with what another request got from the handler
	ResultMiss                          // by the handler
	ResultBypass                        // by the handler: the cache had nothing to do with it
	ResultError                         // with an error of the cache's own, or the handler panicked
)

// String is the result's name.
func (r Result) String() string {
	return name(r, "hit", "stale", "revalidated", "collapsed", "miss", "bypass", "error")
}

// Tier is where the stored response was that has answered a request.
type Tier uint8

// The tiers.
const (
	TierMemory Tier = iota + 1 // in a store in this process
	TierNear                   // in this process, as a copy of what is in the store
	TierStore                  // in a store elsewhere
	TierNone                   // nowhere: the handler has answered
)

// String is the tier's name.
func (t Tier) String() string { return name(t, "memory", "near", "store", "none") }

// Cause is why what is stored could not answer a request.
type Cause uint8

// The causes.
const (
	CauseCold       Cause = iota + 1 // nothing is stored, and this process has stored nothing of late
	CauseExpired                     // it is stale, or has gone in its time
	CauseVary                        // what is stored answers other requests
	CausePurged                      // it was purged: by its URL in this process, or otherwise anywhere
	CauseRequest                     // the request rules it out: its directives, credentials or cookies
	CauseCorrupt                     // what is there is no entry of ours
	CauseStoreError                  // the store has failed, or did not answer in time
	CauseBreaker                     // the circuit breaker is open
	CauseLost                        // it has gone before its time: evicted, or purged by its URL elsewhere; or nobody can tell
	CausePartial                     // what is stored is not all that is asked for
)

// String is the cause's name.
func (c Cause) String() string {
	return name(c, "cold", "expired", "vary", "purged", "request", "corrupt", "store_error", "breaker", "lost", "partial")
}

// Stale is why a stale response could answer a request.
type Stale uint8

// Why a stale response answers.
const (
	StaleWhileRevalidate Stale = iota + 1 // it is being renewed (RFC 5861 section 3)
	StaleIfError                          // the handler failed (RFC 5861 section 4)
	StaleSoftTimeout                      // the handler takes its time
	StaleMaxStale                         // the request allows it (RFC 9111 section 5.2.1.2)
)

// String is its name.
func (s Stale) String() string { return name(s, "swr", "sie", "soft_timeout", "max_stale") }

// Wait is how a wait for another request ended.
type Wait uint8

// The ends of a wait.
const (
	WaitShared  Wait = iota + 1 // with a response for all
	WaitPass                    // with one that is for nobody else
	WaitFailed                  // the other request failed, or left
	WaitTimeout                 // it took too long
	WaitLeft                    // the client left
)

// String is its name.
func (w Wait) String() string {
	return name(w, "shared", "pass", "failed", "timeout", "client_gone")
}

// Op is what was asked of a store.
type Op uint8

// The operations.
const (
	OpGet   Op = iota + 1 // a value was read
	OpSet                 // a response was written, or deleted
	OpLock                // the lock of a resource was taken, prolonged or released
	OpStamp               // stamps, or the journal of purges, were read
	OpPurge               // something was purged
)

// String is its name.
func (o Op) String() string { return name(o, "get", "set", "lock", "stamp", "purge") }

// Outcome is how something ended.
type Outcome uint8

// The outcomes.
const (
	OutcomeOK        Outcome = iota + 1
	OutcomeRenewed           // of a refresh: there is a new entry
	OutcomeRefused           // the store did not take it, for lack of memory for instance
	OutcomePurged            // of a store: it was purged before it was stored
	OutcomeContended         // of a store: another response was stored first
	OutcomeDropped           // there was no room, or what went out was not for others
	OutcomeTimeout           // the store did not answer in time
	OutcomeError             // it failed
	OutcomeOpened            // of the breaker: the store is left alone
	OutcomeClosed            // of the breaker: the store answers again
)

// String is its name.
func (o Outcome) String() string {
	return name(o, "ok", "renewed", "refused", "purged", "contended", "dropped", "timeout", "error", "opened", "closed")
}

// Trigger is what a background run was started by.
type Trigger uint8

// The triggers.
const (
	TriggerSWR         Trigger = iota + 1 // a stale response was served
	TriggerAhead                          // a response was about to become stale
	TriggerSoftTimeout                    // a stale response may have to stand in
	TriggerOtherPart                      // what the handler gave to complete a response was not of that
)

// String is its name.
func (t Trigger) String() string { return name(t, "swr", "ahead", "soft_timeout", "other_part") }

// Purge is what a purge was of.
type Purge uint8

// The purges.
const (
	PurgeTags Purge = iota + 1
	PurgeURL
	PurgePrefix
	PurgeAll
	PurgeUnsafe // what a successful unsafe request has changed (RFC 9111 section 4.4)
)

// String is its name.
func (p Purge) String() string { return name(p, "tags", "url", "prefix", "all", "unsafe") }

// name is that of the n-th value.
func name[T ~uint8](n T, names ...string) string {
	if n == 0 || int(n) > len(names) {
		return ""
	}
	return names[n-1]
}
