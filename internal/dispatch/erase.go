package dispatch

import (
	"context"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// Erase deletes all that is kept of a follower; see server.Engine. What waits is
// canceled first; what is on its way is waited for. Until it is over nothing is
// accepted for the follower, and nothing received.
func (d *Dispatcher) Erase(ctx context.Context, appid, openid string) (gateway.Erased, error) {
	for {
		if l := d.lane(appid, openid); l == nil { // an account that is long gone
			return d.Store.Erase(context.WithoutCancel(ctx), d.Now(), appid, openid)
		}
		l, err := d.enterAny(ctx, appid, openid)
		if err != nil {
			return gateway.Erased{}, err
		}
		if it := l.sending; it != nil {
			changed, end := d.watch(it.seq)
			d.leave(l)
			select {
			case <-changed:
				end()
				continue
			case <-ctx.Done():
				end()
				return gateway.Erased{}, ctx.Err()
			case <-d.stop:
				end()
				return gateway.Erased{}, &gateway.Problem{Code: gateway.Overloaded}
			}
		}
		gone, err := d.eraseLane(context.WithoutCancel(ctx), l)
		d.leave(l)
		return gone, err
	}
}

// eraseLane erases the follower of a lane in which nothing is sending.
func (d *Dispatcher) eraseLane(ctx context.Context, l *lane) (gateway.Erased, error) {
	now := d.Now()
	for _, line := range l.lines() {
		for len(*line) > 0 {
			var moves []store.Move
			some := (*line)[:min(len(*line), mostMoves)]
			for _, it := range some {
				move := store.Move{Seq: it.seq, From: it.State(), To: gateway.Canceled}
				if it.State() == gateway.Unknown { // its resend is what is canceled
					move.To = gateway.Unknown
				}
				moves = append(moves, move)
			}
			if err := d.Store.Move(ctx, now, moves...); err != nil {
				d.failed(l, "cancel messages", err)
				return gateway.Erased{}, err
			}
			for len(moves) > 0 {
				it := (*line)[0]
				l.remove(it)
				d.changed(it.seq)
				moves = moves[1:]
			}
		}
	}
	gone, err := d.Store.Erase(ctx, now, l.account.appid, l.openid)
	l.talk, l.loaded, l.letOut, l.soonest = follower{}, false, false, 0 // as the store has it
	return gone, err
}
