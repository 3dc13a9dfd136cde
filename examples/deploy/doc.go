// Package deploy has a service of the examples and a Dragonfly for Kubernetes and for Docker
// Compose, see the README. Its Go code is tests: of the manifests, and of what they start.
package deploy
