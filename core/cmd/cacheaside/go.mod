module github.com/cacheaside/cacheaside/core/cmd/cacheaside

go 1.26.0

require (
	github.com/cacheaside/cacheaside/core v0.1.0
	github.com/creack/pty v1.1.24
	github.com/redis/rueidis v1.0.79
	github.com/spf13/cobra v1.10.2
	golang.org/x/term v0.47.0
)

require (
	github.com/alicebob/miniredis/v2 v2.40.0 // indirect
	github.com/andybalholm/brotli v1.3.0 // indirect
	github.com/dunglas/httpsfv v1.1.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/maypok86/otter/v2 v2.4.0 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/yuin/gopher-lua v1.1.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

// No replace of core by ../..: go install of a module that has one is refused. In the
// repository, go.work does that.
