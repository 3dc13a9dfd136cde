package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// registry is the users. Passwords, and who is on, are looked at here; what they may do
// is enforced by the server behind, which lets each in by one secret.
type registry struct {
	back  *backend
	table commandTable

	mu    sync.Mutex
	users map[string]*account
	log   []denial
	may   map[[2]string]bool // what was found out of users and commands since rules have changed
}

type account struct {
	on, nopass, allKeys, allChannels bool
	passwords                        map[string]bool
	keys, channels, commands         []string
}

// denial is an entry of ACL LOG.
type denial struct {
	reason, object, user string
	at                   time.Time
}

func newRegistry(b *backend, table commandTable, password string) *registry {
	first := &account{on: true, nopass: password == "", allKeys: true, allChannels: true, passwords: map[string]bool{}, commands: []string{"+@all"}}
	if password != "" {
		first.passwords[password] = true
	}
	return &registry{back: b, table: table, users: map[string]*account{"default": first}, may: map[[2]string]bool{}}
}

// open reports whether one is in without a password.
func (r *registry) open() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.users["default"].on && r.users["default"].nopass
}

func (r *registry) lets(user, password string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.users[user]
	return a != nil && a.on && (a.nopass || a.passwords[password])
}

// require is CONFIG SET requirepass.
func (r *registry) require(password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.users["default"]
	clear(a.passwords)
	if a.nopass = password == ""; !a.nopass {
		a.passwords[password] = true
	}
}

// denied notes that the server behind has refused a command.
func (r *registry) denied(user, name, why string) {
	reason := "COMMAND"
	switch {
	case strings.Contains(why, "channel"):
		reason = "PUB_SUB"
	case strings.Contains(why, "key"):
		reason = "KEY"
	}
	r.note(denial{reason, name, user, time.Now()})
}

func (r *registry) deniedAuth(user string) { r.note(denial{"AUTH", "AUTH", user, time.Now()}) }

// inScripts are the entries of the log of the server behind that are about scripts: those
// may go on after a command that their user may not give, and nobody is told.
func (r *registry) inScripts() (log []denial) {
	for _, item := range r.back.do("ACL", "LOG", "128").items {
		entry := map[string]string{}
		for i := 0; i+1 < len(item.items); i += 2 {
			entry[item.items[i].text] = item.items[i+1].text
		}
		if entry["context"] != "lua" {
			continue
		}
		object, _, _ := strings.Cut(upper(entry["object"]), "|")
		age, _ := strconv.ParseFloat(entry["age-seconds"], 64)
		log = append(log, denial{upper(entry["reason"]), object, entry["username"], time.Now().Add(-time.Duration(age * float64(time.Second)))})
	}
	return log
}

func (r *registry) note(d denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append([]denial{d}, r.log[:min(len(r.log), 31)]...)
}

// acl is ACL.
func (c *conn) acl(args []string) []byte {
	r := c.s.users
	rest := args[min(2, len(args)):]
	switch sub := upper(second(args)); {
	case sub == "":
		return wrongArity("acl")
	case sub == "WHOAMI" && len(rest) == 0:
		return bulk("User is " + c.who())
	case sub == "SETUSER" && len(rest) == 0, sub == "DELUSER" && len(rest) == 0:
		return wrongArity("acl " + sub)
	case sub == "SETUSER":
		answer, reset := r.setUser(rest[0], rest[1:])
		if reset {
			c.reply(answer)
			c.flush()
			c.s.kill(func(o *conn) bool { return o.who() == rest[0] })
			return nil
		}
		return answer
	case sub == "DELUSER":
		return c.deleteUsers(rest)
	case sub == "LIST" && len(rest) == 0:
		return r.list(func(name string, a *account) string { return "user " + name + " " + a.String() })
	case sub == "USERS" && len(rest) == 0:
		return r.list(func(name string, _ *account) string { return name })
	case sub == "LOG":
		return r.logCommand(rest)
	case sub == "GETUSER" && len(rest) == 1:
		return c.getUser(rest[0])
	case sub == "CAT", sub == "GENPASS":
		return c.ask(args...)
	default:
		return unknownSub(sub, "ACL")
	}
}

func (c *conn) deleteUsers(names []string) []byte {
	n := int64(0)
	for _, name := range names {
		if c.s.users.remove(name) {
			n++
			c.s.kill(func(o *conn) bool { return o.who() == name })
		}
	}
	return integer(n)
}

func (r *registry) remove(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "default" || r.users[name] == nil {
		return false
	}
	delete(r.users, name)
	clear(r.may)
	r.back.do("ACL", "DELUSER", name)
	return true
}

func (r *registry) list(show func(string, *account) string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.users)) {
		all = append(all, show(name, r.users[name]))
	}
	return bulks(all...)
}

