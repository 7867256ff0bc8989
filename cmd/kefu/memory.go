package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// mostGarbage is about how much memory garbage may take before it is collected.
const mostGarbage = 112 << 20

// thrifty has the garbage collector come the sooner, the more is kept in memory:
// with a million waiting messages that is 200 MB, of which Go would make 400. It
// ends with ctx. Not called where GOGC or GOMEMLIMIT say otherwise.
func thrifty(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := 100
	defer func() { debug.SetGCPercent(100) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindUint64 {
			return
		}
		if percent := gcPercent(sample[0].Value.Uint64()); percent != before {
			debug.SetGCPercent(percent)
			before = percent
		}
	}
}

// gcPercent is how much garbage a heap may have, in per cent of what lives: 100 as
// Go has it, from 112 MB on less, never under 20.
func gcPercent(live uint64) int {
	if live <= mostGarbage {
		return 100
	}
	return max(20, int(mostGarbage*100/live)/5*5)
}
