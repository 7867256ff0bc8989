package door

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A sendKey is the SHA-256 of key, account and body: what makes two sends the same.
type sendKey [32]byte

func keyOf(who caller, body []byte) sendKey {
	h := sha256.New()
	for _, s := range []string{who.key.ID, who.account.AppID} {
		h.Write(append([]byte(s), 0))
	}
	h.Write(body)
	return sendKey(h.Sum(nil))
}

// A send is one that is under way, or remembered.
type send struct {
	began time.Time
	done  chan struct{} // closed when said is there
	alone chan struct{} // closed when nobody waits any more
	once  sync.Once     // guards its closing

	said  *words // set before done is closed
	state gateway.State

	waiting int       // callers; guarded by memory.mu, as all that follow
	lost    bool      // a caller went before it had its answer
	until   time.Time // forgotten then; zero: while it is under way
}

// The memory knows the sends under way, and for a minute those of which a caller may
// not know the outcome: the same again joins them instead of making a second message.
// The zero value is ready.
type memory struct {
	mu    sync.Mutex // guards all below
	sends map[sendKey]*send
	aged  []aged // what is remembered, the oldest first
}

type aged struct {
	key sendKey
	*send
}

// join returns the send with the key, and whether the caller is to begin it; nil if
// there are too many. Every caller calls leave.
func (m *memory) join(key sendKey, now time.Time) (s *send, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	if s := m.sends[key]; s != nil {
		s.waiting++
		return s, false
	}
	if len(m.sends) >= most {
		return nil, false
	}
	if m.sends == nil {
		m.sends = map[sendKey]*send{}
	}
	s = &send{began: now, done: make(chan struct{}), alone: make(chan struct{}), waiting: 1}
	m.sends[key] = s
	return s, true
}

// forget drops what is older than a minute.
func (m *memory) forget(now time.Time) {
	n := 0
	for ; n < len(m.aged) && !now.Before(m.aged[n].until); n++ {
		if a := m.aged[n]; m.sends[a.key] == a.send {
			delete(m.sends, a.key)
		}
	}
	m.aged = m.aged[n:]
}

// finish says what became of a send.
func (m *memory) finish(key sendKey, s *send, state gateway.State, said *words, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.state, s.said = state, said
	close(s.done)
	m.settle(key, s, now)
}

// leave is called by each caller when it is done; answered: what it was told has left.
func (m *memory) leave(key sendKey, s *send, answered bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.waiting--
	s.lost = s.lost || !answered
	if s.said == nil {
		if s.waiting == 0 {
			s.once.Do(func() { close(s.alone) })
		}
		return
	}
	m.settle(key, s, now)
}

// settle keeps or drops a send that has ended: it is the whole policy. The caller holds
// m.mu.
func (m *memory) settle(key sendKey, s *send, now time.Time) {
	if !s.until.IsZero() || m.sends[key] != s {
		return // settled before
	}
	certain := s.state != gateway.Unknown && s.state != gateway.Sent && s.state != gateway.Parked && s.state != gateway.Queued
	switch {
	case certain: // nothing reached the follower, nor will: a repeat is a new message
		delete(m.sends, key)
	case s.state == gateway.Unknown || s.lost || now.Sub(s.began) > slow:
		s.until = now.Add(remembering)
		m.aged = append(m.aged, aged{key, s})
	case s.waiting == 0: // answered, and in time
		delete(m.sends, key)
	}
}
