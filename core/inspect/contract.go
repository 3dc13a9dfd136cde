package inspect

// What the API sends and takes, as JSON. All paths are below the mount:
//
//	GET  api/session                        Session; the only one without access, and always 200
//	GET  api/status                         Status
//	GET  api/instances                      Instances
//	GET  api/charts?range=15m|1h|24h        Charts
//	GET  api/routes                         Routes
//	GET  api/reasons                        Reasons
//	GET  api/top?by=requests|bytes|misses   Top; &period=previous, &limit=1…100
//	GET  api/tail?after=N                   Tail; &limit=1…500, and the filters kind, result,
//	                                        cause, reason, outcome, route (equal) and key (contains)
//	GET  api/config                         Config
//	POST api/lookup   Ask                   Lookup
//	POST api/explain  Ask                   Explanation; "send": true needs full access
//	POST api/preview  a purge               Preview
//	POST api/purge    a purge               {"purged": true}; needs full access
//
// A purge is what [cacheaside.PurgeEndpoint] takes. A POST has the Content-Type
// application/json. Times are milliseconds since 1970, durations seconds, sizes bytes.
// Names of results, causes, reasons and so on are those of core/observe.
//
// Errors are {"error": "what to do"} with 400 (it makes no sense), 401 (no access), 403 (not
// with read access, or not from this origin), 404, 405, 413, 415, 501 (the store or the
// cache cannot) and 503 (the store has not answered or not acknowledged: repeat).

// Session says whom the API takes the request's sender for.
type Session struct {
	Access string `json:"access"` // "none", "read" or "full"
	// Token says that a token can be sent: Authorization: Bearer TOKEN.
	Token bool `json:"token"`
	// Problem is why there is no access though a token was sent, or the request would be
	// allowed if it came from the page itself; empty: none.
	Problem string `json:"problem,omitempty"`
}

// Status is how the cache is doing.
type Status struct {
	Access    string   `json:"access"`
	Now       int64    `json:"now"`
	Instance  Instance `json:"instance"`
	Namespace string   `json:"namespace"`

	Recent  Totals  `json:"recent"` // of the last 15 minutes
	Started Totals  `json:"total"`  // since Instance.Started
	Store   Calls   `json:"store"`  // calls of a store that is not in this process
	Gauges  Gauges  `json:"gauges"`
	Breaker Breaker `json:"breaker"`
	Near    Near    `json:"near"`
	Server  Server  `json:"server"`
	Problem string  `json:"problem,omitempty"` // why something of it is missing
}

// Instance is the process that answers: all counts are its own.
type Instance struct {
	ID      string `json:"id"` // another one after each start
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Started int64  `json:"started"` // when its recorder was made
}

// Instances are the processes that share the store and tell of themselves in it.
type Instances struct {
	Shared    bool   `json:"shared"` // false: only this one is known
	Instances []Peer `json:"instances"`
}

// Peer is what one of them has told, at most half a minute ago.
type Peer struct {
	Instance    Instance `json:"instance"`
	Now         int64    `json:"now"`    // when
	Recent      Totals   `json:"recent"` // of the last 15 minutes
	BreakerOpen bool     `json:"breaker_open"`
	Waiting     int64    `json:"waiting"`
}

// Totals are sums over a time.
type Totals struct {
	Requests  uint64            `json:"requests"`
	Results   map[string]uint64 `json:"results"`
	HitShare  *float64          `json:"hit_share"` // of the requests that are no bypass; null: there are none
	Saved     float64           `json:"saved_seconds"`
	BodyBytes uint64            `json:"body_bytes"`
	Causes    map[string]uint64 `json:"causes,omitempty"`
	Stores    map[string]uint64 `json:"stores,omitempty"`    // by outcome; since the start only, as the next two
	Refreshes map[string]uint64 `json:"refreshes,omitempty"` // by outcome
	Purges    map[string]uint64 `json:"purges,omitempty"`    // by outcome
}

