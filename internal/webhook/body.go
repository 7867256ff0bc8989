package webhook

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/kefu-go/kefu/gateway"
)

// Body is what is posted about an entry. The handler and the window are those of now;
// the window is there for what a follower did.
func Body(e gateway.FeedEntry, h gateway.Handler, w *gateway.Window, outOfOrder bool) ([]byte, error) {
	if !FromFollower(e.Type) {
		w = nil
	}
	if e.OpenID == "" {
		h = ""
	}
	return encode(gateway.WebhookBody{Type: e.Type, Timestamp: e.At, Data: gateway.WebhookEvent{
		FeedEntry: e, Handler: h, Window: w, OutOfOrder: outOfOrder,
	}})
}

// FromFollower reports whether an entry is something that a follower did: answers are
// taken to these alone, so that no bot answers itself.
func FromFollower(kind string) bool { return kind == "follower.message" || kind == "follower.event" }

// Matches reports whether a type is among the patterns: "message.sent", "message.*",
// "*".
func Matches(patterns []string, kind string) bool {
	for _, p := range patterns {
		if group, ok := strings.CutSuffix(p, "*"); p == kind || ok && strings.HasPrefix(kind, group) {
			return true
		}
	}
	return false
}

// encode is v's JSON with &, < and > as themselves.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
