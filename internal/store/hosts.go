package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// hosts connects to one of the hosts that an address names. The one that worked last
// is asked first; each of the others a moment later, while there is no answer yet, so
// that hosts which are silent cost no more than that moment each. The first that is
// what the connection is for (one that can be written, say) is it.
type hosts struct {
	each []driver.Connector // in the order of the address
	good *atomic.Int32      // the one that worked last, for all that connect by this address
}

// headStart is how long the next host waits for the one before.
const headStart = 300 * time.Millisecond

// hostsOf makes connections to the hosts of an address.
func hostsOf(c *pgx.ConnConfig, good *atomic.Int32, options ...stdlib.OptionOpenDB) hosts {
	h := hosts{good: good}
	for _, ways := range waysOf(c) {
		one := c.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = ways[0].Host, ways[0].Port, ways[0].TLSConfig, ways[1:]
		h.each = append(h.each, stdlib.GetConnector(*one, options...))
	}
	return h
}

// waysOf is how each host of an address is reached: with TLS, or without, or first
// one and then the other.
func waysOf(c *pgx.ConnConfig) (all [][]*pgconn.FallbackConfig) {
	ways := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, way := range ways {
		if last := len(all) - 1; last >= 0 && all[last][0].Host == way.Host && all[last][0].Port == way.Port {
			all[last] = append(all[last], way)
		} else {
			all = append(all, []*pgconn.FallbackConfig{way})
		}
	}
	return all
}

// Driver is pgx's.
func (h hosts) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect returns the first connection that comes about.
func (h hosts) Connect(ctx context.Context) (driver.Conn, error) {
	type arrival struct {
		host int
		conn driver.Conn
		err  error
	}
	ctx, end := context.WithCancel(ctx)
	arrivals := make(chan arrival)
	asked, awaited := 0, 0
	defer func() { // the others are too late
		end()
		go func() {
			for ; awaited > 0; awaited-- {
				if late := <-arrivals; late.err == nil {
					late.conn.Close()
				}
			}
		}()
	}()
	first := int(h.good.Load())
	var refusals []error
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case a := <-arrivals:
			awaited--
			if a.err == nil {
				h.good.Store(int32(a.host))
				return a.conn, nil
			}
			refusals = append(refusals, a.err)
		}
		switch {
		case asked < len(h.each):
			host := (first + asked) % len(h.each)
			asked++
			awaited++
			next.Reset(headStart)
			go func() {
				conn, err := h.each[host].Connect(ctx)
				arrivals <- arrival{host, conn, err}
			}()
		case awaited == 0:
			return nil, errors.Join(refusals...)
		}
	}
}

// dialer notices a server whose machine is gone, which ends no connection, in about as
// long as the patience, also where nobody waits for an answer.
func dialer() *net.Dialer {
	return &net.Dialer{Control: endUnheard, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: patience / 2, Interval: patience / 5, Count: 3}}
}