// Calls are the calls of the store.
type Calls struct {
	ByOutcome map[string]uint64 `json:"by_outcome"`
	P50       float64           `json:"p50_seconds"` // of the last 8 to 16 minutes
	P99       float64           `json:"p99_seconds"`
}

// Gauges are what is under way.
type Gauges struct {
	Waiting      int64  `json:"waiting"`
	RefreshQueue int64  `json:"refresh_queue"`
	WriteBuffer  int64  `json:"write_buffer_bytes"`
	CallsSpared  uint64 `json:"calls_spared"`
	RoutesBeyond uint64 `json:"routes_beyond"`
	Watched      bool   `json:"watched"` // hits enter the tail
}

// Breaker is the circuit breaker.
type Breaker struct {
	Open   bool   `json:"open"`
	Opened uint64 `json:"opened"`        // how often it has
	Since  int64  `json:"since"`         // when it opened or closed last; 0: never
	Off    bool   `json:"off,omitempty"` // there is none
}

// Near is the near tier.
type Near struct {
	Exists        bool   `json:"exists"`
	On            bool   `json:"on"`
	Hits          uint64 `json:"hits"`
	Admissions    uint64 `json:"admissions"`
	Invalidations uint64 `json:"invalidations"`
	Drops         uint64 `json:"drops"`
	Entries       int    `json:"entries"`
	Bytes         uint64 `json:"bytes"`
}

// Server is where the entries are.
type Server struct {
	InProcess bool    `json:"in_process"`
	Name      string  `json:"name"` // "Dragonfly", "Valkey", "memory"; empty: not known
	Version   string  `json:"version,omitempty"`
	Address   string  `json:"address,omitempty"` // without credentials
	Used      int64   `json:"used_bytes"`        // 0: not known
	Max       int64   `json:"max_bytes"`         // 0: no limit, or not known
	Latency   float64 `json:"latency_seconds"`   // of one round trip just now; 0: not known
	Error     string  `json:"error,omitempty"`   // what happened when it was asked
}

// Charts are series over a time: as many values in each as in Times. A number that has
// nothing to stand for is null.
type Charts struct {
	Range    string                `json:"range"`
	Step     float64               `json:"step_seconds"`
	Last     float64               `json:"last_step_seconds"` // how much of the last slot is over
	Times    []int64               `json:"times"`             // in seconds: the beginning of each slot
	Results  map[string][]uint64   `json:"results"`
	Latency  map[string][]*float64 `json:"latency"` // "hit_p50", "hit_p99", "handler_p50", "handler_p99", in seconds
	Bytes    map[string][]uint64   `json:"bytes"`   // "cache" and "handler": of bodies, by who made them now
	Purges   []Mark                `json:"purges"`
	Instance string                `json:"instance"`
}

// Mark is a purge.
type Mark struct {
	Time    int64  `json:"time"`
	Kind    string `json:"kind"`
	Soft    bool   `json:"soft,omitempty"`
	Outcome string `json:"outcome"`
}

// Routes is the table of routes, over the current hour and the one before.
type Routes struct {
	Since  int64   `json:"since"`
	Routes []Route `json:"routes"` // by requests
}

// Route is a row of it.
type Route struct {
	Route     string            `json:"route"`
	Requests  uint64            `json:"requests"`
	HitShare  *float64          `json:"hit_share"`
	Results   map[string]uint64 `json:"results"`
	Cause     string            `json:"cause"` // the main one of its misses
	Causes    map[string]uint64 `json:"causes"`
	Reason    string            `json:"reason"` // the main one why nothing was stored, or the cache had nothing to do with it
	P99       *float64          `json:"p99_seconds"`
	Saved     float64           `json:"saved_seconds"`
	BodyBytes uint64            `json:"body_bytes"`
}

// Reasons is why responses were not stored, over the time of Routes.
type Reasons struct {
	Since   int64          `json:"since"`
	Reasons []ReasonRoutes `json:"reasons"` // by count
}

