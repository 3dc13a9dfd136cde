// Package prom counts what a cache does in metrics of Prometheus:
//
//	metrics, err := prom.New(prometheus.DefaultRegisterer)
//	...
//	cache, err := cacheaside.New(cacheaside.Config{Observer: metrics})
//	...
//	http.Handle("/metrics", promhttp.HandlerFor(prometheus.DefaultGatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
//
// # Metrics
//
// All names begin with cacheaside_. All times are in seconds, by the cache's Config.Now.
//
//	requests_total{route,result,tier}        requests, by how they were answered
//	request_duration_seconds{result,tier}    until the answer was given to the framework
//	response_body_bytes_total{result}        of bodies, as far as their length is known
//	misses_total{route,cause}                requests that what is stored could not answer, whatever answered them then
//	not_stored_total{route,reason}           requests whose response was not stored
//	bypasses_total{reason}                   requests that were none of the cache's business
//	handler_duration_seconds{route,mode}     of each run of a handler; mode is foreground or background
//	handler_saved_seconds_total{route}       what the handler had taken for a response that was sent in its place
//	hit_age_seconds                          age of hits and stale answers
//	coalesce_wait_seconds{outcome}           of requests that waited for another one
//	refreshes_total{trigger,outcome}         runs in the background
//	stores_total{outcome}                    responses that were to be stored
//	store_call_duration_seconds{op,outcome}  of calls of a store outside the process
//	purges_total{kind,soft,outcome}          purges
//	waiting                                  requests that wait for another one now
//	refresh_queue_length                     background runs that wait for their turn now
//	write_buffer_bytes                       bytes on their way to the store now
//	breaker_open                             caches whose circuit breaker is open
//	store_calls_spared_total                 calls not made of the store while it was open
//	near_on, near_bytes, near_entries        the near tier now
//	near_{hits,admissions,invalidations,drops}_total
//	series_overflow_total                    counts that went to the route "other" for lack of room
//
// The values of the labels are the names of the enums of package observe, which says what
// each means; "other" stands for what a later version of that may tell. A route is
// [observe.Event].Route. Nothing that a client has sent becomes a label, and neither
// [observe.Event].Key nor Err is read.
//
// Durations have classic buckets from 50 µs to 10 s, the age from 0.1 s to a day. Each
// histogram has native buckets as well, 9 % apart.
//
// # Cost
//
// An event of a hit takes about 90 ns and no allocation. With a sampled trace there are two
// exemplars to make, which take 2 µs. Over all caches that have one Metrics there are at most 256 routes, besides "other" and "unmatched".
// Between them they have at most 3,072 counters, and 64 of them a histogram, of 20 lines, of
// the background. What is beyond is counted as the route "other". All of it takes 1.4 MB,
// 10,500 lines and 12 ms of a scrape. A series is there from its first event on.
//
// The README has queries, and what to mind.
package prom
