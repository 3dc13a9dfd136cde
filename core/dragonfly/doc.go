// Package dragonfly keeps cache entries in Dragonfly, Redis or Valkey, through
// rueidis.
//
// Dragonfly should run with --cache_mode=true, Redis and Valkey with a maxmemory
// and an evicting maxmemory-policy; [Open] warns when nothing evicts.
//
// # Commands and round trips
//
// What a request or a purge sends, once the server knows the scripts and there is a
// clock, and the process has the journal, which it reads again every 0.4 s while it is
// in use. What stands between two bars is sent at once, and waited for; "&" joins what
// is sent side by side. EVALSHA is one script each.
//
//	hit                      GET
//	near hit                 nothing
//	hit, five tags           6 GET
//	hit, a variant           2 GET
//	hit, large               GET | GET
//	miss                     GET | SET, GET, GETRANGE | handler | EVALSHA
//	miss, five tags          GET | SET, GET, GETRANGE | handler | 2 EVALSHA
//	miss, five new tags      GET | SET, GET, GETRANGE | handler | 2 EVALSHA
//	miss, the first variant  GET | SET, GET, GETRANGE | handler | 2 EVALSHA
//	miss, another variant    GET | GET | SET, GET, GETRANGE | handler | 2 EVALSHA
//	miss, large              GET | SET, GET, GETRANGE | handler | 2 GET | SET | EVALSHA
//	miss, CoalesceProcess    GET | SET, PEXPIRE, GET, GETRANGE | handler | EVALSHA
//	miss, CoalesceNone       GET | SET, PEXPIRE, GETRANGE | handler | EVALSHA
//	no-cache of the client   GET | SET, PEXPIRE, GETRANGE | handler | EVALSHA
//	validation, 304          GET | SET, GET, GETRANGE | handler | EVALSHA
//	not stored               GET | SET, GET, GETRANGE | handler | EVALSHA
//	not stored, again        GET | SET, PEXPIRE, GETRANGE | handler
//	PurgeTags, one           EVALSHA
//	PurgeTags, five          EVALSHA
//	SoftPurgeTags, five      EVALSHA
//	PurgeURL                 2 EVALSHA & 3 UNLINK
//	PurgePrefix              EVALSHA
//	PurgeAll                 EVALSHA
//
// What follows the handler is done beside the client's answer. Tags are purged by a script for each 256 of them, in turn. A prefix, or
// everything, takes half a second more, in which all processes learn of it.
//
// An untagged fill leaves nothing but its value on the server; a tag that is new adds a
// stamp, which lasts as long as what it can purge, and an eighth longer. Besides, a
// namespace has a clock, the ring of the last 256 purges, and the journal.
//
// Any of that may be lost, damaged, or a value of another type or format: a token or an
// entry is none then, what the ring does not know counts as purged, and without the
// clock or the journal so does all that was stored before.
package dragonfly
