package storetest

import (
	"testing"
)

func TestStartCluster(t *testing.T) {
	LongOnly(t)
	t.Parallel() // it mostly waits
	c := StartCluster(t)
	const key = "some:key:of:ours"
	master := c.Master(key)
	if got := c.Must(master, "SET", key, "v"); got != "OK" {
		t.Errorf("SET: %q", got)
	}
	to := c.OtherMaster(master)
	c.Migrate(c.Slot(key), master, to, func() {
		if _, err := c.Do(master, "GET", key); err == nil {
			t.Error("the key is where it was")
		}
	})
	if got := c.Must(to, "GET", key); got != "v" || c.Master(key) != to {
		t.Errorf("GET after the slot has moved: %q from %s", got, c.Master(key).Addr)
	}
	replica := c.Replica(to)
	to.Kill()
	if got := c.Master(key); got != replica {
		t.Errorf("%s has the slot, want the replica", got.Addr)
	}
	c.Settled()
}
