module github.com/cacheaside/cacheaside/ginadapter

go 1.26.0

require github.com/cacheaside/cacheaside/core v0.0.0

replace github.com/cacheaside/cacheaside/core => ../core
