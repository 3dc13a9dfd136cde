module github.com/cacheaside/cacheaside/examples

go 1.26.0

require (
	github.com/cacheaside/cacheaside/chiadapter v0.0.0
	github.com/cacheaside/cacheaside/core v0.0.0
	github.com/cacheaside/cacheaside/echoadapter v0.0.0
	github.com/cacheaside/cacheaside/fiberadapter v0.0.0
	github.com/cacheaside/cacheaside/ginadapter v0.0.0
)

replace github.com/cacheaside/cacheaside/core => ../core

replace github.com/cacheaside/cacheaside/fiberadapter => ../fiberadapter

replace github.com/cacheaside/cacheaside/ginadapter => ../ginadapter

replace github.com/cacheaside/cacheaside/echoadapter => ../echoadapter

replace github.com/cacheaside/cacheaside/chiadapter => ../chiadapter