// ReasonRoutes is one reason.
type ReasonRoutes struct {
	Reason string       `json:"reason"`
	Bypass bool         `json:"bypass"` // the cache had nothing to do with the requests
	Remedy string       `json:"remedy"`
	Count  uint64       `json:"count"`
	Routes []RouteCount `json:"routes"` // by count, ten at most
}

// RouteCount is how often a route had it.
type RouteCount struct {
	Route string `json:"route"`
	Count uint64 `json:"count"`
}

// Top are the keys with the most of something, in the current hour or the one before.
type Top struct {
	By     string `json:"by"`
	Period string `json:"period"` // "current" or "previous"
	Since  int64  `json:"since"`
	Until  int64  `json:"until"`
	// Sample is how hits are counted where there are over 200 a second: one of so many, as
	// so many. An estimate of n is off by 2·√(n·(Sample-1)) then, at 95 %.
	Sample int      `json:"sample"`
	Keys   []TopKey `json:"keys"`
}

// TopKey is a key with an estimate. What is counted is at most Count, and at least
// Count - Error; where hits are sampled, that holds for the sample.
type TopKey struct {
	Key   Key    `json:"key"`
	Count uint64 `json:"count"`
	Error uint64 `json:"error"`
}

// Key is a key as it may be shown: without credentials, partition, and values of the
// query, of fields and of cookies.
type Key struct {
	Text string `json:"text"`
	// ID tells keys apart whose texts are alike, in one process.
	ID string `json:"id"`
}

// Tail are the latest events.
type Tail struct {
	Instance string  `json:"instance"` // with another one, begin at 0 again
	Next     uint64  `json:"next"`     // to be sent as after
	Missed   uint64  `json:"missed"`   // how many were overwritten since after
	Events   []Event `json:"events"`   // oldest first
}

// Event is one of them: see [observe.Event].
type Event struct {
	Seq        uint64  `json:"seq"`
	Time       int64   `json:"time"`
	Kind       string  `json:"kind"`
	Route      string  `json:"route,omitempty"`
	Policy     string  `json:"policy,omitempty"`
	Method     string  `json:"method,omitempty"`
	Status     int     `json:"status,omitempty"`
	Result     string  `json:"result,omitempty"`
	Tier       string  `json:"tier,omitempty"`
	Cause      string  `json:"cause,omitempty"`
	Reason     string  `json:"reason,omitempty"` // of a bypass, or why it was not stored
	Stale      string  `json:"stale,omitempty"`
	Op         string  `json:"op,omitempty"`
	Outcome    string  `json:"outcome,omitempty"`
	Trigger    string  `json:"trigger,omitempty"`
	Purge      string  `json:"purge,omitempty"`
	Soft       bool    `json:"soft,omitempty"`
	Background bool    `json:"background,omitempty"`
	Total      float64 `json:"total_seconds"`
	Handler    float64 `json:"handler_seconds,omitempty"`
	Wait       float64 `json:"wait_seconds,omitempty"`
	Age        float64 `json:"age_seconds,omitempty"`
	TTL        float64 `json:"ttl_seconds,omitempty"`
	BodyBytes  int64   `json:"body_bytes,omitempty"` // -1: not known
	Stored     int64   `json:"stored_bytes,omitempty"`
	Key        *Key    `json:"key,omitempty"`
	Flight     string  `json:"flight,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Ask is a request to be looked up or explained.
type Ask struct {
	URL    string  `json:"url"`              // absolute
	Method string  `json:"method,omitempty"` // GET, which is meant by an empty one, or HEAD
	Header []Field `json:"header,omitempty"`
	// Send, of an explanation, makes the request instead of a dry run.
	Send bool `json:"send,omitempty"`
}

// Field is a header field line.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Lookup is what is stored for a URL.
type Lookup struct {
	URL   string  `json:"url"`
	Found []Found `json:"found"` // one for each key that the URL has under the policies of the cache
}

// Found is what is stored under a key.
type Found struct {
	Policies []string `json:"policies"` // whose key it is; "" is the default handle
	Key      Key      `json:"key"`
	Result   string   `json:"result"`           // how such a request would be answered, as far as the cache can tell
	Cause    string   `json:"cause,omitempty"`  // of a miss
	Reason   string   `json:"reason,omitempty"` // of a bypass
	Because  string   `json:"because"`          // a sentence
	Vary     []string `json:"vary,omitempty"`   // by which fields there are variants
	Entries  []Entry  `json:"entries"`          // the response, or its variants: 100 at most
	More     int      `json:"more,omitempty"`   // variants that are left out
}

// Entry is a stored response.
type Entry struct {
	Key       Key     `json:"key"`
	Selected  bool    `json:"selected"` // the request selects it
	Selecting []Field `json:"selecting,omitempty"`
	Status    int     `json:"status"`
	StoredAt  int64   `json:"stored_at"`
	Age       float64 `json:"age_seconds"`
	TTL       float64 `json:"ttl_seconds"` // negative: it is stale
	Lifetime  float64 `json:"lifetime_seconds"`
	Gone      float64 `json:"gone_in_seconds,omitempty"` // when the store forgets it
	Size      int64   `json:"size_bytes"`                // in the store
	BodyBytes int64   `json:"body_bytes"`
	Parts     string  `json:"parts,omitempty"`       // which bytes there are of an incomplete response, in words
	Coding    string  `json:"coding,omitempty"`      // the content coding in which it is stored
	Plain     int64   `json:"plain_bytes,omitempty"` // the length of the body without that
	Saves     float64 `json:"saves_seconds"`         // what its handler took
	Tags      []Tag   `json:"tags"`
	Header    []Field `json:"header"`
	Result    string  `json:"result"`
	Because   string  `json:"because"`
	Problem   string  `json:"problem,omitempty"` // it is no entry, or of another format
}

// Tag is a tag of an entry.
type Tag struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`  // "handler", "group" or "url"
	Stamp string `json:"stamp"` // when it was purged last, in the order of purges
	State string `json:"state"` // "valid", "purged", "soft" or "lost"
}

