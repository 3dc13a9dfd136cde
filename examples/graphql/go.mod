module github.com/cacheaside/cacheaside/examples/graphql

go 1.26.0

require (
	github.com/cacheaside/cacheaside/core v0.1.0
	github.com/cacheaside/cacheaside/examples v0.1.0
	github.com/graph-gophers/graphql-go v1.11.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/alicebob/miniredis/v2 v2.40.0 // indirect
	github.com/andybalholm/brotli v1.3.0 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cacheaside/cacheaside/core/prom v0.1.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dunglas/httpsfv v1.1.2 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/maypok86/otter/v2 v2.4.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pandatix/go-abnf v0.5.5 // indirect
	github.com/prometheus/client_golang v1.25.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.74.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/redis/rueidis v1.0.79 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	github.com/yuin/gopher-lua v1.1.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/cacheaside/cacheaside/core => ../../core

replace github.com/cacheaside/cacheaside/core/prom => ../../core/prom

replace github.com/cacheaside/cacheaside/core/otel => ../../core/otel

replace github.com/cacheaside/cacheaside/examples => ..

replace github.com/cacheaside/cacheaside/fiberadapter => ../../fiberadapter

replace github.com/cacheaside/cacheaside/ginadapter => ../../ginadapter

replace github.com/cacheaside/cacheaside/echoadapter => ../../echoadapter

replace github.com/cacheaside/cacheaside/chiadapter => ../../chiadapter
