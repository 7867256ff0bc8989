package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// A token is taken in by an admin, shown to an admin who asks for it, and nowhere
// else; who did it is passed on.
func TestAccessTokens(t *testing.T) {
	const canary = "99_CANARY-access_token.x"
	w := newWorld(t)
	path := "/v1/accounts/" + shop + "/token"
	put := w.do(adminKey, "PUT", path, `{"access_token":"`+canary+`","expires_in":7200}`)
	if s := read[gateway.TokenStatus](t, put); put.StatusCode != 200 || s.State != gateway.TokenLive {
		t.Fatalf("%s", put.body)
	}
	for _, a := range []answer{put, w.do(readKey, "GET", path, ""), w.do(adminKey, "POST", path+"/renew", ""), w.do(adminKey, "GET", path+"/events", ""),
		w.do(adminKey, "GET", "/v1/accounts/"+shop, ""), w.do(sendKey, "POST", path+"/reveal", "")} {
		if strings.Contains(string(a.body), canary) {
			t.Errorf("the token is shown: %s", a.body)
		}
	}
	shown := w.do(adminKey, "POST", path+"/reveal", "")
	if r := read[gateway.RevealedToken](t, shown); r.AccessToken != canary || r.ExpiresIn != 7200 || shown.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s", shown.body)
	}
	if want := []string{"supply key_admin", "renew key_admin", "reveal key_admin"}; !slices.Equal(w.tokenBy, want) {
		t.Errorf("%v", w.tokenBy)
	}
	if strings.Contains(w.logged.String(), canary) {
		t.Error("the token is logged")
	}
}

func TestSuppliedTokensAreChecked(t *testing.T) {
	for _, tt := range []struct {
		token   string
		seconds int
		status  int
	}{
		{"T", 1, 200}, {"T", 86400, 200}, {strings.Repeat("T", 2048), 7200, 200},
		{"", 7200, 422}, {strings.Repeat("T", 2049), 7200, 422}, {"a b", 7200, 422}, {"a\\n", 7200, 422}, {"令牌", 7200, 422},
		{"T", 0, 422}, {"T", 86401, 422}, {"T", -1, 422},
	} {
		w := newWorld(t)
		a := w.do(adminKey, "PUT", "/v1/accounts/"+shop+"/token", fmt.Sprintf(`{"access_token":"%s","expires_in":%d}`, tt.token, tt.seconds))
		if a.StatusCode != tt.status || tt.status == 422 && (len(w.tokenBy) > 0 || len(tt.token) > 1 && strings.Contains(string(a.body), tt.token)) {
			t.Errorf("%.9q for %d s: %d %s", tt.token, tt.seconds, a.StatusCode, a.body)
		}
	}
}

// No token is no fault of the gateway's, and says what to do.
func TestNoToken(t *testing.T) {
	w := newWorld(t)
	w.tokenErr = fault(gateway.NoToken)
	w.checkErr = w.tokenErr
	for _, call := range []string{"reveal", "renew"} {
		if a := w.do(adminKey, "POST", "/v1/accounts/"+shop+"/token/"+call, ""); a.StatusCode != 409 || read[gateway.Problem](t, a).Detail == "" {
			t.Errorf("%s: %d %s", call, a.StatusCode, a.body)
		}
	}
	a := w.do(adminKey, "POST", "/v1/accounts/"+shop+"/check", "")
	if c := read[gateway.AccountCheck](t, a); a.StatusCode != 200 || c.OK || c.Problem.Code != gateway.NoToken {
		t.Errorf("check: %d %s", a.StatusCode, a.body)
	}
	supplied := w.accounts[shop]
	supplied.TokenSource = gateway.SuppliedTokens
	w.accounts[shop], w.tokenErr, w.tokenBy = supplied, nil, nil
	if a := w.do(adminKey, "POST", "/v1/accounts/"+shop+"/token/renew", ""); a.StatusCode != 409 || len(w.tokenBy) > 0 {
		t.Errorf("renewal of a supplied one: %d %s", a.StatusCode, a.body)
	}
}
