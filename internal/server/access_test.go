package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// pathOf fills a route's path in for an object of shop.
func pathOf(rt route, id string) string {
	if strings.HasPrefix(rt.path, "/v1/keys/") {
		id = "key_read"
	}
	if strings.HasPrefix(rt.path, "/v1/webhooks/") {
		id = "wh_1"
	}
	if strings.HasPrefix(rt.path, "/v1/assets/") {
		id = gateway.AssetID(sha256.Sum256([]byte(shopFile)))
	}
	return strings.NewReplacer("{id}", id, "{n}", "1", "{account}", shop, "{appid}", shop, "{openid}", "oFollower").Replace(rt.path)
}

// Every route × role, by calling it: testdata/access.tsv is what was looked at and
// found right. A new route is refused to everybody until it has a row there.
func TestAccessMatrix(t *testing.T) {
	var got bytes.Buffer
	fmt.Fprintln(&got, "route\tnobody\twrong key\tadmin\tsend\tread\tdoor\tviewer\tagent\tlead\tadmin agent\tended session")
	for _, rt := range routes() {
		fmt.Fprintf(&got, "%s %s", rt.method, rt.path)
		for _, key := range []string{"", "kf_wrong_0123456789abcdef0123456789abcdef", adminKey, sendKey, readKey, doorKey, "session viewer", "session agent", "session lead", "session admin", "session ended"} {
			w := newWorld(t)
			m := w.add(gateway.Message{})
			role, session := strings.CutPrefix(key, "session ")
			if session {
				w.Desk, key = signedIn{role: gateway.Role(role)}, ""
			}
			var cookie []string
			if session {
				cookie = []string{"Cookie: " + sessionCookie + "=text"}
			}
			a := w.do(key, rt.method, pathOf(rt, m.ID), "", cookie...)
			cell := "yes"
			switch {
			case a.StatusCode == 401 && a.Header.Get("Content-Type") == "application/problem+json":
				cell = "401"
			case a.StatusCode == 403 && a.Header.Get("Content-Type") == "application/problem+json":
				cell = "403"
			}
			fmt.Fprintf(&got, "\t%s", cell)
		}
		fmt.Fprintln(&got)
	}
	if *update {
		if err := os.WriteFile("testdata/access.tsv", got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/access.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("who may do what has changed; if that is right: go test -run AccessMatrix -update\n%s", got.String())
	}
}

// A route without an access is nobody's.
func TestDefaultDeny(t *testing.T) {
	w := newWorld(t)
	w.Handler()
	w.mux.Handle("GET /v1/new", w.serve(route{method: "GET", path: "/v1/new", do: func(*Server, *call) (int, any, error) { return 204, nil, nil }}))
	for _, key := range []string{"", adminKey, sendKey, readKey, doorKey} {
		if a := w.do(key, "GET", "/v1/new", ""); a.StatusCode != 401 && a.StatusCode != 403 {
			t.Errorf("%q: %d", key, a.StatusCode)
		}
	}
}

// Whatever route names an object of another account: 404, and nothing happens.
func TestForeignObjects(t *testing.T) {
	bodies := map[string]string{
		"POST /v1/messages/{id}/resolve": `{"as":"sent"}`,
		"PUT /v1/accounts/{account}":     `{"name":"mine now"}`,
		"PUT /v1/webhooks/{id}":          `{"url":"https://example.com/mine"}`,
		"POST /v1/webhooks/{id}/replay":  `{"cursor":"1"}`,

		"POST /v1/conversations/{account}/{openid}/handover": `{"handler":"agent"}`,
		"POST /v1/accounts/{account}/wechat":                 `{"path":"/cgi-bin/media/get"}`,
		"PUT /v1/accounts/{account}/token":                   `{"access_token":"T","expires_in":7200}`,
	}
	for _, rt := range routes() {
		if !strings.Contains(rt.path, "{id}") && !strings.Contains(rt.path, "{account}") {
			continue
		}
		w := newWorld(t)
		foreign := gateway.Key{ID: "key_foreign", Role: gateway.Admin, Accounts: []string{other}, Key: "kf_foreign_0123456789abcdef0123456789abcdef"}
		(*shelf)(w).PutKey(t.Context(), start, foreign)
		m := w.add(gateway.Message{State: gateway.Unknown})
		w.hooks = []gateway.Webhook{{ID: "wh_1", URL: "https://example.com/", Accounts: []string{shop}}}
		a := w.do(foreign.Key, rt.method, pathOf(rt, m.ID), bodies[rt.method+" "+rt.path])
		if a.StatusCode != 404 {
			t.Errorf("%s %s: %d %s", rt.method, rt.path, a.StatusCode, a.body)
		}
		if w.messages[0].State != gateway.Unknown || len(w.messages) != 1 || w.accounts[shop].Name != "" || len(w.accounts) != 2 || len(w.typing) > 0 || len(w.keys) != 8 ||
			len(w.handovers) > 0 || len(w.hooks) != 1 || w.hooks[0].URL != "https://example.com/" || w.hookCalls.Load() > 0 || len(w.tokenBy) > 0 {
			t.Errorf("%s %s did something", rt.method, rt.path)
		}
	}
}

// Lists have only what belongs to the key's accounts, also if the query names none.
func TestForeignInLists(t *testing.T) {
	w := newWorld(t)
	w.add(gateway.Message{Account: shop})
	w.add(gateway.Message{Account: other})
	w.say(shop, "message.sent")
	w.say(other, "message.sent")
	for _, path := range []string{"/v1/messages", "/v1/conversations", "/v1/events", "/v1/accounts"} {
		a := w.do(otherKey, "GET", path, "")
		if a.StatusCode != 200 || strings.Contains(string(a.body), shop) || !strings.Contains(string(a.body), other) {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
		if path == "/v1/accounts" {
			continue
		}
		if a := w.do(otherKey, "GET", path+"?account="+shop, ""); a.StatusCode != 404 {
			t.Errorf("%s of shop: %d %s", path, a.StatusCode, a.body)
		}
		if a := w.do(adminKey, "GET", path, ""); !strings.Contains(string(a.body), shop) || !strings.Contains(string(a.body), other) {
			t.Errorf("%s to admin: %s", path, a.body)
		}
	}
}

// An admin of some accounts manages those alone, and can't make itself more.
func TestScopedAdmin(t *testing.T) {
	for _, tt := range []struct {
		name, call, body string
		status           int
	}{
		{"changes its account", "PUT /v1/accounts/" + shop, `{"name":"shop"}`, 200},
		{"makes no other", "POST /v1/accounts", `{"appid":"wxnew","secret":"s"}`, 403},
		{"makes no other by PUT", "PUT /v1/accounts/wxnew", `{"secret":"s"}`, 404},
		{"makes a key for its account", "POST /v1/keys", `{"role":"admin","accounts":["wxshop"]}`, 201},
		{"makes no key for all", "POST /v1/keys", `{"role":"read"}`, 403},
		{"makes no key for another", "POST /v1/keys", `{"role":"read","accounts":["wxshop","wxother"]}`, 422},
		{"revokes a key of its account", "DELETE /v1/keys/key_shop", "", 204},
		{"revokes no other", "DELETE /v1/keys/key_admin", "", 404},
		{"revokes no other account's", "DELETE /v1/keys/key_other", "", 404},
	} {
		w := newWorld(t)
		method, path, _ := strings.Cut(tt.call, " ")
		if a := w.do(shopAdmin, method, path, tt.body); a.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.StatusCode, tt.status, a.body)
		}
	}
	w := newWorld(t)
	if page := read[gateway.Page[gateway.Key]](t, w.do(shopAdmin, "GET", "/v1/keys", "")); len(page.Items) != 2 {
		t.Errorf("sees %+v", page.Items)
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	a := w.do(adminKey, "POST", "/v1/keys", `{"name":"bot","role":"send","accounts":["wxshop"]}`)
	k := read[gateway.Key](t, a)
	if a.StatusCode != 201 || !strings.HasPrefix(k.Key, "kf_") || len(k.Key) < minKey || k.ID == "" || k.Role != gateway.Send {
		t.Fatalf("%s", a.body)
	}
	if strings.Contains(string(w.do(adminKey, "GET", "/v1/keys", "").body), k.Key) || strings.Contains(w.logged.String(), k.Key) {
		t.Error("its text is shown again")
	}
	if a := w.do(k.Key, "POST", "/v1/messages", textTo("oFollower", "hi")); a.StatusCode != 202 {
		t.Errorf("it opens: %s", a.body)
	}
	if a := w.do(adminKey, "DELETE", "/v1/keys/"+k.ID, ""); a.StatusCode != 204 {
		t.Errorf("%s", a.body)
	}
	if a := w.do(k.Key, "GET", "/v1/messages", ""); a.StatusCode != 401 {
		t.Errorf("revoked: %d", a.StatusCode)
	}
	for _, body := range []string{`{}`, `{"role":"root"}`, `{"role":"send","accounts":["wxnone"]}`, `{"role":"send","key":"kf_mine"}`} {
		if a := w.do(adminKey, "POST", "/v1/keys", body); a.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
	}
}

// The key of the environment is an admin's, unless it is stored: then its role is.
func TestKeyOfTheEnvironment(t *testing.T) {
	w := newWorld(t)
	w.Key = "kf_environment_0123456789abcdef0123456789"
	if a := w.do(w.Key.Reveal(), "GET", "/v1/keys", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do(w.Key.Reveal()+"x", "GET", "/v1/keys", ""); a.StatusCode != 401 {
		t.Errorf("another: %d", a.StatusCode)
	}
	w.Key = readKey
	if a := w.do(readKey, "GET", "/v1/keys", ""); a.StatusCode != 403 {
		t.Errorf("stored: %d %s", a.StatusCode, a.body)
	}
	(*shelf)(w).RevokeKey(t.Context(), start, "key_read")
	if a := w.do(readKey, "GET", "/v1/keys", ""); a.StatusCode != 401 {
		t.Errorf("revoked: %d %s", a.StatusCode, a.body)
	}
}

func TestAuthorizationHeader(t *testing.T) {
	for _, tt := range []struct {
		header string
		status int
	}{
		{"Bearer " + sendKey, 200},
		{"bearer " + sendKey, 200},
		{"Bearer  " + sendKey + " ", 200},
		{sendKey, 401},
		{"Basic " + sendKey, 401},
		{"Bearer", 401},
		{"Bearer kf_" + strings.Repeat("a", 31), 401},
		{"Bearer kf_" + strings.Repeat("a", 300), 401},
	} {
		w := newWorld(t)
		if a := w.do("", "GET", "/v1/messages", "", "Authorization: "+tt.header); a.StatusCode != tt.status {
			t.Errorf("%q: %d", tt.header, a.StatusCode)
		}
	}
}

// signedIn is a desk with one session; it does nothing else.
type signedIn struct {
	Desk
	role gateway.Role
}

func (d signedIn) Agent(context.Context, string) (gateway.Agent, error) {
	if d.role == "ended" {
		return gateway.Agent{}, fault(gateway.Unauthorized)
	}
	return gateway.Agent{ID: "agent_1", Display: "小满", Role: d.role}, nil
}

func (d signedIn) Record(context.Context, gateway.AuditEntry) error { return nil }

// What a page of another site sends is refused, cookie or not.
func TestForeignSitesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		header             string
		want               int
	}{
		{"the console itself", "GET", "/v1/accounts", "Sec-Fetch-Site: same-origin", 200},
		{"an address that was typed", "GET", "/v1/accounts", "Sec-Fetch-Site: none", 200},
		{"another site reads", "GET", "/v1/accounts", "Sec-Fetch-Site: cross-site", 403},
		{"a neighbour on the same domain reads", "GET", "/v1/accounts", "Sec-Fetch-Site: same-site", 403},
		{"another site writes", "POST", "/v1/triggers", "Sec-Fetch-Site: cross-site", 403},
		{"another origin writes, in an old browser", "POST", "/v1/triggers", "Origin: https://evil.example", 403},
		{"another site signs somebody in", "POST", "/v1/session", "Sec-Fetch-Site: cross-site", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.Desk = signedIn{role: gateway.Admin}
			a := w.do("", tt.method, tt.path, `{}`, "Cookie: "+sessionCookie+"=text", tt.header)
			if a.StatusCode != tt.want {
				t.Errorf("%d, want %d", a.StatusCode, tt.want)
			}
		})
	}
}
