package keys

import (
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/httprules"
)

// maxHosts bounds the hosts that a request names beside its own.
const maxHosts = 4

// PublicHosts are those under which a proxy in front says that it was asked, where it
// asks for another one.
func (r *Request) PublicHosts() (hosts []string) {
	if !r.Forwarded {
		return nil
	}
	add := func(host string) {
		if host = strings.Trim(host, " \t\""); host != "" && len(hosts) < maxHosts && !httprules.EqualFold(host, r.Host) && !slices.Contains(hosts, host) {
			hosts = append(hosts, strings.Clone(host))
		}
	}
	for _, name := range hostFields {
		for _, line := range r.Lines(name) {
			for host := range strings.SplitSeq(line, ",") {
				add(host)
			}
		}
	}
	for _, line := range r.Lines("Forwarded") {
		for element := range strings.SplitSeq(line, ",") {
			for pair := range strings.SplitSeq(element, ";") {
				if name, host, ok := strings.Cut(pair, "="); ok && httprules.EqualFold(strings.Trim(name, " "), "host") {
					add(host)
				}
			}
		}
	}
	return hosts
}
