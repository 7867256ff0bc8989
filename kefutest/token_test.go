package kefutest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const appid, secret = "wx5eed2a76cc560001", "5eed2a76cc565eed2a76cc565eed2a76"

// legacy asks /cgi-bin/token for a token, stable /cgi-bin/stable_token.
func (x *wire) legacy() (tokenAnswer, int) {
	x.t.Helper()
	var out tokenAnswer
	x.token = ""
	code := x.get(&out, "/cgi-bin/token?grant_type=client_credential&appid="+appid+"&secret="+secret)
	return out, code
}

func (x *wire) stable(force bool) (tokenAnswer, int) {
	x.t.Helper()
	var out tokenAnswer
	x.token = ""
	code := x.post(&out, "/cgi-bin/stable_token", fmt.Sprintf(
		`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":%v}`, appid, secret, force))
	return out, code
}

// alive is the errcode of a business call with the token: 45080 comes after the
// token was found good.
func (x *wire) alive(token tokenAnswer) bool {
	x.t.Helper()
	x.token = token.AccessToken
	return x.post(nil, "/cgi-bin/message/custom/typing", `{"touser":"oNobody","command":"CancelTyping"}`) == 45015
}

func TestTokenForm(t *testing.T) {
	x := newWire(t)
	a, _ := x.legacy()
	b, _ := x.stable(false)
	if a.ExpiresIn != 7200 || b.ExpiresIn != 7200 {
		t.Errorf("expires_in %d, %d, want 7200", a.ExpiresIn, b.ExpiresIn)
	}
	if len(a.AccessToken) < 136 || a.AccessToken == b.AccessToken {
		t.Errorf("%q, %q", a.AccessToken, b.AccessToken)
	}
}

func TestTokenRefusals(t *testing.T) {
	const wrong = "00000000000000000000000000000000"
	get := func(query string) func(x *wire) int {
		return func(x *wire) int { return x.get(nil, "/cgi-bin/token?"+query) }
	}
	post := func(body string) func(x *wire) int {
		return func(x *wire) int { return x.post(nil, "/cgi-bin/stable_token", body) }
	}
	good := "grant_type=client_credential&appid=" + appid + "&secret=" + secret
	goodJSON := `{"grant_type":"client_credential","appid":"` + appid + `","secret":"` + secret + `"}`
	for _, tt := range []struct {
		name    string
		account Account
		call    func(*wire) int
		want    int
	}{
		{"good", Account{}, get(good), 0},
		{"good by POST", Account{}, func(x *wire) int { return x.post(nil, "/cgi-bin/token?"+good, "") }, 0},
		{"grant_type wrong", Account{}, get("grant_type=password&appid=" + appid + "&secret=" + secret), 40002},
		{"grant_type missing", Account{}, get("appid=" + appid + "&secret=" + secret), 40002},
		{"appid missing", Account{}, get("grant_type=client_credential&secret=" + secret), 41002},
		{"secret missing", Account{}, get("grant_type=client_credential&appid=" + appid), 41004},
		{"appid unknown", Account{}, get("grant_type=client_credential&appid=wx0000000000000000&secret=" + secret), 40013},
		{"secret of another form", Account{}, get("grant_type=client_credential&appid=" + appid + "&secret=wrong"), 40125},
		{"secret wrong", Account{}, get("grant_type=client_credential&appid=" + appid + "&secret=" + wrong), 40001},
		{"secret frozen", Account{SecretFrozen: true}, get(good), 40243},
		{"IP not listed", Account{AllowIPs: []string{"203.0.113.7"}}, get(good), 40164},
		{"IP listed", Account{AllowIPs: []string{"203.0.113.7", "127.0.0.0/8"}}, get(good), 0},
		{"IP not listed, as the new guide says", Account{AllowIPs: []string{"203.0.113.7"}, IPCode: 61004}, get(good), 61004},
		{"IP awaits the admin", Account{AllowIPs: []string{"203.0.113.7"}, IPCode: 89501}, get(good), 89501},
		{"IP needs the admin", Account{AllowIPs: []string{"203.0.113.7"}, IPCode: 89503}, get(good), 89503},
		{"IP refused twice", Account{AllowIPs: []string{"203.0.113.7"}, IPCode: 89506}, get(good), 89506},
		{"IP refused once", Account{AllowIPs: []string{"203.0.113.7"}, IPCode: 89507}, get(good), 89507},
		{"stable: good", Account{}, post(goodJSON), 0},
		{"stable: GET", Account{}, func(x *wire) int { return x.get(nil, "/cgi-bin/stable_token") }, 43002},
		{"stable: empty body", Account{}, post(""), 44002},
		{"stable: not JSON", Account{}, post(good), 47001},
		{"stable: force_refresh not boolean", Account{}, post(strings.Replace(goodJSON, "}", `,"force_refresh":"true"}`, 1)), 47001},
		{"stable: grant_type wrong", Account{}, post(`{"grant_type":"x","appid":"` + appid + `","secret":"` + secret + `"}`), 40002},
		{"stable: appid missing", Account{}, post(`{"grant_type":"client_credential","secret":"` + secret + `"}`), 41002},
		{"stable: secret missing", Account{}, post(`{"grant_type":"client_credential","appid":"` + appid + `"}`), 41004},
		{"stable: appid unknown", Account{}, post(`{"grant_type":"client_credential","appid":"wx1","secret":"` + secret + `"}`), 40013},
		{"stable: secret wrong", Account{}, post(`{"grant_type":"client_credential","appid":"` + appid + `","secret":"` + wrong + `"}`), 40001},
		{"stable: secret of another form", Account{}, post(`{"grant_type":"client_credential","appid":"` + appid + `","secret":"x"}`), 40125},
		{"stable: secret frozen", Account{SecretFrozen: true}, post(goodJSON), 40243},
		{"busy", Account{}, func(x *wire) int {
			x.w.Fail(Fault{Path: "token", ErrCode: -1})
			return x.get(nil, "/cgi-bin/token?"+good)
		}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := &wire{t: t, w: New(tt.account)}
			defer x.w.Close()
			if got := tt.call(x); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestIPRefusalNamesTheAddress(t *testing.T) {
	x := &wire{t: t, w: New(Account{AllowIPs: []string{"203.0.113.7"}})}
	defer x.w.Close()
	_, answer := x.do(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appid+"&secret="+secret, "", nil)
	if want := `{"errcode":40164,"errmsg":"invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: `; !strings.HasPrefix(string(answer), want) {
		t.Errorf("%s, want %s…", answer, want)
	}
}

// Every call makes a new token; the last one works for 5 minutes more.
func TestTokenOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		first, _ := x.legacy()
		second, _ := x.legacy()
		if first == second {
			t.Fatal("the same token twice")
		}
		time.Sleep(5*time.Minute - 1)
		if !x.alive(first) || !x.alive(second) {
			t.Error("in the overlap both should work")
		}
		time.Sleep(time.Nanosecond)
		x.token = first.AccessToken
		if code := x.post(nil, "/cgi-bin/message/custom/typing", `{}`); code != 40001 {
			t.Errorf("after the overlap the old one: %d, want 40001, not the latest", code)
		}
		if !x.alive(second) {
			t.Error("the new one should work")
		}
	})
}

func TestTokenLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		token, _ := x.legacy()
		time.Sleep(7200*time.Second - 1)
		if !x.alive(token) {
			t.Error("in its last nanosecond it should work")
		}
		time.Sleep(time.Nanosecond)
		x.token = token.AccessToken
		if code := x.post(nil, "/cgi-bin/message/custom/typing", `{}`); code != 42001 {
			t.Errorf("errcode %d, want 42001, expired", code)
		}
	})
}

// A retired token that has also expired is expired.
func TestTokenRetiredThenExpired(t *testing.T) {
	x := newWire(t)
	token, _ := x.legacy()
	x.legacy()
	x.w.Advance(2 * time.Hour)
	x.token = token.AccessToken
	if code := x.post(nil, "/cgi-bin/message/custom/typing", `{}`); code != 42001 {
		t.Errorf("errcode %d, want 42001", code)
	}
}

func TestStableTokenRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		first, _ := x.stable(false)
		time.Sleep(time.Hour)
		again, _ := x.stable(false)
		if again.AccessToken != first.AccessToken || again.ExpiresIn != 3600 {
			t.Errorf("after an hour: another token, or expires_in %d, want 3600", again.ExpiresIn)
		}
		time.Sleep(time.Hour - 5*time.Minute)
		if again, _ = x.stable(false); again.AccessToken != first.AccessToken || again.ExpiresIn != 300 {
			t.Errorf("5 minutes before its end: another token, or expires_in %d, want 300", again.ExpiresIn)
		}
		time.Sleep(time.Nanosecond)
		renewed, _ := x.stable(false)
		if renewed.AccessToken == first.AccessToken || renewed.ExpiresIn != 7200 {
			t.Errorf("in its last 5 minutes: the same token, or expires_in %d, want 7200", renewed.ExpiresIn)
		}
		if !x.alive(first) || !x.alive(renewed) {
			t.Error("in the last 5 minutes both should work")
		}
		time.Sleep(5*time.Minute - 1)
		x.token = first.AccessToken
		if code := x.post(nil, "/cgi-bin/message/custom/typing", `{}`); code != 42001 {
			t.Errorf("the old one after its end: %d, want 42001", code)
		}
	})
}

