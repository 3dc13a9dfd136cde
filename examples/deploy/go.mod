module github.com/cacheaside/cacheaside/examples/deploy

go 1.26.0

replace github.com/cacheaside/cacheaside/core => ../../core

replace github.com/cacheaside/cacheaside/core/prom => ../../core/prom

replace github.com/cacheaside/cacheaside/core/otel => ../../core/otel

replace github.com/cacheaside/cacheaside/examples => ..

replace github.com/cacheaside/cacheaside/fiberadapter => ../../fiberadapter

replace github.com/cacheaside/cacheaside/ginadapter => ../../ginadapter

replace github.com/cacheaside/cacheaside/echoadapter => ../../echoadapter

replace github.com/cacheaside/cacheaside/chiadapter => ../../chiadapter

require (
	github.com/cacheaside/cacheaside/core v0.1.0
	github.com/cacheaside/cacheaside/examples v0.1.0
	github.com/compose-spec/compose-go/v2 v2.16.2
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.1
)

require (
	github.com/distribution/reference v0.5.0 // indirect
	github.com/docker/go-connections v0.4.0 // indirect
	github.com/docker/go-units v0.5.0 // indirect
	github.com/go-viper/mapstructure/v2 v2.4.0 // indirect
	github.com/goccy/go-yaml v1.19.2
	github.com/mattn/go-shellwords v1.0.12 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/redis/rueidis v1.0.79 // indirect
	github.com/sirupsen/logrus v1.10.1 // indirect
	github.com/xhit/go-str2duration/v2 v2.1.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	go.yaml.in/yaml/v4 v4.0.0-rc.4 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)
