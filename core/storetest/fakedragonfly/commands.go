package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// absent are commands that a Redis has and Dragonfly v1.40.1 does not.
var absent = strings.Fields(`
	OBJECT FUNCTION FCALL FCALL_RO SWAPDB WAITAOF ASKING MSETEX
	HPEXPIRE HPTTL HPERSIST HEXPIREAT HPEXPIREAT HEXPIRETIME HPEXPIRETIME HGETDEL
	RESET MIGRATE LOLWUT RESTORE-ASKING PSYNC SYNC FAILOVER LATENCY PFDEBUG PFSELFTEST BGREWRITEAOF`)

// command is what is known of one.
type command struct {
	first, last, step int // where its keys are; first 0: it has none
	write, denyOOM    bool
	movable           bool
}

// commandTable is by name, in upper case.
type commandTable map[string]command

// readCommands asks the server behind. What that does not know is unknown here.
func readCommands(b *backend) (commandTable, error) {
	v := b.do("COMMAND")
	if v.kind != '*' {
		return nil, fmt.Errorf("COMMAND: %s", v.text)
	}
	table := commandTable{}
	for _, item := range v.items {
		if len(item.items) < 6 {
			continue
		}
		number := func(i int) int { n, _ := strconv.Atoi(item.items[i].text); return n }
		c := command{first: number(3), last: number(4), step: number(5)}
		for _, flag := range item.items[2].items {
			switch flag.text {
			case "write":
				c.write = true
			case "denyoom":
				c.denyOOM = true
			case "movablekeys":
				c.movable = true
			}
		}
		table[upper(item.items[0].text)] = c
	}
	for _, name := range absent {
		delete(table, name)
	}
	table["STICK"] = command{first: 1, last: -1, step: 1}
	return table, nil
}

// keys returns those of a command.
func (t commandTable) keys(args []string) []string {
	name := upper(args[0])
	c := t[name]
	if isEval(name) {
		if len(args) < 3 {
			return nil
		}
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 0 || n > len(args)-3 {
			return nil
		}
		return args[3 : 3+n]
	}
	if c.first == 0 || c.first >= len(args) {
		return nil
	}
	last := c.last
	if last < 0 {
		last += len(args)
	}
	if c.first == last {
		return args[c.first : c.first+1]
	}
	var keys []string
	for i := c.first; i <= last && i < len(args); i += max(c.step, 1) {
		keys = append(keys, args[i])
	}
	return keys
}

func isEval(name string) bool {
	switch name {
	case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO":
		return true
	}
	return false
}

// cursorBit makes the cursors of SCAN as large as Dragonfly's are: they do not fit into 32
// bits, and say nothing of how far it has come.
const cursorBit = 1 << 48

// withCursor returns a SCAN with another cursor.
func withCursor(args []string, change func(uint64) uint64) []string {
	if len(args) < 2 {
		return args
	}
	n, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return args
	}
	return append([]string{args[0], strconv.FormatUint(change(n), 10)}, args[2:]...)
}

// largeCursor changes the answer of a SCAN.
func largeCursor(b []byte) []byte {
	v, err := parseReply(b)
	if err != nil || len(v.items) != 2 || v.items[0].text == "0" {
		return b
	}
	n, err := strconv.ParseUint(v.items[0].text, 10, 64)
	if err != nil {
		return b
	}
	rest := b[len("*2\r\n")+len(bulk(v.items[0].text)):]
	return append(append([]byte("*2\r\n"), bulk(strconv.FormatUint(n|cursorBit, 10))...), rest...)
}

// foreignSyntax reports whether Dragonfly answers a syntax error where some Redis does not.
func foreignSyntax(name string, args []string) bool {
	if name != "SET" || len(args) < 4 {
		return false
	}
	return slices.ContainsFunc(args[3:], func(arg string) bool {
		arg = upper(arg)
		return arg == "IFEQ" || arg == "IFNE" || arg == "IFDEQ" || arg == "IFDNE"
	})
}
