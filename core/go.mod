module github.com/cacheaside/cacheaside/core

go 1.26.0