// Explanation is what the router and the policies make of a request.
type Explanation struct {
	URL     string  `json:"url"`
	Route   string  `json:"route"`
	Policy  string  `json:"policy"`
	Key     *Key    `json:"key,omitempty"`
	Result  string  `json:"result"`
	Cause   string  `json:"cause,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Because string  `json:"because"`
	Remedy  string  `json:"remedy,omitempty"`
	Steps   []Step  `json:"steps"` // in the order of a request
	Sent    bool    `json:"sent"`  // the request was made, so the rest is known
	Status  int     `json:"status,omitempty"`
	Handler float64 `json:"handler_seconds,omitempty"`
	Header  []Field `json:"header,omitempty"`
}

// Step is a decision on the way.
type Step struct {
	Step   string `json:"step"`
	Result string `json:"result"`
}

// Preview is what a purge would remove.
type Preview struct {
	Targets []Target `json:"targets"`
	Soft    bool     `json:"soft"`
	Confirm string   `json:"confirm"` // what the page has typed before it purges
}

// Target is one thing to be purged.
type Target struct {
	Kind    string   `json:"kind"` // "tag", "url", "prefix" or "all"
	Text    string   `json:"text"` // in its normal form
	Reaches []string `json:"reaches,omitempty"`
}

// Config is what the cache was made with.
type Config struct {
	Cache   []Setting `json:"cache"`
	Handles []Handle  `json:"handles"`
}

// Handle is a policy.
type Handle struct {
	Name     string    `json:"name"`    // Policy.Name; may be empty
	Default  bool      `json:"default"` // New has returned it
	Settings []Setting `json:"settings"`
}

// Setting is a field of it. Of functions the Value is "set" or "not set".
type Setting struct {
	Name    string `json:"name"` // "Storing.MaxBytes"
	Value   string `json:"value"`
	Default bool   `json:"default"` // it is what an empty one means
}
