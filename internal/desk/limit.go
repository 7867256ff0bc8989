package desk

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

const (
	mostFailures = 5                // of a name or a session, then it waits
	lockedFor    = 15 * time.Minute // counted from the first of them
	mostTracked  = 100_000          // names and addresses; beyond that the oldest are forgotten
	perAddress   = 10               // an office has several people behind one address
	mostStrange  = 100              // refusals of unknown names on record, in the same time
	offerLife    = 10 * time.Minute
)

// limits counts failed sign-ins by name and by address, in memory and by the real
// clock, in windows that begin with the first failure: mistypes of a whole day never
// add up. A name that waits tells nobody whether there is such an agent. Links have a
// count of their own: whoever is locked out can be let in by an admin.
type limits struct {
	mu      sync.Mutex // guards what follows
	tallies map[string]*list.Element
	byAge   list.List // of *tally: the oldest window first
	offers  map[string]offer
}

type tally struct {
	key   string
	n     int
	since time.Time
}

type offer struct {
	secret kefu.Secret
	until  time.Time
}

// A counted is what a try is counted under, and how many failures it may have.
type counted struct {
	key  string
	most int
}

// guesses are the tries of a name with a password.
func guesses(name, from string) []counted {
	return append([]counted{{"name " + name, mostFailures}}, fromAddress("from ", from)...)
}

// links are the tries of a one-time link.
func links(from string) []counted { return fromAddress("link from ", from) }

// own are the tries of an agent who has a session.
func own(id string) []counted { return []counted{{"agent " + id, mostFailures}} }

func fromAddress(kind, from string) []counted {
	if from == "" {
		return nil
	}
	return []counted{{kind + network(from), mostFailures * perAddress}}
}

// network is what of an address is one caller's: of IPv6 a /64, within which everybody
// has as many addresses as they like.
func network(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil || a.Unmap().Is4() {
		return from
	}
	return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
}

// try reports whether one more try may be made, and counts it as failed before anything
// is checked: of many at once no more get through than of many in turn.
func (l *limits) try(of []counted) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range of {
		if t := l.of(c.key); t != nil && t.n >= c.most {
			return false
		}
	}
	for _, c := range of {
		l.count(c.key)
	}
	return true
}

// unmade takes a try back that was neither right nor wrong.
func (l *limits) unmade(of []counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range of {
		if t := l.of(c.key); t != nil && t.n > 0 {
			t.n--
		}
	}
}

// succeeded takes a try back that was right, and with it what its name, the first it is
// counted under, had failed before.
func (l *limits) succeeded(of []counted) {
	l.unmade(of)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.tallies[of[0].key]; e != nil {
		l.drop(e)
	}
}

// refused counts a refusal of an agent, or with "" of a name that nobody has, and reports
// whether it is to be told: the first from an address, and the one that makes that wait.
func (l *limits) refused(id, from string) (often int, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := mostFailures
	if id == "" {
		most *= perAddress
	}
	often = l.count("refused " + id + " from " + network(from))
	if often != 1 && often != most {
		return often, false
	}
	return often, id != "" || l.count("refused strangers") <= mostStrange
}

// count counts one more in the present window of a key, or begins one.
func (l *limits) count(key string) int {
	t := l.of(key)
	if t == nil {
		if len(l.tallies) >= mostTracked {
			l.drop(l.byAge.Front())
		}
		if l.tallies == nil {
			l.tallies = map[string]*list.Element{}
		}
		t = &tally{key: key, since: time.Now()}
		l.tallies[key] = l.byAge.PushBack(t)
	}
	t.n++
	return t.n
}

// of is what was counted in the present window of a key; nil: nothing. Windows that are
// over are forgotten.
func (l *limits) of(key string) *tally {
	for e := l.byAge.Front(); e != nil && time.Since(e.Value.(*tally).since) >= lockedFor; e = l.byAge.Front() {
		l.drop(e)
	}
	if e := l.tallies[key]; e != nil {
		return e.Value.(*tally)
	}
	return nil
}

func (l *limits) drop(e *list.Element) {
	delete(l.tallies, l.byAge.Remove(e).(*tally).key)
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
