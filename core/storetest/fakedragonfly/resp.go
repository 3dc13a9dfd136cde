package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var errProtocol = errors.New("protocol error")

// readCommand reads a command, which may be an inline one. It returns none for an
// empty line.
func readCommand(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || line[0] != '*' {
		return strings.Fields(string(line)), nil
	}
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || n > 1<<20 {
		return nil, errProtocol
	}
	args := make([]string, 0, max(n, 0))
	for range n {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if len(line) == 0 || line[0] != '$' {
			return nil, errProtocol
		}
		size, err := strconv.Atoi(string(line[1:]))
		if err != nil || size < 0 || size > 1<<30 {
			return nil, errProtocol
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

// readLine reads a line, whose bytes are good until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		rest, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		line = append(append([]byte{}, line...), rest...)
		return trimLine(line), nil
	}
	if err != nil {
		return nil, err
	}
	return trimLine(line), nil
}

func trimLine(line []byte) []byte {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// appendReply reads one answer, or push, as it is on the wire, and appends it to b.
func appendReply(b []byte, r *bufio.Reader) ([]byte, error) {
	line, err := readLine(r)
	if err != nil {
		return b, err
	}
	if len(line) == 0 {
		return b, errProtocol
	}
	kind := line[0]
	n, numberErr := strconv.Atoi(string(line[1:]))
	b = append(append(b, line...), '\r', '\n')
	switch kind {
	case '$', '=', '!':
		if numberErr != nil {
			return b, errProtocol
		}
		if n < 0 {
			return b, nil
		}
		at := len(b)
		b = append(b, make([]byte, n+2)...)
		_, err := io.ReadFull(r, b[at:])
		return b, err
	case '*', '~', '>', '%', '|':
		if numberErr != nil {
			return b, errProtocol
		}
		if kind == '%' || kind == '|' {
			n *= 2
		}
		if kind == '|' {
			n++ // what the attributes are of
		}
		for range max(n, 0) {
			if b, err = appendReply(b, r); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

// value is a parsed answer: kind is its first byte on the wire.
type value struct {
	kind  byte
	text  string
	items []value
	null  bool
}

// parseReply parses what appendReply has read.
func parseReply(b []byte) (value, error) {
	return parse(bufio.NewReader(strings.NewReader(string(b))))
}

func parse(r *bufio.Reader) (value, error) {
	line, err := readLine(r)
	if err != nil {
		return value{}, err
	}
	if len(line) == 0 {
		return value{}, errProtocol
	}
	v := value{kind: line[0], text: string(line[1:])}
	n, _ := strconv.Atoi(v.text)
	switch v.kind {
	case '_':
		v.null = true
	case '$', '=', '!':
		if v.null = n < 0; v.null {
			return v, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return v, err
		}
		v.text = string(b[:n])
	case '*', '~', '>', '%':
		v.null = n < 0
		if v.kind == '%' {
			n *= 2
		}
		for range max(n, 0) {
			item, err := parse(r)
			if err != nil {
				return v, err
			}
			v.items = append(v.items, item)
		}
	}
	return v, nil
}

func appendCommand(b []byte, args ...string) []byte {
	b = strconv.AppendInt(append(b, '*'), int64(len(args)), 10)
	b = append(b, '\r', '\n')
	for _, arg := range args {
		b = strconv.AppendInt(append(b, '$'), int64(len(arg)), 10)
		b = append(b, '\r', '\n')
		b = append(append(b, arg...), '\r', '\n')
	}
	return b
}

func simple(text string) []byte { return []byte("+" + text + "\r\n") }

func integer(n int64) []byte { return fmt.Appendf(nil, ":%d\r\n", n) }

func bulk(text string) []byte { return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(text), text) }

// failure is an error answer. Without a code of its own text gets ERR.
func failure(text string) []byte {
	if code, ok := strings.CutPrefix(text, "-"); ok {
		return []byte("-" + code + "\r\n")
	}
	return []byte("-ERR " + text + "\r\n")
}

func array(items ...[]byte) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(items))
	for _, item := range items {
		b = append(b, item...)
	}
	return b
}

// dict is a map, of keys and values one after the other.
func dict(resp int, items ...[]byte) []byte {
	if resp < 3 {
		return array(items...)
	}
	b := array(items...)
	_, rest, _ := strings.Cut(string(b), "\r\n")
	return fmt.Appendf(nil, "%%%d\r\n%s", len(items)/2, rest)
}

func null(resp int) []byte {
	if resp < 3 {
		return []byte("$-1\r\n")
	}
	return []byte("_\r\n")
}

func bulks(texts ...string) []byte {
	items := make([][]byte, len(texts))
	for i, text := range texts {
		items[i] = bulk(text)
	}
	return array(items...)
}

const syntaxError = "syntax error"

func wrongArity(command string) []byte {
	return failure("wrong number of arguments for '" + strings.ToLower(command) + "' command")
}

func unknownCommand(name string) []byte {
	return failure("unknown command `" + strings.ToUpper(name) + "`")
}

func unknownSub(sub, command string) []byte {
	return failure("Unknown subcommand or wrong number of arguments for '" + strings.ToUpper(sub) + "'. Try " + command + " HELP.")
}
