package protocol

// mutant is a rule that is left out.
type mutant uint8

const (
	noMutant mutant = iota
	epochs
	epochIsSame
	settleEpoch
	ringAsked
	ringReach
	ringComplete
	notToSince
	notToSinceByRing
	stampIsThere
	stampsOnlyIfThere
	hardIsHard
	sinceBefore
	onlyIfFree
	tokenPerAttempt
	tokenSentOnce
	writeCompares
	writeTakesToken
	swapCompares
	tokenReleased
	leftReplaced
	notesDiffer
	aloneHasToken
	backgroundHasToken
	freshenedHasToken
	variantHasURL
	asideHasURL
	followersJoined
	followersOfLook
	followersOfHandler
	followersOfStore
	purgeDeletesLock
	purgeIsBoth
	purgeWaits
	leaseShorter
	journalEpoch
	journalCompares
	journalInRing
	nearTracked
	mutants // how many there are
)

// mutations are the rules, each with what goes wrong without it, and where.
var mutations = []struct {
	without mutant
	rule    string
	wrong   property
	in      model
}{
	{epochs, "a clock that is made has an epoch of its own", safety, model{requests: two, purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "cs", times: 2}},
	{epochIsSame, "readers compare the epochs of stamp and entry", safety, model{requests: two, purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "cs", times: 2}},
	{settleEpoch, "a stamp of another epoch is made anew", liveness, model{requests: asks(in(0, together), then(0, 1, together)), purges: of(ofA, ofA), inTurn: true, tags: 1, evict: "cs", times: 2}},

	{ringAsked, "a stamp is made from the ring", liveness, model{requests: asks(in(0, together)), purges: of(ofNone), tags: 1}},
	{ringReach, "the ring knows how far back it reaches", safety, model{requests: two, purges: of(ofA, ofNone), tags: 1, ring: 1}},
	{ringComplete, "a ring that is not full may have been evicted", safety, model{requests: two, purges: of(ofA, ofNone), tags: 1, evict: "r", times: 1}},
	{notToSince, "a stamp that is missing is not set to the number of who asks", safety, model{requests: two, purges: of(ofA), tags: 1, evict: "s", times: 1}},
	{notToSinceByRing, "nor where the ring allows that", liveness, model{requests: two, purges: of(ofNone, ofNone), tags: 1}},
	{stampIsThere, "what has a stamp that is missing is not valid", safety, model{requests: two, purges: of(ofA), tags: 1}},
	{stampsOnlyIfThere, "a purge makes no stamps", thrift, model{requests: asks(in(0, together)), purges: of(ofA), tags: 0}},
	{hardIsHard, "a hard purge ends what is valid", safety, model{requests: two, purges: of(ofA), tags: 1}},
	{sinceBefore, "the number of a fill is read before its handler runs", safety, model{requests: two, purges: of(ofA), tags: 1}},

	{onlyIfFree, "a token takes nobody's place", liveness, model{requests: asks(in(0, alone), in(1, together))}},
	{tokenPerAttempt, "a token is unique for each attempt, not for each process", safety, model{requests: asks(in(0, alone), in(0, alone), in(1, together)), purges: of(ofURL), evict: "l", times: 1}},
	{tokenSentOnce, "a token is sent once", safety, model{requests: two, purges: of(ofURL), loses: true}},
	{writeCompares, "what is written compares the token", safety, model{requests: two, purges: of(ofURL)}},
	{writeTakesToken, "what is written takes the token along", thrift, model{requests: two}},
	{swapCompares, "who gives up removes the own token only", liveness, model{requests: asks(in(0, together), in(1, together)), purges: of(ofURL)}},
	{tokenReleased, "who stores nothing gives up the token", thrift, model{requests: two, purges: of(ofA), tags: 1}},
	{leftReplaced, "a token that its process has left is replaced, not used", liveness, model{requests: twoOfOne, fails: true}},
	{notesDiffer, "a note is as unique as a token", safety, model{requests: asks(in(0, together), then(1, 1, alone), then(0, 1, together), then(1, 3, together)), purges: of(ofURL), passes: true}},
	{aloneHasToken, "who waits for nobody has a token all the same", safety, model{requests: asks(in(0, alone), in(1, together)), purges: of(ofURL)}},
	{backgroundHasToken, "so has what runs in the background", safety, model{requests: asks(in(0, behind), in(1, together)), purges: of(ofURL)}},
	{freshenedHasToken, "so has what a 304 freshens", safety, model{requests: asks(in(0, together), then(0, 1, together), then(1, 1, together)), purges: of(ofURL), expiries: 1}},

	{variantHasURL, "variants have the tag of their URL", safety, model{requests: twoOfOne, purges: of(ofURL), vary: func(uint8) bool { return true }}},
	{asideHasURL, "so has what is written by another lock than that of the URL", safety, model{requests: asks(aside(0), in(1, together)), purges: of(ofURL)}},
	{asideHasURL, "also where it does not vary any more", safety, model{requests: two, purges: of(ofURL, ofURL), vary: func(version uint8) bool { return version == 0 }, knows: 1}},

	{followersJoined, "not everybody who waits gets what comes", safety, model{requests: twoOfOne, purges: of(ofURL)}},
	{followersOfLook, "what a second look finds is for who was there before", safety, model{requests: asks(in(0, together), in(1, alone), in(0, together)), purges: of(ofURL)}},
	{followersOfHandler, "what a handler gives is for who was there before it was called", safety, model{requests: twoOfOne, purges: of(ofURL)}},
	{followersOfStore, "what is stored is for who was there before the first step of that", safety, model{requests: twoOfOne, purges: of(ofA), tags: 1}},

	{purgeDeletesLock, "a purge of the URL deletes the lock", safety, model{requests: two, purges: of(ofURL)}},
	{purgeIsBoth, "it is acknowledged after both its parts", safety, model{requests: two, purges: of(ofURL)}},
	{purgeWaits, "a purge of everything waits for who has a copy of the journal", safety, model{requests: asks(in(1, together), then(1, 1, together)), purges: of(ofAll), ticks: 2}},
	{leaseShorter, "no copy is used for longer than that", safety, model{requests: asks(in(1, together), then(1, 1, together)), purges: of(ofAll), ticks: 2}},
	{journalEpoch, "the journal has an epoch", safety, model{requests: asks(in(0, together), then(0, 1, together)), purges: of(ofNone, ofAll), inTurn: true, evict: "c", times: 1, ticks: 2}},
	{journalCompares, "it is replaced only if it has not changed", safety, model{requests: asks(in(0, alone), then(0, 1, together)), purges: of(ofAll, ofPrefix), ticks: 2}},
	{journalInRing, "its purges have a place in the ring", liveness, model{requests: asks(in(0, together)), purges: of(ofPrefix), tags: 1, ticks: 1}},

	{nearTracked, "a copy comes to a near tier in the order of the wire", safety, model{requests: asks(in(0, together), then(0, 1, together)), purges: of(ofURL), near: true}},
}
