package doctor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/cacheaside/cacheaside/core/dragonfly"
)

// tracking finds out whether there can be a near tier: whether word comes of a change, and
// the cache thinks so, too.
func (p *patient) tracking(ctx context.Context) {
	for _, f := range p.findings {
		switch {
		case f.Name == Protocol && f.Status != OK:
			p.find(Tracking, Warn, "none: it needs RESP3", f.Remedy)
			return
		case slices.ContainsFunc(nearRights, func(r right) bool { return f.Name == "right +"+p.nodes[0].spelled(r.name) }):
			p.find(Tracking, Warn, "not tried: the user lacks a right that it needs", "see the rights above, or leave WithNear out")
			return
		}
	}
	ctx, cancel := p.step(ctx)
	defer cancel()
	const remedy = "leave WithNear out, or use a server that tracks: Dragonfly v1.40.1, Redis 7, or newer"
	heard, err := p.changed(ctx)
	switch {
	case err != nil && isNoPerm(cause(err)) || err != nil && strings.Contains(err.Error(), "NOPERM"):
		p.find(Tracking, Warn, "the user may not: "+firstLine(err), "see the rights above, or leave WithNear out")
		return
	case err != nil:
		p.find(Tracking, Warn, "there can be no near tier: "+firstLine(err), remedy)
		return
	case !heard:
		p.find(Tracking, Warn, "no word came of a change: copies in processes would be stale for as long as NearOptions.MaxAge", remedy)
		return
	}
	var why reason
	option := p.option
	near, err := dragonfly.OpenClientOption(ctx, option, dragonfly.WithNear(dragonfly.NearOptions{Bytes: 1 << 20}), dragonfly.WithLogger(slog.New(&why)))
	if err != nil {
		p.find(Tracking, Warn, "a second connection failed: "+err.Error(), "try again")
		return
	}
	defer func() { _ = near.Close() }()
	if !near.Near() {
		p.find(Tracking, Warn, "it works, but the cache would not use it: "+why.text, remedy)
		return
	}
	p.find(Tracking, OK, "it tells of changes, so there can be copies in processes (WithNear)", "")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// reason takes from the log why there is no near tier.
type reason struct{ text string }

func (*reason) Enabled(context.Context, slog.Level) bool { return true }
func (r *reason) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *reason) WithGroup(string) slog.Handler          { return r }

func (r *reason) Handle(_ context.Context, record slog.Record) error {
	if strings.Contains(record.Message, "no near tier") {
		record.Attrs(func(a slog.Attr) bool {
			r.text = a.Value.String()
			return false
		})
	}
	return nil
}

// changed reads a key as the near tier does, changes it over another connection, and
// reports whether word of that came.
func (p *patient) changed(ctx context.Context) (heard bool, err error) {
	n := &p.nodes[0]
	key := n.tag + ":near"
	word := make(chan struct{}, 1)
	option := p.option
	option.DisableRetry, option.DisableCache = true, false
	option.ForceSingleClient = p.client.Mode() != rueidis.ClientModeCluster && option.Sentinel.MasterSet == ""
	option.PipelineMultiplex = -1
	option.ClientName = "cacheaside-doctor"
	option.OnInvalidations = func(keys []rueidis.RedisMessage) {
		for _, k := range keys {
			if name, err := k.ToString(); err == nil && name == key {
				select {
				case word <- struct{}{}:
				default:
				}
			}
		}
	}
	type made struct {
		client rueidis.Client
		err    error
	}
	dialed := make(chan made, 1)
	go func() { // which takes no context
		c, err := rueidis.NewClient(option)
		dialed <- made{c, err}
	}()
	var m made
	select {
	case m = <-dialed:
	case <-ctx.Done():
		go func() {
			if m := <-dialed; m.client != nil {
				m.client.Close()
			}
		}()
		return false, ctx.Err()
	}
	if m.client != nil {
		defer m.client.Close()
	}
	if m.err != nil {
		return false, m.err
	}
	set := func(value string) error {
		return n.client.Do(ctx, n.client.B().Set().Key(key).Value(value).PxMilliseconds(kept).Build()).Error()
	}
	if err := set("before"); err != nil {
		return false, err
	}
	if err := m.client.DoCache(ctx, m.client.B().Get().Key(key).Cache(), time.Minute).Error(); err != nil {
		return false, err
	}
	if err := set("after"); err != nil {
		return false, err
	}
	select {
	case <-word:
		return true, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return false, ctx.Err()
		}
		return false, nil
	}
}
