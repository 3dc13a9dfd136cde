// Package dragonfly keeps cache entries in Dragonfly, Redis or Valkey, through
// rueidis.
//
// Dragonfly should run with --cache_mode=true, Redis and Valkey with a maxmemory
// and an evicting maxmemory-policy; [Open] warns when nothing evicts.
//
// # Commands and round trips
//
// The table lists what a request or a purge sends once the server knows the scripts,
// there is a clock, and the process has a copy of the journal. It uses a copy for at most
// 0.4 s, and reads the journal again while requests need it. A bar separates what is sent
// at once and then waited for; "&" joins what is sent side by side. Each EVALSHA is one
// script.
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
//	Purge, soft, five tags   EVALSHA
//	PurgeURL                 2 EVALSHA & 3 UNLINK
//	Purge of a prefix        EVALSHA
//	Purge of all             EVALSHA
//
// What follows the handler is sent beside the client's answer. Tags are purged in scripts
// of 256 each, one after the other. A purge of prefixes or of everything takes half a
// second more, in which all processes learn of it.
//
// A fill without tags leaves nothing but its value on the server. A new tag adds a stamp,
// which lasts an eighth longer than what it can purge. Besides these, a namespace has a
// clock, the ring of the last purges, some 250 of them, and the journal.
//
// Any of these may be lost, damaged, or a value of another type or format. Such a token
// or entry is treated as absent; what the ring does not know counts as purged; and
// without the clock or the journal, so does all that was stored before.
package dragonfly
