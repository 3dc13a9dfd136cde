// Package otel is
package otel
