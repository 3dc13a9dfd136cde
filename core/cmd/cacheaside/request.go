package main

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cacheaside/cacheaside/core/inspect"
)

// requestFlags adds those that make a request of a URL.
func requestFlags(cmd *cobra.Command, header *[]string, head *bool) {
	cmd.Flags().StringArrayVarP(header, "header", "H", nil, "a `FIELD:VALUE` of the request, such as 'Accept-Language: de'; may be repeated")
	cmd.Flags().BoolVarP(head, "head", "I", false, "a HEAD request")
}

// asked is a request by its URL and fields. Errors do not repeat them.
func asked(raw string, header []string, head bool) (inspect.Ask, error) {
	ask := inspect.Ask{URL: raw}
	if head {
		ask.Method = "HEAD"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return ask, usagef("URL: give an absolute one, such as https://example.com/path")
	case u.User != nil:
		return ask, usagef("URL: leave user and password out: they are no part of a key, and others see a command line")
	}
	for _, line := range header {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return ask, usagef("--header: give NAME: VALUE, such as 'Accept-Language: de'")
		}
		ask.Header = append(ask.Header, inspect.Field{Name: name, Value: strings.TrimSpace(value)})
	}
	return ask, nil
}
