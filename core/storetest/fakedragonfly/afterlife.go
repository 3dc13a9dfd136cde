package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// afterlifeArg makes this program the child that holds the port of a killed server for a
// moment, as the kernel does with Dragonfly's, and cleans up behind it.
const afterlifeArg = "--fakedragonfly-afterlife"

// heir is that child, while its parent lives.
type heir struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startHeir gives a child the listener l.
func startHeir(l *net.TCPListener, b *backend, lingerMS int) (*heir, error) {
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, afterlifeArg, strconv.Itoa(lingerMS), strconv.Itoa(b.cmd.Process.Pid), b.dir)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	cmd.SysProcAttr = ownGroup()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &heir{cmd, pipe}, nonblocking(l)
}

// mainEnv makes a test program of this package the server.
const mainEnv = "FAKEDRAGONFLY_MAIN"

// dismiss ends the child of a server that ends in an orderly way: the port is free after
// it.
func (h *heir) dismiss() {
	_, _ = h.pipe.Write([]byte{'q'})
	_ = h.pipe.Close()
	_ = h.cmd.Wait()
}

// afterlife waits until the parent says that it ends, or is gone.
func afterlife(args []string) {
	var last [1]byte
	n, _ := os.Stdin.Read(last[:])
	if n > 0 || len(args) != 3 {
		return
	}
	linger, _ := strconv.Atoi(args[0])
	if pid, err := strconv.Atoi(args[1]); err == nil {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	if err := os.RemoveAll(args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	time.Sleep(time.Duration(linger) * time.Millisecond)
}
