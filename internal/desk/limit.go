package desk

import (
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

const (
	mostFailures = 5                // of a name or an address, then it waits
	lockedFor    = 15 * time.Minute // counted from the last failure
	mostTracked  = 100_000          // names and addresses
	perAddress   = 10               // an office has several people behind one address
	offerLife    = 10 * time.Minute
)

// limits counts failed sign-ins by name and by address, in memory and by the real
// clock. A name that waits tells nobody whether there is such an agent. Links go
// past it: whoever is locked out can be let in by an admin.
type limits struct {
	mu       sync.Mutex // guards what follows
	failures map[string]tally
	offers   map[string]offer
}

type tally struct {
	n    int
	last time.Time
}

type offer struct {
	secret kefu.Secret
	until  time.Time
}

// keys are what a try is counted under, and how many failures each may have.
func keys(name, from string) map[string]int {
	of := map[string]int{"name " + name: mostFailures}
	if from != "" {
		of["from "+from] = mostFailures * perAddress
	}
	return of
}

// try reports whether one more try may be made, and counts it as failed before anything
// is checked: of many at once no more get through than of many in turn.
func (l *limits) try(name, from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, most := range keys(name, from) {
		if t := l.failures[k]; t.n >= most && time.Since(t.last) < lockedFor {
			return false
		}
	}
	if l.failures == nil || len(l.failures) >= mostTracked {
		l.failures = map[string]tally{} // a flood of names: its addresses are counted anew, too
	}
	for k := range keys(name, from) {
		t := l.failures[k]
		if time.Since(t.last) >= lockedFor {
			t.n = 0
		}
		l.failures[k] = tally{t.n + 1, time.Now()}
	}
	return true
}

// unmade takes a try back that was neither right nor wrong.
func (l *limits) unmade(name, from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range keys(name, from) {
		if t := l.failures[k]; t.n > 0 {
			l.failures[k] = tally{t.n - 1, t.last}
		}
	}
}

// succeeded takes a try back that was right, and with it what the name had failed before.
func (l *limits) succeeded(name, from string) {
	l.unmade(name, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failures, "name "+name)
}

func (l *limits) offer(id string, secret kefu.Secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offers == nil {
		l.offers = map[string]offer{}
	}
	l.offers[id] = offer{secret, time.Now().Add(offerLife)}
}

func (l *limits) offered(id string) kefu.Secret {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.offers[id]
	if time.Now().After(o.until) {
		return ""
	}
	return o.secret
}
