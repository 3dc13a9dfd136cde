package report

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine says what was measured on: processor, cores, memory, system and version of Go.
// What the system does not tell is left out.
func Machine() []Fact {
	facts := []Fact{}
	if cpu := field("/proc/cpuinfo", "model name"); cpu != "" {
		facts = append(facts, Fact{"processor", cpu})
	}
	facts = append(facts, Fact{"cores", strconv.Itoa(runtime.NumCPU())})
	var kib float64
	if n, _ := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kib); n == 1 {
		facts = append(facts, Fact{"memory", Bytes(kib * 1024)})
	}
	return append(facts, Fact{"system", runtime.GOOS + "/" + runtime.GOARCH}, Fact{"Go", strings.TrimPrefix(runtime.Version(), "go")})
}

// field is the value of the first line "name : value" of a file.
func field(path, name string) string {
	text, _ := os.ReadFile(path) //nolint:gosec // one of /proc
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
