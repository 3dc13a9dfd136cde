package cacheaside

import (
	"slices"
	"strings"

	"github.com/cacheaside/cacheaside/core/internal/keys"
)

// Selection is a list of names to allow or one to deny; the zero value allows
// everything. Names of query parameters and cookies are case-sensitive, those of
// header fields are not. See [Only], [Except] and [None].
type Selection struct {
	Allow []string // if not nil, only these; empty but not nil: none
	Deny  []string // all but these
}

// Only selects the names given.
func Only(names ...string) Selection { return Selection{Allow: append([]string{}, names...)} }

// Except selects everything but the names given.
func Except(names ...string) Selection { return Selection{Deny: names} }

// None selects nothing.
func None() Selection { return Selection{Allow: []string{}} }

// TrackingParameters are query parameters that advertising and mail tools add
// to links and that handlers do not read: Query: Except(TrackingParameters()...).
func TrackingParameters() []string {
	return []string{
		"utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "fbclid", "msclkid",
		"ttclid", "twclid", "yclid", "igshid", "li_fat_id", "mc_cid", "mc_eid",
		"_ga", "_gl", "_hsenc", "_hsmi", "vero_id", "wickedid",
	}
}

// AnalyticsCookies are cookies that analytics and advertising scripts set for
// themselves in the browser and that handlers do not read:
// Cookies: Except(AnalyticsCookies()...).
func AnalyticsCookies() []string {
	return []string{
		"_ga", "_ga_*", "_gid", "_gat", "_gat_*", "_gac_*", "_gcl_*", "_dc_gtm_*", "__utm*", "__gads", "__gpi", // Google
		"_fbp", "_fbc", // Meta
		"_uetsid", "_uetvid", "_clck", "_clsk", // Microsoft
		"_pk_id*", "_pk_ses*", "_pk_ref*", "_pk_cvar*", "_pk_hsr*", "mtm_*", // Matomo
		"__hstc", "__hssc", "__hssrc", "hubspotutk", // HubSpot
		"_hj*",                                      // Hotjar
		"AMCV_*", "AMCVS_*", "s_cc", "s_sq", "s_vi", // Adobe
		"ajs_*", "amplitude_id*", "AMP_*", "mp_*", "ph_*", "_sp_id*", "_sp_ses*", // Segment, Amplitude, Mixpanel, PostHog, Snowplow
		"_ttp", "_tt_*", "_scid*", "_rdt_uuid", "_pin_unauth", "_twpid", "_li_*", // TikTok, Snapchat, Reddit, Pinterest, X, LinkedIn
		"__qca", "_parsely*", "_mkto_trk", "_vwo*", "_vis_opt_*", "optimizely*",
	}
}

// selector selects case-sensitive names.
func (s Selection) selector() keys.Selector { return keys.NewSelector(s.Allow, s.Deny) }

// hasField reports whether a field name, which has no case, is selected. Patterns end in
// '*' at most.
func (s Selection) hasField(name string) bool {
	list, want := s.Deny, false
	if s.Allow != nil {
		list, want = s.Allow, true
	}
	for _, p := range list {
		if matchField(p, name) {
			return want
		}
	}
	return !want
}

func matchField(pattern, name string) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		if len(name) < len(p) {
			return false
		}
		pattern, name = p, name[:len(p)]
	}
	return strings.EqualFold(pattern, name)
}

func (p *problems) selection(field string, s Selection) {
	if s.Allow != nil && s.Deny != nil {
		p.add(field, "both Allow and Deny are set: use one of them")
	}
	for _, n := range slices.Concat(s.Allow, s.Deny) {
		switch i := strings.IndexByte(n, '*'); {
		case n == "":
			p.add(field, "an empty name: remove it")
		case i >= 0 && i != len(n)-1:
			p.add(field, "%q: '*' may only be the last character", n)
		}
	}
}
