package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

var menu = kefu.Menu

// A member that the contract's shapes don't mark as optional is in every answer.
func TestShapes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		value   any
		members string // NAME, or NAME=JSON
	}{
		{"account", gateway.Account{}.WithDefaults(), `appid name="" mode profile rules={} callbacks when_closed on_unknown busy keep_free=null expires_after relearn rate=0 state`},
		{"account with rules", gateway.Account{Rules: gateway.Allowances{kefu.Menu: {Seconds: 9}}}, `rules={"menu":{"max":null,"seconds":9}}`},
		{"window", gateway.Window{State: gateway.WindowClosed}, `state="closed" remaining=null closes_at=null opened_by=null because buckets`},
		{"open window", gateway.Window{State: gateway.WindowOpen, OpenedBy: &menu}, `state="open" opened_by="menu"`},
		{"bucket", gateway.Bucket{}, `trigger max remaining opened_at closes_at`},
		{"attempt", gateway.Attempt{}, `n at took_ms outcome possible_duplicate`},
		{"message", gateway.Message{}, `id account openid msgtype message state priority accepted_at expires_at attempts possible_duplicate source`},
		{"page", gateway.Page[int]{Items: []int{}}, `items=[] next=""`},
	} {
		text, err := json.Marshal(tt.value)
		var got map[string]json.RawMessage
		if err != nil || json.Unmarshal(text, &got) != nil {
			t.Fatalf("%s: %s %v", tt.name, text, err)
		}
		for _, member := range strings.Fields(tt.members) {
			name, want, exact := strings.Cut(member, "=")
			if is, ok := got[name]; !ok || exact && string(is) != want {
				t.Errorf("%s: %s is %s, want %s", tt.name, name, is, want)
			}
		}
	}
}
