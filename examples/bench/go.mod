module github.com/cacheaside/cacheaside/examples/bench

go 1.26.0

require gonum.org/v1/plot v0.17.0

require (
	github.com/andybalholm/brotli v1.3.0 // indirect
	github.com/dunglas/httpsfv v1.1.2 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/maypok86/otter/v2 v2.4.0 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/cacheaside/cacheaside/core v0.1.0
	github.com/cacheaside/cacheaside/examples v0.1.0
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/redis/rueidis v1.0.79
	golang.org/x/image v0.30.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/cacheaside/cacheaside/core => ../../core

replace github.com/cacheaside/cacheaside/core/prom => ../../core/prom

replace github.com/cacheaside/cacheaside/core/otel => ../../core/otel

replace github.com/cacheaside/cacheaside/fiberadapter => ../../fiberadapter

replace github.com/cacheaside/cacheaside/ginadapter => ../../ginadapter

replace github.com/cacheaside/cacheaside/echoadapter => ../../echoadapter

replace github.com/cacheaside/cacheaside/chiadapter => ../../chiadapter

replace github.com/cacheaside/cacheaside/examples => ../
