package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// local is a command that is answered here.
type local struct {
	after  bool // what came before it is answered first
	answer func(c *conn, args []string) []byte
}

var locals = map[string]local{
	"PING":      {false, (*conn).ping},
	"INFO":      {true, (*conn).info},
	"CLIENT":    {false, (*conn).client},
	"CONFIG":    {true, (*conn).config},
	"CLUSTER":   {true, (*conn).clusterCommand},
	"READONLY":  {false, (*conn).readOnly},
	"READWRITE": {false, (*conn).readOnly},
	"ACL":       {true, (*conn).acl},
	"MEMORY":    {true, (*conn).memory},
	"DEBUG":     {false, func(_ *conn, args []string) []byte { return unknownSub(second(args), "DEBUG") }},
	"COMMAND":   {false, (*conn).commandCommand},
	"SCRIPT":    {true, func(c *conn, args []string) []byte { return c.s.scripts.command(args[1:]) }},
	"SELECT":    {true, (*conn).selectDB},
	"WAIT":      {true, func(*conn, []string) []byte { return integer(0) }},
	"STICK":     {true, (*conn).stick},
	"MONITOR":   {true, (*conn).watchAll},
}

func second(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

func (c *conn) ping(args []string) []byte {
	switch len(args) {
	case 1:
		return simple("PONG")
	case 2:
		return bulk(args[1])
	}
	return wrongArity("ping")
}

func (c *conn) hello(args []string) []byte {
	c.mu.Lock()
	resp, authed, user := c.resp, c.authed, c.user
	c.mu.Unlock()
	name := ""
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n != 2 && n != 3 {
			return failure("-NOPROTO unsupported protocol version")
		}
		resp = n
	}
	for i := 2; i < len(args); {
		switch option := upper(args[i]); {
		case option == "AUTH" && i+2 < len(args):
			user = args[i+1]
			if !c.s.users.lets(user, args[i+2]) {
				c.s.users.deniedAuth(user)
				return failure(wrongPassword)
			}
			authed = true
			i += 3
		case option == "SETNAME" && i+1 < len(args):
			name = args[i+1]
			i += 2
		default:
			return failure(syntaxError)
		}
	}
	if !authed {
		return failure("-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	}
	c.become(user, resp)
	if name != "" {
		c.mu.Lock()
		c.name = name
		c.mu.Unlock()
	}
	return dict(resp, bulk("server"), bulk("redis"), bulk("version"), bulk(redisVersion),
		bulk("dragonfly_version"), bulk(version), bulk("proto"), integer(int64(resp)), bulk("id"), integer(c.id),
		bulk("mode"), bulk(c.s.mode()), bulk("role"), bulk("master"))
}

// become makes all links those of the user.
func (c *conn) become(user string, resp int) {
	c.mu.Lock()
	same := c.user == user && c.resp == resp
	c.user, c.resp, c.authed = user, resp, true
	c.mu.Unlock()
	if same {
		return
	}
	c.settle()
	for _, l := range c.links {
		if l != nil {
			l.become(user, resp)
		}
	}
}

const (
	wrongPassword = "-WRONGPASS invalid username-password pair or user is disabled."
	redisVersion  = "7.4.0" // that Dragonfly says it is like
)

func (c *conn) auth(args []string) []byte {
	user := "default"
	switch len(args) {
	case 2:
	case 3:
		user = args[1]
	default:
		return failure(syntaxError)
	}
	if !c.s.users.lets(user, args[len(args)-1]) {
		c.s.users.deniedAuth(user)
		return failure(wrongPassword)
	}
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	c.become(user, resp)
	return simple("OK")
}

func (c *conn) client(args []string) []byte {
	rest := args[min(2, len(args)):]
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	switch sub := upper(second(args)); {
	case sub == "ID" && len(rest) == 0:
		return integer(c.id)
	case sub == "SETNAME" && len(rest) == 1:
		c.mu.Lock()
		c.name = rest[0]
		c.mu.Unlock()
		return simple("OK")
	case sub == "GETNAME" && len(rest) == 0:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.name == "" {
			return null(resp)
		}
		return bulk(c.name)
	case sub == "SETINFO":
		return c.setInfo(rest)
	case sub == "TRACKING":
		return c.setTracking(rest)
	case sub == "CACHING":
		return c.setCaching(rest)
	case sub == "LIST":
		c.settle()
		return bulk(c.s.list())
	case sub == "INFO":
		return bulk(c.describe())
	case sub == "KILL":
		return c.killOthers(rest)
	case sub == "PAUSE" && len(rest) > 0:
		c.settle()
		return c.ask(append([]string{"CLIENT", "PAUSE"}, rest...)...)
	case sub == "UNPAUSE":
		return c.ask("CLIENT", "UNPAUSE")
	default:
		return unknownSub(sub, "CLIENT")
	}
}

func (c *conn) setInfo(rest []string) []byte {
	if len(rest) != 2 {
		return failure(syntaxError)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch upper(rest[0]) {
	case "LIB-NAME":
		c.library[0] = rest[1]
	case "LIB-VER":
		c.library[1] = rest[1]
	default:
		return failure(syntaxError)
	}
	return simple("OK")
}

// killOthers knows ADDR, LADDR and ID, and the old form with an address alone.
func (c *conn) killOthers(rest []string) []byte {
	c.settle()
	var is func(*conn) bool
	switch {
	case len(rest) == 1 && strings.Contains(rest[0], ":"):
		is = func(o *conn) bool { return o.addr() == rest[0] }
	case len(rest) == 2 && upper(rest[0]) == "ADDR":
		is = func(o *conn) bool { return o.addr() == rest[1] }
	case len(rest) == 2 && upper(rest[0]) == "LADDR":
		is = func(o *conn) bool { return endpoint(o.nc.LocalAddr()) == rest[1] }
	case len(rest) == 2 && upper(rest[0]) == "ID":
		if id, err := strconv.ParseInt(rest[1], 10, 64); err == nil {
			is = func(o *conn) bool { return o.id == id }
		}
	}
	if is == nil {
		return failure(syntaxError)
	}
	return integer(c.s.kill(is))
}

func (s *server) list() string {
	var b strings.Builder
	for _, c := range s.all() {
		b.WriteString(c.describe() + "\n")
	}
	return b.String()
}

func (c *conn) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s tid=0 irqmatch=0 pipeline=0 pbuf=0 age=%d idle=%d tot-cmds=%d db=%s flags=N phase=process lib-name=%s lib-ver=%s",
		c.id, c.addr(), endpoint(c.nc.LocalAddr()), c.id+10, c.name, int(now.Sub(c.began).Seconds()), int(now.Sub(time.Unix(0, c.last.Load())).Seconds()), c.calls.Load(), c.db, c.library[0], c.library[1])
}

// ask passes an answer of the server behind on. It is for what few need.
func (c *conn) ask(args ...string) []byte {
	v := c.s.back.do(args...)
	switch v.kind {
	case '+':
		return simple(v.text)
	case '-':
		return failure(strings.TrimPrefix(v.text, "ERR "))
	case ':':
		return []byte(":" + v.text + "\r\n")
	case '$':
		if !v.null {
			return bulk(v.text)
		}
	case '*':
		texts := make([]string, len(v.items))
		for i, item := range v.items {
			texts[i] = item.text
		}
		return bulks(texts...)
	}
	return null(2)
}

func verbatim(resp int, text string) []byte {
	if resp < 3 {
		return bulk(text)
	}
	return fmt.Appendf(nil, "=%d\r\ntxt:%s\r\n", len(text)+4, text)
}

// mutable are the settings that can be changed; CONFIG GET knows no others.
var mutable = map[string]bool{
	"maxmemory": true, "requirepass": true, "maxclients": true, "dbfilename": true, "snapshot_cron": true, "timeout": true,
	"masterauth": true, "masteruser": true, "tcp_keepalive": true, "tls": true, "tls_cert_file": true, "tls_key_file": true,
	"tls_ca_cert_file": true, "tls_ca_cert_dir": true, "replica_priority": true, "lua_undeclared_keys_shas": true,
	"slowlog_log_slower_than": true, "slowlog_max_len": true, "acllog_max_len": true, "oom_deny_ratio": true,
	"pipeline_squash": true, "cluster_mode": false, "dir": false,
}

func (c *conn) config(args []string) []byte {
	switch sub := upper(second(args)); {
	case sub == "SET" && len(args) != 4:
		return wrongArity("config|set")
	case sub == "SET":
		return c.s.setConfig(strings.ToLower(args[2]), args[3])
	case sub == "GET" && len(args) == 3:
		return c.getConfig(args[2])
	case sub == "RESETSTAT":
		c.s.calls.Clear()
		return c.ask("CONFIG", "RESETSTAT")
	default:
		return unknownSub(sub, "CONFIG")
	}
}

func (s *server) setConfig(name, text string) []byte {
	can, known := mutable[strings.ReplaceAll(name, "-", "_")]
	switch {
	case !known:
		return failure("Unknown option or number of arguments for CONFIG SET - '" + name + "'")
	case !can:
		return failure("CONFIG SET failed (possibly related to argument '" + name + "') - can't set immutable config")
	case name == "maxmemory":
		n, err := parseBytes(text)
		if err != nil {
			return failure("CONFIG SET failed (possibly related to argument '" + name + "') - argument can not be set")
		}
		if v := s.back.do("CONFIG", "SET", "maxmemory", strconv.FormatInt(n, 10)); v.kind == '-' {
			return failure(v.text)
		}
		s.mu.Lock()
		s.maxmemory = n
		s.mu.Unlock()
	case name == "requirepass":
		s.users.require(text)
	}
	return simple("OK")
}

func (c *conn) getConfig(pattern string) []byte {
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var items [][]byte
	for name, text := range map[string]string{"maxmemory": strconv.FormatInt(c.s.maxmemory, 10), "databases": "16", "dbfilename": "", "maxclients": "64000"} {
		if pattern == name || pattern == "*" {
			items = append(items, bulk(name), bulk(text))
		}
	}
	return dict(resp, items...)
}

const clusterDisabled = "Cluster is disabled. Use --cluster_mode=yes to enable."

func (c *conn) readOnly([]string) []byte {
	if c.s.cluster != "emulated" {
		return failure(clusterDisabled)
	}
	return simple("OK")
}

// clusterCommand answers as a cluster of one node does.
func (c *conn) clusterCommand(args []string) []byte {
	if !c.s.clustered() {
		return failure(clusterDisabled)
	}
	sub := upper(second(args))
	if sub == "KEYSLOT" && len(args) == 3 {
		return integer(int64(slotOf(args[2])))
	}
	if sub == "MYID" {
		return bulk(c.s.id)
	}
	if c.s.cluster != "emulated" {
		return failure("Cluster is not yet configured")
	}
	host, portText, err := net.SplitHostPort(c.nc.LocalAddr().String())
	if err != nil {
		host, portText = "127.0.0.1", c.s.port
	}
	if c.s.announceIP != "" {
		host = c.s.announceIP
	}
	n, _ := strconv.ParseInt(portText, 10, 64)
	port := integer(n)
	c.mu.Lock()
	resp := c.resp
	c.mu.Unlock()
	switch sub {
	case "SLOTS":
		return array(array(integer(0), integer(16383), array(bulk(host), port, bulk(c.s.id), array())))
	case "SHARDS":
		node := dict(resp, bulk("id"), bulk(c.s.id), bulk("endpoint"), bulk(host), bulk("ip"), bulk(host), bulk("port"), port,
			bulk("role"), bulk("master"), bulk("replication-offset"), integer(0), bulk("health"), bulk("online"))
		return array(dict(resp, bulk("slots"), array(integer(0), integer(16383)), bulk("nodes"), array(node)))
	case "NODES":
		return verbatim(resp, fmt.Sprintf("%s %s:%d@%d myself,master - 0 0 0 connected 0-16383\n", c.s.id, host, n, n))
	case "INFO":
		return verbatim(resp, "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n"+
			"cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n")
	}
	return unknownSub(sub, "CLUSTER")
}

// inline is the length of values that are in a slot of the table itself.
const inline = 16

func (c *conn) memory(args []string) []byte {
	if upper(second(args)) != "USAGE" || len(args) < 3 {
		return unknownSub(second(args), "MEMORY")
	}
	if c.s.back.do("TYPE", args[2]).text == "string" {
		if n, _ := strconv.Atoi(c.s.back.do("STRLEN", args[2]).text); n <= inline {
			return integer(0)
		}
	}
	v := c.s.back.do("MEMORY", "USAGE", args[2])
	if v.kind != ':' {
		c.mu.Lock()
		defer c.mu.Unlock()
		return null(c.resp)
	}
	n, _ := strconv.ParseInt(v.text, 10, 64)
	return integer(n)
}

func (c *conn) commandCommand(args []string) []byte {
	switch sub := upper(second(args)); sub {
	case "COUNT":
		return integer(int64(len(c.s.commands)))
	case "":
		var names []string
		for name := range c.s.commands {
			names = append(names, strings.ToLower(name))
		}
		return bulks(names...)
	default:
		return unknownSub(sub, "COMMAND")
	}
}

func (c *conn) selectDB(args []string) []byte {
	if len(args) != 2 {
		return wrongArity("select")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return failure("invalid DB index")
	}
	if n < 0 || n > 15 {
		return failure("DB index is out of range")
	}
	c.mu.Lock()
	c.db = args[1]
	c.mu.Unlock()
	for _, l := range c.links {
		if l != nil {
			l.quietly("SELECT", args[1])
		}
	}
	return simple("OK")
}

// stick counts the keys that are there and were not kept yet. It keeps nothing.
func (c *conn) stick(args []string) []byte {
	if len(args) < 2 {
		return wrongArity("stick")
	}
	n := int64(0)
	for _, key := range args[1:] {
		there := c.s.back.do("EXISTS", key).text == "1"
		c.s.mu.Lock()
		if there && !c.s.sticky[key] {
			n++
		}
		c.s.sticky[key] = there
		c.s.mu.Unlock()
	}
	return integer(n)
}

func (c *conn) watchAll([]string) []byte {
	c.mu.Lock()
	was := c.monitor
	c.monitor = true
	c.mu.Unlock()
	if !was {
		c.s.monitors.Add(1)
	}
	return simple("OK")
}
