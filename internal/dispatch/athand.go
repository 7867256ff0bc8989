package dispatch

import (
	"sync"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// mostAtHand is how many bytes of messages that were just accepted stay in memory until
// their turn, which is soon as a rule. All others are read again.
const mostAtHand = 16 << 20

// atHand is the messages that need not be read from the store at their turn, by seq.
type atHand struct {
	mu       sync.Mutex // guards all below
	messages map[int64]store.Message
	bytes    int64
}

func (h *atHand) message(seq int64) (m store.Message, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok = h.messages[seq]
	return m, ok
}

// offer has m at hand for the turn of an item, if it comes soon and there is room.
func (h *atHand) offer(it *item, m store.Message) {
	if it.number == 0 || it.State() != gateway.Queued {
		return // it may wait for days
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bytes+size(m) <= mostAtHand {
		h.put(m)
	}
}

// keep has m at hand, whether there is room or not: the store has not all of it.
func (h *atHand) keep(m store.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(m)
}

// put replaces what is at hand of a message. The caller holds h.mu.
func (h *atHand) put(m store.Message) {
	if old, ok := h.messages[m.Seq]; ok {
		h.bytes -= size(old)
	}
	if h.messages == nil {
		h.messages = map[int64]store.Message{}
	}
	h.messages[m.Seq] = m
	h.bytes += size(m)
}

func (h *atHand) drop(seq int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m, ok := h.messages[seq]; ok {
		h.bytes -= size(m)
		delete(h.messages, seq)
	}
}

// size is about what m takes in memory.
func size(m store.Message) int64 { return int64(1024 + len(m.Message.Message) + len(m.Metadata)) }