func (a *account) String() string {
	state, keys, channels := "off", strings.Join(a.keys, " "), "resetchannels"
	if a.on {
		state = "on"
	}
	if a.nopass {
		state += " nopass"
	}
	if a.allKeys {
		keys = "~*"
	}
	if a.allChannels {
		channels = "&*"
	} else if len(a.channels) > 0 {
		channels += " " + strings.Join(a.channels, " ")
	}
	return strings.Join(strings.Fields(strings.Join([]string{state, keys, channels, strings.Join(a.commands, " "), "$all"}, " ")), " ")
}

func (c *conn) getUser(name string) []byte {
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	r := c.s.users
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.users[name]
	if a == nil {
		return null(resp)
	}
	flags := []string{"off"}
	if a.on {
		flags[0] = "on"
	}
	if a.nopass {
		flags = append(flags, "nopass")
	}
	return array(bulk("flags"), bulks(flags...), bulk("passwords"), bulks(slices.Sorted(maps.Keys(a.passwords))...),
		bulk("commands"), bulk(strings.Join(a.commands, " ")), bulk("keys"), bulks(a.keys...), bulk("channels"), bulks(a.channels...))
}

func (r *registry) logCommand(rest []string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 10
	if len(rest) == 1 && upper(rest[0]) == "RESET" {
		r.log = nil
		r.back.do("ACL", "LOG", "RESET")
		return simple("OK")
	}
	if len(rest) > 0 {
		n, err := strconv.Atoi(rest[0])
		if err != nil {
			return failure("Invalid count")
		}
		most = n
	}
	var entries [][]byte
	log := append(r.inScripts(), r.log...)
	slices.SortStableFunc(log, func(a, b denial) int { return b.at.Compare(a.at) })
	for _, d := range log[:min(len(log), max(most, 0))] {
		entries = append(entries, array(simple("reason"), simple(d.reason), simple("object"), simple(d.object), simple("username"), simple(d.user),
			simple("age-seconds"), simple(fmt.Sprintf("%.6f", time.Since(d.at).Seconds())), simple("client-info"), simple(""),
			simple("timestamp-created"), integer(d.at.UnixNano())))
	}
	return array(entries...)
}

// load reads the users of an aclfile, each in a line "user name rules". As in Dragonfly, one
// line that is wrong, or has fewer than four words, spoils the file; the server starts all
// the same, with the default user that there is without a file.
func (r *registry) load(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "Dragonfly could not load ACL file %s with error %v\n", path, err)
		return
	}
	var users [][]string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 4 || !strings.EqualFold(words[0], "user") {
			fmt.Fprintln(os.Stderr, "Error materializing acl file")
			return
		}
		users = append(users, words[1:])
	}
	before := r.users["default"]
	for _, user := range users {
		if user[0] == "default" { // the line has all that it may do
			user = slices.Insert(slices.Clone(user), 1, "resetpass", "resetkeys", "resetchannels", "-@all")
		}
		if answer, _ := r.setUser(user[0], user[1:]); answer[0] == '-' {
			fmt.Fprintf(os.Stderr, "Error while parsing aclfile: %s", answer[1:])
			for _, added := range users {
				r.remove(added[0])
			}
			r.setUser("default", []string{"allkeys", "allchannels", "+@all"})
			r.users["default"] = before
			return
		}
	}
}

// elsewhere are commands and categories that Dragonfly has and a Redis may not: their
// rights are accepted, and mean nothing here.
var elsewhere = strings.Fields(`SADDEX FIELDEXPIRE FIELDTTL HSETEX HGETEX HEXPIRE HTTL DELEX DIGEST CL.THROTTLE STICK DFLY
	DFLYCLUSTER @JSON @FT_SEARCH @THROTTLE @BLOOM @CMS @TOPK @TDIGEST`)

// categories that both have.
var categories = strings.Fields(`ALL KEYSPACE READ WRITE SET SORTEDSET LIST HASH STRING BITMAP HYPERLOGLOG GEO STREAM
	PUBSUB ADMIN FAST SLOW BLOCKING DANGEROUS CONNECTION TRANSACTION SCRIPTING`)

// setUser is ACL SETUSER. Rules are those of Dragonfly: a command has no subcommands, and
// there is no reset. With resetchannels whoever is in is thrown out.
func (r *registry) setUser(name string, rules []string) (answer []byte, reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, behind := &account{passwords: map[string]bool{}, commands: []string{"-@all"}}, []string{"on", "resetkeys", "resetchannels", "-@all"}
	old := r.users[name]
	if old != nil {
		copied := *old
		copied.passwords, a, behind = maps.Clone(old.passwords), &copied, nil
	}
	for _, rule := range rules {
		more, problem := r.apply(a, rule)
		if problem != "" {
			return failure(problem), false
		}
		behind = append(behind, more...)
		reset = reset || strings.EqualFold(rule, "resetchannels")
	}
	command := append([]string{"ACL", "SETUSER", name}, behind...)
	if v := r.back.do(append(command, ">"+r.back.secret)...); v.kind == '-' {
		return failure(strings.TrimPrefix(v.text, "ERR ")), false
	}
	r.users[name] = a
	clear(r.may)
	return simple("OK"), reset && old != nil
}

