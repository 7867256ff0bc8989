package dispatch

import (
	"encoding/json"
	"testing"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// What is at hand has a limit; what does not fit is read at its turn.
func TestLittleIsKeptAtHand(t *testing.T) {
	var h atHand
	m := store.Message{Message: gateway.Message{Message: make(json.RawMessage, 1<<20)}}
	item := func(state gateway.State) *item {
		m.Seq++
		return newItem(store.Waiting{Seq: m.Seq, Number: m.Seq, State: state})
	}
	for range 20 {
		h.offer(item(gateway.Queued), m)
	}
	if len(h.messages) != 15 {
		t.Errorf("%d messages of 1 MiB are at hand, want 15", len(h.messages))
	}
	h.drop(1)
	if h.offer(item(gateway.Parked), m); len(h.messages) != 14 {
		t.Error("a parked message is at hand")
	}
	h.offer(item(gateway.Queued), m)
	for range 2 { // what the store has not all of, however much there is
		h.keep(m)
	}
	m.Seq++
	if h.keep(m); len(h.messages) != 16 || h.bytes != 16*size(m) {
		t.Errorf("%d messages and %d bytes, want 16 and %d", len(h.messages), h.bytes, 16*size(m))
	}
}
