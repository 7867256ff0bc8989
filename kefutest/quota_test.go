package kefutest

import (
	"fmt"
	"testing"
)

func TestQuotaCalls(t *testing.T) {
	x := newWire(t, Account{DailyLimits: map[string]int{"/cgi-bin/message/custom/send": 3}, MinuteLimit: 100})
	x.sendText("oA")
	var got struct {
		ErrMsg string
		Quota  struct {
			DailyLimit int `json:"daily_limit"`
			Used       int
			Remain     int
		}
		Rate struct {
			CallCount     int `json:"call_count"`
			RefreshSecond int `json:"refresh_second"`
		} `json:"rate_limit"`
	}
	if code := x.post(&got, "/cgi-bin/openapi/quota/get", `{"cgi_path":"/cgi-bin/message/custom/send"}`); code != 0 ||
		fmt.Sprint(got.Quota) != "{3 1 2}" || fmt.Sprint(got.Rate) != "{100 60}" || got.ErrMsg != "ok" {
		t.Errorf("%d %+v", code, got)
	}
	for body, want := range map[string]int{
		"": 44002, "{": 47001, "{}": 76003, `{"cgi_path":"cgi-bin/message/custom/send"}`: 76003, `{"cgi_path":"/cgi-bin/nothing"}`: 76021,
	} {
		if code := x.post(nil, "/cgi-bin/openapi/quota/get", body); code != want {
			t.Errorf("quota/get %s: %d, want %d", body, code, want)
		}
	}
	if code := x.post(nil, "/cgi-bin/clear_quota", `{"appid":"wxother"}`); code != 40013 {
		t.Errorf("clear_quota of another: %d, want 40013", code)
	}
}

// Ten resets a month, of either call.
func TestResetsPerMonth(t *testing.T) {
	x := newWire(t)
	body := `{"appid":"` + appid + `","appsecret":"` + secret + `"}`
	for i := range 10 {
		path := "/cgi-bin/clear_quota"
		if i%2 == 0 {
			path += "/v2"
		}
		if code := x.post(nil, path, body); code != 0 {
			t.Fatalf("reset %d: %d", i+1, code)
		}
	}
	if code := x.post(nil, "/cgi-bin/clear_quota", body); code != 48006 {
		t.Errorf("the 11th: %d, want 48006", code)
	}
	x.token = ""
	for url, want := range map[string]int{
		"?appid=" + appid + "&appsecret=" + secret: 48006,
		"?appid=" + appid:                          41004,
		"?appsecret=" + secret:                     41002,
		"?appid=wxother&appsecret=" + secret:       40013,
		"":                                         44002,
	} {
		if code := x.post(nil, "/cgi-bin/clear_quota/v2"+url, ""); code != want {
			t.Errorf("v2%s: %d, want %d", url, code, want)
		}
	}
	x.w.SetState(`{"secret_frozen":true}`)
	if code := x.post(nil, "/cgi-bin/clear_quota/v2", body); code != 40243 {
		t.Errorf("frozen: %d, want 40243", code)
	}
	x.w.SetState(`{"secret_frozen":false}`)
	x.w.Advance(31 * 24 * 60 * 60 * 1e9)
	x.logIn()
	if code := x.post(nil, "/cgi-bin/clear_quota", body); code != 0 {
		t.Errorf("the next month: %d", code)
	}
}

// A request id can be looked up for seven days, by its own account.
func TestRID(t *testing.T) {
	x := newWire(t, Account{}, Account{AppID: "wxother", Secret: "00000000000000000000000000000001"})
	x.sendText("oA")
	rid := x.w.Requests()[1].RID
	var got struct {
		Request struct {
			RequestBody  string `json:"request_body"`
			ResponseBody string `json:"response_body"`
		}
	}
	if code := x.post(&got, "/cgi-bin/openapi/rid/get", `{"rid":"`+rid+`"}`); code != 0 || got.Request.RequestBody == "" || got.Request.ResponseBody == "" {
		t.Errorf("%d %+v", code, got)
	}
	y := &wire{t: t, w: x.w}
	var token tokenAnswer
	y.get(&token, "/cgi-bin/token?grant_type=client_credential&appid=wxother&secret=00000000000000000000000000000001")
	y.token = token.AccessToken
	if code := y.post(nil, "/cgi-bin/openapi/rid/get", `{"rid":"`+rid+`"}`); code != 76003 {
		t.Errorf("another account's: %d, want 76003", code)
	}
	for body, want := range map[string]int{`{}`: 76002, `{"rid":"x"}`: 76002, `{"rid":"00000000-00000000-00000000"}`: 76001, "": 44002} {
		if code := x.post(nil, "/cgi-bin/openapi/rid/get", body); code != want {
			t.Errorf("%s: %d, want %d", body, code, want)
		}
	}
	x.w.Advance(7 * 24 * 60 * 60 * 1e9)
	x.logIn()
	if code := x.post(nil, "/cgi-bin/openapi/rid/get", `{"rid":"`+rid+`"}`); code != 76004 {
		t.Errorf("after 7 days: %d, want 76004", code)
	}
}

func TestIPLists(t *testing.T) {
	x := newWire(t)
	for _, path := range []string{"/cgi-bin/getcallbackip", "/cgi-bin/get_api_domain_ip"} {
		var got struct {
			IPList []string `json:"ip_list"`
		}
		if code := x.get(&got, path); code != 0 || len(got.IPList) == 0 {
			t.Errorf("%s: %d %v", path, code, got)
		}
	}
}