// apply changes an account, and returns the rules that the server behind is told.
func (r *registry) apply(a *account, rule string) (behind []string, problem string) {
	if a.password(rule) {
		return nil, ""
	}
	lower := strings.ToLower(rule)
	switch {
	case lower == "on", lower == "off":
		a.on = lower == "on"
		return nil, ""
	case lower == "allkeys", rule == "~*":
		a.allKeys = true
		return []string{"allkeys"}, ""
	case lower == "resetkeys":
		a.allKeys, a.keys = false, nil
		return []string{"resetkeys"}, ""
	case len(rule) > 1 && rule[0] == '~', strings.HasPrefix(rule, "%R~"), strings.HasPrefix(rule, "%W~"), strings.HasPrefix(rule, "%RW~"):
		if a.allKeys {
			return nil, "Error in ACL SETUSER modifier '" + rule + "': Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
		}
		a.keys = append(slices.Clip(a.keys), rule)
		return []string{rule}, ""
	case lower == "allchannels", rule == "&*":
		a.allChannels = true
		return []string{"allchannels"}, ""
	case lower == "resetchannels":
		a.allChannels, a.channels = false, nil
		return []string{"resetchannels"}, ""
	case len(rule) > 1 && rule[0] == '&':
		a.channels = append(slices.Clip(a.channels), rule)
		return []string{rule}, ""
	case strings.HasPrefix(lower, "namespace:"), len(rule) > 1 && rule[0] == '$':
		return nil, ""
	}
	return r.applyCommand(a, upper(rule))
}

func (a *account) password(rule string) bool {
	switch {
	case rule == "nopass":
		a.nopass = true
		clear(a.passwords)
	case rule == "resetpass":
		a.nopass = false
		clear(a.passwords)
	case strings.HasPrefix(rule, ">"):
		a.nopass = false
		a.passwords[rule[1:]] = true
	case strings.HasPrefix(rule, "<"):
		delete(a.passwords, rule[1:])
	default:
		return false
	}
	return true
}

func (r *registry) applyCommand(a *account, rule string) (behind []string, problem string) {
	switch rule {
	case "ALLCOMMANDS":
		rule = "+@ALL"
	case "NOCOMMANDS":
		rule = "-@ALL"
	}
	if len(rule) < 2 || rule[0] != '+' && rule[0] != '-' {
		return nil, "Unrecognized parameter " + rule
	}
	name := rule[1:]
	category, isCategory := strings.CutPrefix(name, "@")
	_, known := r.table[name]
	switch {
	case known && name != "STICK", isCategory && slices.Contains(categories, category):
		behind = []string{strings.ToLower(rule)}
	case slices.Contains(elsewhere, name):
	default:
		return nil, "Unrecognized parameter " + rule
	}
	a.commands = append(slices.Clip(a.commands), strings.ToLower(rule))
	return behind, ""
}

// stands has a command of the server behind for each that is answered here: what a user
// may do of the one, it may of the other.
var stands = map[string][]string{
	"CLIENT": {"CLIENT", "ID"}, "CONFIG": {"CONFIG", "GET", "x"}, "CLUSTER": {"CLUSTER", "MYID"}, "ACL": {"ACL", "WHOAMI"},
	"MEMORY": {"MEMORY", "DOCTOR"}, "DEBUG": {"DEBUG", "HELP"}, "COMMAND": {"COMMAND", "COUNT"}, "SCRIPT": {"SCRIPT", "EXISTS", "x"},
	"SELECT": {"SELECT", "0"}, "WAIT": {"WAIT", "0", "0"},
}

// refuseLocal says that the user may not give a command that is answered here.
func (c *conn) refuseLocal(name string, args []string) []byte {
	r, user := c.s.users, c.who()
	if r.allows(user, name, args) {
		return nil
	}
	r.denied(user, name, "")
	return noPermission(user)
}

// mayNot reports whether the server behind would refuse a command of the user.
func (r *registry) mayNot(user string, args []string) bool {
	v := r.back.do(append([]string{"ACL", "DRYRUN", user}, args...)...)
	return v.kind != '-' && v.text != "OK"
}

func (r *registry) allows(user, name string, args []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.users[user]
	if a != nil && len(a.commands) == 1 && a.commands[0] == "+@all" && a.allKeys {
		return true
	}
	at := [2]string{user, name}
	if may, ok := r.may[at]; ok {
		return may
	}
	command := stands[name]
	switch {
	case name == "STICK":
		return r.back.do(append([]string{"ACL", "DRYRUN", user, "TOUCH"}, args[1:]...)...).text == "OK"
	case command == nil:
		command = []string{name}
	}
	may := r.back.do(append([]string{"ACL", "DRYRUN", user}, command...)...).text == "OK"
	r.may[at] = may
	return may
}
