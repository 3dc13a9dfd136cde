// Package observe is what a cache tells of its work: an [Event] for each request, and
// for what it does beside them. The observer is set in the cache's Config. The modules
// core/prom and core/otel have observers for Prometheus and OpenTelemetry, and the
// package core/inspect one for a page.
package observe
