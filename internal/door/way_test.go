package door_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kefu-go/kefu/internal/door"
)

func TestPassable(t *testing.T) {
	for _, tt := range []struct {
		path     string
		all, few bool // for an admin, for others
	}{
		{"/cgi-bin/customservice/getkflist", true, true},
		{"/customservice/kfaccount/add", true, true},
		{"/cgi-bin/media/uploadimg", true, true},
		{"/cgi-bin/menu/get", true, false},
		{"/card/get", true, false},
		{"/cgi-bin/clear_quota", true, false},
		{"/cgi-bin/message/custom/send", false, false}, // by POST /v1/messages, with the ledger
		{"/cgi-bin/MESSAGE/custom/Send", false, false},
		{"/cgi-bin/message/custom/typing", false, false},
		{"/cgi-bin/token", false, false},
		{"/cgi-bin/stable_token", false, false},
		{"/cgi-bin/clear_quota/v2", false, false},
		{"/cgi-bin/component/api_component_token", false, false},
		{"/sns/userinfo", false, false},
		{"/cgi-bin/media/../stable_token", false, false},
		{"/cgi-bin//stable_token", false, false},
		{"/cgi-bin/media/get?access_token=T", false, false},
		{"/cgi-bin/media/get#x", false, false},
		{"cgi-bin/media/get", false, false},
		{"//evil.example/cgi-bin/media/get", false, false},
		{"/cgi-bin/\r\nHost: evil", false, false},
		{"/v1/keys", false, false},
		{"", false, false},
	} {
		if all, few := door.Passable(tt.path, true), door.Passable(tt.path, false); all != tt.all || few != tt.few {
			t.Errorf("%q: %v for an admin and %v for others, want %v, %v", tt.path, all, few, tt.all, tt.few)
		}
	}
}

// A call by hand goes with the real token, heals a dead one as the door does, and shows
// it to nobody.
func TestWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		ask := func() string {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://wechat/cgi-bin/menu/create", strings.NewReader(`{"button":[{"name":"一","type":"click","key":"K"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			res, err := r.door.Way(appid).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if got := ask(); !strings.Contains(got, `"errcode":0`) {
			t.Errorf("%s", got)
		}
		r.wechat.ExpireTokens()
		if got := ask(); !strings.Contains(got, `"errcode":0`) {
			t.Errorf("with a dead token: %s", got)
		}
		if _, err := r.door.Way("wxnobody").RoundTrip(&http.Request{Method: "GET", URL: nil}); err == nil {
			t.Error("an account that there is not has a way")
		}
	})
}
