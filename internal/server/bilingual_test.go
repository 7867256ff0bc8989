package server

import (
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// A reason that is kept in both languages is told in the reader's, wherever it is told.
func TestReasonsAreToldInTheReadersLanguage(t *testing.T) {
	w := newWorld(t)
	w.Desk = signedIn{role: gateway.Admin}
	why := string(bilingual.Both("the reason", "原因"))
	w.mu.Lock()
	a := w.accounts[shop]
	a.State, a.Because = "paused", why
	w.accounts[shop] = a
	w.mu.Unlock()
	hook := read[gateway.Webhook](t, w.do(adminKey, "POST", "/v1/webhooks", `{"url":"https://example.com/"}`))
	w.hooks[0].Because = why
	for _, path := range []string{"/v1/accounts", "/v1/accounts/" + shop, "/v1/webhooks", "/v1/webhooks/" + hook.ID} {
		for lang, want := range map[string]string{"zh-CN": "原因", "en": "the reason"} {
			a := w.do(adminKey, "GET", path, "", "Accept-Language: "+lang)
			if a.StatusCode != 200 || !strings.Contains(string(a.body), `"because":"`+want+`"`) {
				t.Errorf("%s in %s: %d %s", path, lang, a.StatusCode, a.body)
			}
		}
	}
}
