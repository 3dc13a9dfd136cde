package main

import (
	"crypto/sha1" //nolint:gosec // it is how servers name scripts
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// scripts knows the scripts of clients. What runs in the server behind is wrapped in
// something that holds it to what Dragonfly allows.
type scripts struct {
	back   *backend
	before string

	mu    sync.Mutex
	known map[string]string // by the client's SHA: that of what runs
}

func newScripts(back *backend, table commandTable) *scripts {
	return &scripts{back: back, before: prelude(table), known: map[string]string{}}
}

func sha(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// after ends a wrapped script: a number that is no integer becomes a string, where a Redis
// cuts it.
const after = `
end
local function shown(v)
	if type(v) == 'number' and v ~= math.floor(v) then
		return tostring(v)
	elseif type(v) == 'table' and v.err == nil and v.ok == nil then
		for i = 1, #v do v[i] = shown(v[i]) end
	end
	return v
end
return shown(main())`

// prelude gives scripts another redis.call, on one line, so that lines keep their
// numbers. The last argument is hidden: which write is refused, or 0.
func prelude(table commandTable) string {
	var none, all, pairs, two, deny []string
	for name, c := range table {
		switch {
		case c.first == 0:
			none = append(none, name)
		case c.last < 0 && c.step == 2:
			pairs = append(pairs, name)
		case c.last < 0:
			all = append(all, name)
		case c.last == 2:
			two = append(two, name)
		}
		if c.denyOOM {
			deny = append(deny, name)
		}
	}
	names := func(of []string) string { slices.Sort(of); return "' " + strings.Join(of, " ") + " '" }
	text := strings.NewReplacer("%absent", names(slices.Clone(absent)), "%none", names(none), "%all", names(all),
		"%pairs", names(pairs), "%two", names(two), "%deny", names(deny), "%oom", outOfMemory).Replace(`
local redis = (function(R, K, A)
	local declared = {}
	for i = 1, #K do declared[K[i]] = true end
	local refused, writes = tonumber(table.remove(A)), 0
	local function among(names, name) return string.find(names, name, 1, true) ~= nil end
	local function check(args)
		local name = ' ' .. string.upper(tostring(args[1])) .. ' '
		if among(%absent, name) then return 'ERR unknown command' end
		if not among(%none, name) then
			local last, step = 2, 1
			if among(%all, name) then last = #args elseif among(%pairs, name) then last, step = #args, 2 elseif among(%two, name) then last = 3 end
			for i = 2, last, step do
				if args[i] ~= nil and not declared[tostring(args[i])] then
					return 'ERR script tried accessing undeclared key, key: ' .. tostring(args[i])
				end
			end
		end
		if refused > 0 and among(%deny, name) then
			writes = writes + 1
			if writes >= refused then return 'ERR %oom' end
		end
	end
	return setmetatable({
		call = function(...)
			local err = check({...})
			if err then error({err = err}) end
			return R.call(...)
		end,
		pcall = function(...)
			local err = check({...})
			if err then return {err = err} end
			return R.pcall(...)
		end,
	}, {__index = R})
end)(redis, KEYS, ARGV)
local server = redis
local function main() `)
	return strings.Join(strings.Fields(text), " ") + " "
}

func (s *scripts) wrap(text string) string { return s.before + text + after }

// load makes a script known, or says what is wrong with it.
func (s *scripts) load(text string) (name string, answer []byte) {
	name = sha(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[name] != "" {
		return name, nil
	}
	v := s.back.do("SCRIPT", "LOAD", s.wrap(text))
	if v.kind == '-' {
		return "", failure(strings.TrimPrefix(v.text, "ERR "))
	}
	s.known[name] = v.text
	return name, nil
}

// shaOf is what a client calls the script of its EVAL or EVALSHA.
func shaOf(name string, args []string) string {
	if len(args) < 2 {
		return ""
	}
	if strings.HasPrefix(name, "EVALSHA") {
		return strings.ToLower(args[1])
	}
	return sha(args[1])
}

// translate returns the command that runs the wrapped script, or an answer.
func (s *scripts) translate(name string, args []string, refused bool, rand interface{ intN(n int) int }) (translated []string, answer []byte) {
	if len(args) < 3 {
		return nil, wrongArity(name)
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, failure("value is not an integer or out of range")
	}
	if n < 0 || n > len(args)-3 {
		return nil, failure("Number of keys can't be greater than number of args")
	}
	id := strings.ToLower(args[1])
	if !strings.HasPrefix(name, "EVALSHA") {
		if id, answer = s.load(args[1]); answer != nil {
			return nil, answer
		}
	}
	s.mu.Lock()
	wrapped := s.known[id]
	s.mu.Unlock()
	if wrapped == "" {
		return nil, failure("-NOSCRIPT No matching script. Please use EVAL.")
	}
	if !strings.HasPrefix(name, "EVALSHA") { // a user may have the right to the one and not to the other
		wrapped = s.wrap(args[1])
	}
	hidden := "0"
	if refused {
		hidden = strconv.Itoa(1 + rand.intN(3))
	}
	translated = append([]string{name, wrapped}, args[2:]...)
	return append(translated, hidden), nil
}

// command is SCRIPT.
func (s *scripts) command(args []string) []byte {
	if len(args) == 0 {
		return wrongArity("script")
	}
	switch sub := upper(args[0]); {
	case sub == "LOAD" && len(args) == 2:
		name, answer := s.load(args[1])
		if answer != nil {
			return answer
		}
		return bulk(name)
	case sub == "EXISTS" && len(args) > 1:
		var found [][]byte
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, name := range args[1:] {
			n := int64(0)
			if s.known[strings.ToLower(name)] != "" {
				n = 1
			}
			found = append(found, integer(n))
		}
		return array(found...)
	case sub == "FLUSH":
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.known)
		return simple("OK")
	default:
		return unknownSub(sub, "SCRIPT")
	}
}

// scriptError gives what stopped a script the words that Dragonfly has for it.
func (s *server) scriptError(c *conn, id string, b []byte) []byte {
	if b[0] != '-' {
		return b
	}
	text := strings.TrimSpace(string(b[1:]))
	what, where, stopped := cutLast(text, " script: ")
	if !stopped {
		return s.plainError(c.user, "EVAL", b)
	}
	what = strings.TrimPrefix(what, "ERR ")
	switch {
	case strings.HasPrefix(what, "OOM "):
		what = outOfMemory
	case strings.Contains(what, "user executing the script"), strings.Contains(what, "ACL failure in script"):
		what = "-NOPERM " + c.user + " has no ACL permissions"
	}
	_, place, _ := cutLast(where, ", on ")
	return failure(fmt.Sprintf("Error running script (call to %s): %s: %s", id, strings.TrimSuffix(place, "."), what))
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}
