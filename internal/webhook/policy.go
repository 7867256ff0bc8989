package webhook

import (
	"net/http"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

const (
	// passAfter is how long, from its first try on, a delivery that fails holds back
	// the later ones of its follower.
	passAfter = time.Minute
	// jitter is the largest part of a pause that is added to it.
	jitter = 0.2
)

// A Decision is what follows from a try.
type Decision struct {
	State string        // store.Delivered, store.Pending or store.GivenUp
	Pause time.Duration // of Pending: until the next try
	Gone  bool          // the endpoint does not want to be called any more
}

// Decide is the whole retry policy: status is that of the answer, 0 for none; tries
// counts this one; random is in [0, 1).
func Decide(status, tries int, schedule []gateway.Seconds, random float64) Decision {
	switch {
	case status >= 200 && status <= 299:
		return Decision{State: store.Delivered}
	case status == http.StatusGone:
		return Decision{State: store.GivenUp, Gone: true}
	case tries >= len(schedule):
		return Decision{State: store.GivenUp}
	}
	pause := schedule[tries].Duration()
	return Decision{State: store.Pending, Pause: pause + time.Duration(random*jitter*float64(pause))}
}