// The two calls keep a token each: neither kills the other's.
func TestTokensAreIsolated(t *testing.T) {
	x := newWire(t)
	stable, _ := x.stable(false)
	first, _ := x.legacy()
	x.legacy()
	x.w.Advance(6 * time.Minute)
	if !x.alive(stable) {
		t.Error("/cgi-bin/token killed the stable token")
	}
	legacy, _ := x.legacy()
	x.stable(true)
	if !x.alive(legacy) || x.alive(first) {
		t.Error("stable_token touched the other's token")
	}
}

func TestForceRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		first, _ := x.stable(false)
		second, _ := x.stable(true)
		if first.AccessToken == second.AccessToken || x.alive(first) || !x.alive(second) {
			t.Fatal("force_refresh should void the old token at once and give a new one")
		}
		time.Sleep(30*time.Second - 1)
		if again, code := x.stable(true); code != 0 || again.AccessToken != second.AccessToken {
			t.Errorf("within 30 s: errcode %d or a new token", code)
		}
		time.Sleep(time.Nanosecond)
		third, _ := x.stable(true)
		if third.AccessToken == second.AccessToken {
			t.Error("after 30 s: not refreshed")
		}
		last := third
		for range 18 { // 20 in all
			time.Sleep(30 * time.Second)
			next, _ := x.stable(true)
			if next.AccessToken == last.AccessToken {
				t.Fatal("not refreshed")
			}
			last = next
		}
		time.Sleep(time.Minute)
		if next, code := x.stable(true); code != 0 || next.AccessToken != last.AccessToken {
			t.Errorf("the 21st of the day: errcode %d or a new token", code)
		}
		if err := x.w.SetState(`{"force_code":45009}`); err != nil {
			t.Fatal(err)
		}
		if _, code := x.stable(true); code != 45009 {
			t.Errorf("the 21st, if set so: errcode %d, want 45009", code)
		}
		time.Sleep(24 * time.Hour)
		if _, code := x.stable(true); code != 0 {
			t.Errorf("the next day: errcode %d", code)
		}
	})
}

func TestTokenQuotas(t *testing.T) {
	x := newWire(t) // took one
	if err := x.w.SetState(`{"daily_limits":{"/cgi-bin/token":3,"/cgi-bin/stable_token":2}}`); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 0, 45009} {
		if _, code := x.legacy(); code != want {
			t.Errorf("token: errcode %d, want %d", code, want)
		}
	}
	for _, want := range []int{0, 0, 45009} {
		if _, code := x.stable(false); code != want {
			t.Errorf("stable_token: errcode %d, want %d", code, want)
		}
	}
}

func TestBusinessCallTokenCodes(t *testing.T) {
	x := newWire(t)
	good := x.token
	other := "a"
	if good[3] == 'a' {
		other = "b"
	}
	unknown := good[:3] + other + good[4:]
	for _, tt := range []struct {
		name, url string
		want      int
	}{
		{"missing", "/cgi-bin/message/custom/send", 41001},
		{"empty", "/cgi-bin/message/custom/send?access_token=", 41001},
		{"appended without ?access_token=, as the article does", "/cgi-bin/message/custom/send" + good, 41001},
		{"malformed", "/cgi-bin/message/custom/send?access_token=abc", 40014},
		{"unknown", "/cgi-bin/message/custom/send?access_token=" + unknown, 40001},
		{"good", "/cgi-bin/message/custom/send?access_token=" + good, 44002},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := &wire{t: t, w: x.w}
			if got := x.post(nil, tt.url, ""); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
		})
	}
	x.w.ExpireTokens()
	if code := x.post(nil, "/cgi-bin/message/custom/send", "{}"); code != 40001 {
		t.Errorf("after ExpireTokens: %d, want 40001", code)
	}
}

func TestTokensBelongToOneAccount(t *testing.T) {
	other := Account{AppID: "wxother", Secret: "00000000000000000000000000000001"}
	x := newWire(t, Account{}, other)
	x.w.UserSends("oUser1")
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`); code != 0 {
		t.Fatalf("errcode %d", code)
	}
	y := &wire{t: t, w: x.w}
	var out tokenAnswer
	y.get(&out, "/cgi-bin/token?grant_type=client_credential&appid=wxother&secret="+other.Secret.Reveal())
	y.token = out.AccessToken
	if code := y.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`); code != 40003 {
		t.Errorf("another account's follower: errcode %d, want 40003", code)
	}
	x.w.Account("wxother").UserSends("oUser1")
	if code := y.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`); code != 0 {
		t.Errorf("errcode %d", code)
	}
	if a, b := len(x.w.Sent()), len(x.w.Account("wxother").Sent()); a != 1 || b != 1 {
		t.Errorf("%d and %d messages, want one each", a, b)
	}
}
