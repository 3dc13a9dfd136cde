package adapter

// Prober is an [Exchange] that knows the way into the service that it is part of.
type Prober interface {
	// Probe returns it; nil: there is none.
	Probe() Entry
}
