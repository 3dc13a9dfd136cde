package doctor_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// change makes of the server's answer to a command another one. Frames are as on the wire;
// a command is in upper case but for its arguments.
type change func(command []string, answer string) string

// proxy stands in front of a real server, and changes single answers of it. With pushes
// false, it keeps back what the server says unasked.
func proxy(t *testing.T, server string, pushes bool, changes ...change) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = client.Close() }()
				upstream, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer func() { _ = upstream.Close() }()
				all.Go(func() {
					<-done
					_ = client.Close()
					_ = upstream.Close()
				})
				relay(client, upstream, pushes, changes)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(done)
		all.Wait()
	})
	return l.Addr().String()
}

// relay passes commands on one by one, and their answers back.
func relay(client, upstream net.Conn, pushes bool, changes []change) {
	var write sync.Mutex
	send := func(frame string) error {
		write.Lock()
		defer write.Unlock()
		_, err := io.WriteString(client, frame)
		return err
	}
	answers := make(chan string)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		defer close(answers)
		from := bufio.NewReader(upstream)
		for {
			frame, err := readFrame(from)
			if err != nil {
				return
			}
			if frame[0] == '>' {
				if pushes && send(frame) != nil {
					return
				}
				continue
			}
			select {
			case answers <- frame:
			case <-ended:
				return
			}
		}
	}()
	from := bufio.NewReader(client)
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		if _, err := io.WriteString(upstream, frame); err != nil {
			return
		}
		answer, ok := <-answers
		if !ok {
			return
		}
		command := words(frame)
		for _, c := range changes {
			answer = c(command, answer)
		}
		if send(answer) != nil {
			return
		}
	}
}

// words are those of a command.
func words(frame string) (all []string) {
	r := bufio.NewReader(strings.NewReader(frame))
	_, _ = r.ReadString('\n')
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			break
		}
		all = append(all, string(b[:n]))
	}
	for i := 0; i < len(all) && i < 2; i++ {
		if i == 0 || all[0] == "CLIENT" || all[0] == "CLUSTER" {
			all[i] = strings.ToUpper(all[i])
		}
	}
	return all
}

// readFrame reads one value of RESP2 or RESP3, with all that is in it.
func readFrame(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return line, nil
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(r, b)
		return line + string(b), err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return line, nil
	}
	var b strings.Builder
	b.WriteString(line)
	for range n {
		part, err := readFrame(r)
		if err != nil {
			return "", err
		}
		b.WriteString(part)
	}
	return b.String(), nil
}

// is reports whether a command begins so.
func is(command []string, begin ...string) bool {
	if len(command) < len(begin) {
		return false
	}
	for i, w := range begin {
		if !strings.EqualFold(command[i], w) {
			return false
		}
	}
	return true
}

// refuse answers a command with an error.
func refuse(text string, begin ...string) change {
	return func(command []string, answer string) string {
		if is(command, begin...) {
			return "-" + text + "\r\n"
		}
		return answer
	}
}

// info has INFO say something else: "name:value" for each field. One without a value is
// left out.
func info(fields ...string) change {
	return func(command []string, answer string) string {
		if !is(command, "INFO") || answer[0] == '-' {
			return answer
		}
		_, text, _ := strings.Cut(answer, "\r\n")
		text = strings.TrimPrefix(strings.TrimSuffix(text, "\r\n"), "txt:")
		for _, f := range fields {
			name, value, ok := strings.Cut(f, ":")
			var lines []string
			for line := range strings.SplitSeq(text, "\r\n") {
				if !strings.HasPrefix(line, name+":") {
					lines = append(lines, line)
				}
			}
			if ok {
				lines = append(lines, name+":"+value, "")
			}
			text = strings.Join(lines, "\r\n")
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	}
}
