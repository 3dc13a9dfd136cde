package servers

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Disconnect ends connections of clients to the server of c, all but the one that it uses for
// that. With names it ends those alone whose clients have one of these names. Dragonfly has no
// CLIENT KILL TYPE, nor USER.
func Disconnect(ctx context.Context, c rueidis.Client, names ...string) error {
	return c.Dedicated(func(d rueidis.DedicatedClient) error {
		own, err := d.Do(ctx, d.B().ClientId().Build()).AsInt64()
		if err != nil {
			return err
		}
		list, err := d.Do(ctx, d.B().ClientList().Build()).ToString()
		if err != nil {
			return err
		}
		for _, id := range connections(list, names) {
			if id == own {
				continue
			}
			err := d.Do(ctx, d.B().ClientKill().Id(id).Build()).Error()
			if _, answered := rueidis.IsRedisErr(err); err != nil && !answered { // it has gone by itself
				return err
			}
		}
		return nil
	})
}

// connections are those of clients in a CLIENT LIST, not of replicas.
func connections(list string, names []string) (ids []int64) {
	for line := range strings.Lines(strings.TrimPrefix(list, "txt:")) { // which a verbatim string begins with
		fields := map[string]string{}
		for _, f := range strings.Fields(line) {
			name, value, _ := strings.Cut(f, "=")
			fields[name] = value
		}
		id, err := strconv.ParseInt(fields["id"], 10, 64)
		if err != nil || strings.ContainsAny(fields["flags"], "SM") || len(names) > 0 && !slices.Contains(names, fields["name"]) {
			continue
		}
		ids = append(ids, id)
	}
	return ids
}
