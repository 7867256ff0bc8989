package kefutest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKFAccountCodes(t *testing.T) {
	const add, update, del, invite = "/customservice/kfaccount/add", "/customservice/kfaccount/update",
		"/customservice/kfaccount/del", "/customservice/kfaccount/inviteworker"
	// Each row begins with these accounts.
	const state = `[
		{"kf_account":"bound@test","nickname":"一"},
		{"kf_account":"fresh@test","nickname":"二","kf_wx":""},
		{"kf_account":"other@test","nickname":"三","kf_wx":""},
		{"kf_account":"asked@test","nickname":"四","kf_wx":"","invite_wx":"wx_asked","invite_status":"waiting","invite_expire_time":9999999999},
		{"kf_account":"refused@test","nickname":"五","kf_wx":"","invite_wx":"wx_refused","invite_status":"rejected","invite_expire_time":9999999999},
		{"kf_account":"late@test","nickname":"六","kf_wx":"","invite_wx":"wx_late","invite_status":"waiting","invite_expire_time":1}
	]`
	for _, tt := range []struct {
		name string
		path string
		body string
		want int
	}{
		{"a new account", add, `{"kf_account":"new@test","nickname":"新"}`, 0},
		{"the password of old libraries is passed over", add, `{"kf_account":"new@test","nickname":"新","password":"5f4dcc3b5aa765d61d8327deb882cf99"}`, 0},
		{"a prefix of 10", add, `{"kf_account":"a_23456789@test","nickname":"新"}`, 0},
		{"a prefix of 11", add, `{"kf_account":"a_234567890@test","nickname":"新"}`, 65404},
		{"a prefix with another character", add, `{"kf_account":"a-b@test","nickname":"新"}`, 65404},
		{"no suffix", add, `{"kf_account":"new","nickname":"新"}`, 65404},
		{"a suffix of 30", add, `{"kf_account":"new@` + strings.Repeat("s", 30) + `","nickname":"新"}`, 0},
		{"a suffix of 31", add, `{"kf_account":"new@` + strings.Repeat("s", 31) + `","nickname":"新"}`, 65404},
		{"a nickname of 16", add, `{"kf_account":"new@test","nickname":"` + strings.Repeat("新", 16) + `"}`, 0},
		{"a nickname of 17", add, `{"kf_account":"new@test","nickname":"` + strings.Repeat("新", 17) + `"}`, 65403},
		{"no nickname", add, `{"kf_account":"new@test"}`, 65403},
		{"an account that exists", add, `{"kf_account":"bound@test","nickname":"新"}`, 65406},
		{"a nickname that is no text adds nothing", add, `{"kf_account":"new@test","nickname":1}`, 47001},
		{"another nickname", update, `{"kf_account":"bound@test","nickname":"新"}`, 0},
		{"another nickname, too long", update, `{"kf_account":"bound@test","nickname":"` + strings.Repeat("新", 17) + `"}`, 65403},
		{"update of an unknown account", update, `{"kf_account":"new@test","nickname":"新"}`, 65401},
		{"delete", del, `{"kf_account":"bound@test"}`, 0},
		{"delete an unknown account", del, `{"kf_account":"new@test"}`, 65401},
		{"delete nothing", del, `{}`, 65401},
		{"invite", invite, `{"kf_account":"fresh@test","invite_wx":"test_kfwx"}`, 0},
		{"invite to an unknown account", invite, `{"kf_account":"new@test","invite_wx":"test_kfwx"}`, 65401},
		{"invite nobody", invite, `{"kf_account":"fresh@test"}`, 65409},
		{"a WeChat id of 5", invite, `{"kf_account":"fresh@test","invite_wx":"abcde"}`, 65409},
		{"a WeChat id of 6", invite, `{"kf_account":"fresh@test","invite_wx":"abcdef"}`, 0},
		{"a WeChat id of 20", invite, `{"kf_account":"fresh@test","invite_wx":"a2345678901234567890"}`, 0},
		{"a WeChat id of 21", invite, `{"kf_account":"fresh@test","invite_wx":"a23456789012345678901"}`, 65409},
		{"a WeChat id that begins with a digit", invite, `{"kf_account":"fresh@test","invite_wx":"1abcdef"}`, 65409},
		{"invite one who is asked for another account", invite, `{"kf_account":"fresh@test","invite_wx":"wx_asked"}`, 65408},
		{"invite one again", invite, `{"kf_account":"asked@test","invite_wx":"wx_asked"}`, 65408},
		{"invite a second while one is asked", invite, `{"kf_account":"asked@test","invite_wx":"test_kfwx"}`, 65411},
		{"invite after a refusal", invite, `{"kf_account":"refused@test","invite_wx":"wx_refused"}`, 0},
		{"invite after an expiry", invite, `{"kf_account":"late@test","invite_wx":"wx_late"}`, 0},
		{"invite to a bound account", invite, `{"kf_account":"bound@test","invite_wx":"test_kfwx"}`, 65412},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWire(t)
			x.putKF(state)
			if got := x.post(nil, tt.path, tt.body); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
			if n := len(x.w.account.kf.get()); tt.path == add && tt.want != 0 && n != 6 {
				t.Errorf("refused, and yet there are %d accounts", n)
			}
		})
	}
}

func (x *wire) putKF(state string) {
	x.t.Helper()
	var accounts []kfAccount
	if err := json.Unmarshal([]byte(state), &accounts); err != nil {
		x.t.Fatal(err)
	}
	x.w.account.kf.put(accounts)
}

func TestWorkerWorksHereAlready(t *testing.T) {
	x := newWire(t)
	x.putKF(`[{"kf_account":"bound@test","nickname":"一","kf_wx":"wx_bound"},{"kf_account":"fresh@test","nickname":"二","kf_wx":""}]`)
	if got := x.post(nil, "/customservice/kfaccount/inviteworker", `{"kf_account":"fresh@test","invite_wx":"wx_bound"}`); got != 65407 {
		t.Errorf("errcode %d, want 65407", got)
	}
}

// What depends on more than one account, or on none, is set.
func TestKFRefusalsThatAreSet(t *testing.T) {
	x := newWire(t, Account{Refusals: map[string]int{
		"/cgi-bin/customservice/getkflist": 65400, "/customservice/kfaccount/inviteworker": 65410,
	}})
	if got := x.get(nil, "/cgi-bin/customservice/getkflist"); got != 65400 {
		t.Errorf("errcode %d, want 65400", got)
	}
	if got := x.post(nil, "/customservice/kfaccount/inviteworker", `{}`); got != 65410 {
		t.Errorf("errcode %d, want 65410", got)
	}
}

func TestMostKFAccounts(t *testing.T) {
	x := newWire(t)
	for i := range mostKFAccounts + 1 {
		want := 0
		if i == mostKFAccounts {
			want = 65405
		}
		if got := x.post(nil, "/customservice/kfaccount/add", fmt.Sprintf(`{"kf_account":"w%d@test","nickname":"客服"}`, i)); got != want {
			t.Fatalf("account %d: errcode %d, want %d", i+1, got, want)
		}
	}
}

func TestDeleteKFByGET(t *testing.T) {
	x := newWire(t)
	x.putKF(`[{"kf_account":"old@test","nickname":"旧"}]`)
	if got := x.get(nil, "/customservice/kfaccount/del?kf_account=old@test"); got != 0 {
		t.Errorf("errcode %d", got)
	}
	if got := x.get(nil, "/customservice/kfaccount/del?kf_account=old@test"); got != 65401 {
		t.Errorf("again: errcode %d, want 65401", got)
	}
}

// From a new account to one that signs: add, invite, accept.
func TestKFAccountLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		x.w.UserSends("oUser1")
		send := func() int {
			return x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"text","text":{"content":"你好"},"customservice":{"kf_account":"test1@test"}}`)
		}
		steps := []struct {
			name   string
			do     func()
			send   int
			list   string // the account in getkflist, less its id
			online string // getonlinekflist, less ids
		}{
			{"unknown", func() {}, 65401, ``, `{"kf_online_list":[]}`},
			{"added", func() {
				x.post(nil, "/customservice/kfaccount/add", `{"kf_account":"test1@test","nickname":"客服1"}`)
			}, 65402, `{"kf_account":"test1@test","kf_headimgurl":"","kf_id":"","kf_nick":"客服1"}`, `{"kf_online_list":[]}`},
			{"invited", func() {
				x.post(nil, "/customservice/kfaccount/inviteworker", `{"kf_account":"test1@test","invite_wx":"test_kfwx"}`)
			}, 65402, fmt.Sprintf(`{"kf_account":"test1@test","kf_headimgurl":"","kf_id":"","kf_nick":"客服1","invite_wx":"test_kfwx","invite_expire_time":%d,"invite_status":"waiting"}`,
				x.w.Now().Add(inviteLife).Unix()), `{"kf_online_list":[]}`},
			{"rejected", func() { x.w.WorkerAnswers("test1@test", false) }, 65402, fmt.Sprintf(`{"kf_account":"test1@test","kf_headimgurl":"","kf_id":"","kf_nick":"客服1","invite_wx":"test_kfwx","invite_expire_time":%d,"invite_status":"rejected"}`,
				x.w.Now().Add(inviteLife).Unix()), `{"kf_online_list":[]}`},
			{"invited again and accepted", func() {
				x.post(nil, "/customservice/kfaccount/inviteworker", `{"kf_account":"test1@test","invite_wx":"test_kfwx"}`)
				x.w.WorkerAnswers("test1@test", true)
			}, 0, `{"kf_account":"test1@test","kf_headimgurl":"","kf_id":"","kf_nick":"客服1","kf_wx":"test_kfwx"}`,
				`{"kf_online_list":[{"kf_account":"test1@test","status":1,"kf_id":"","accepted_case":0}]}`},
			{"deleted", func() { x.post(nil, "/customservice/kfaccount/del", `{"kf_account":"test1@test"}`) }, 65401, ``, `{"kf_online_list":[]}`},
		}
		for _, step := range steps {
			step.do()
			if got := send(); got != step.send {
				t.Errorf("%s: custom/send: errcode %d, want %d", step.name, got, step.send)
			}
			if got, want := x.text("/cgi-bin/customservice/getkflist"), `{"kf_list":[`+step.list+`]}`; got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, want)
			}
			if got := x.text("/cgi-bin/customservice/getonlinekflist"); got != step.online {
				t.Errorf("%s:\ngot  %s\nwant %s", step.name, got, step.online)
			}
		}
		if x.w.WorkerAnswers("test1@test", true) {
			t.Error("an answer where nobody was asked")
		}
	})
}

// text is the answer to a GET without the values of kf_id, which are strings.
func (x *wire) text(path string) string {
	_, answer := x.do("GET", path, "", nil)
	before, after, _ := strings.Cut(string(answer), `"kf_id":"`)
	if after == "" {
		return before
	}
	_, after, _ = strings.Cut(after, `"`)
	return before + `"kf_id":""` + after
}

func TestInvitationExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		x.post(nil, "/customservice/kfaccount/add", `{"kf_account":"test1@test","nickname":"客服1"}`)
		x.post(nil, "/customservice/kfaccount/inviteworker", `{"kf_account":"test1@test","invite_wx":"test_kfwx"}`)
		for _, tt := range []struct {
			after time.Duration
			want  inviteStatus
		}{{inviteLife - 1, inviteWaiting}, {1, inviteExpired}} {
			time.Sleep(tt.after)
			if got := x.w.account.kf.list(x.w.Now(), "", x.w.account.kfID)[0].InviteStatus; got != tt.want {
				t.Errorf("status %s, want %s", got, tt.want)
			}
		}
		if x.w.WorkerAnswers("test1@test", true) {
			t.Error("an expired invitation was accepted")
		}
	})
}

func TestHeadImg(t *testing.T) {
	x := newWire(t)
	x.putKF(`[{"kf_account":"test1@test","nickname":"客服1"}]`)
	for _, tt := range []struct {
		name    string
		account string
		part    string
		data    []byte
		want    int
	}{
		{"a jpg", "test1@test", "media", jpgFile(), 0},
		{"5 MB", "test1@test", "media", padded(jpgFile(), 5<<20), 0},
		{"5 MB and a byte", "test1@test", "media", padded(jpgFile(), 5<<20+1), 40009},
		{"a gif", "test1@test", "media", gifFile(), 40005},
		{"nothing", "test1@test", "media", nil, 44001},
		{"no part", "test1@test", "file", jpgFile(), 41005},
		{"an unknown account", "nobody@test", "media", jpgFile(), 65401},
		{"a png", "test1@test", "media", pngFile(), 0},
	} {
		if got := x.upload(nil, "/customservice/kfaccount/uploadheadimg?kf_account="+tt.account, tt.part, "a.jpg", tt.data); got != tt.want {
			t.Errorf("%s: errcode %d, want %d", tt.name, got, tt.want)
		}
	}
	var out struct {
		List []kfListed `json:"kf_list"`
	}
	x.get(&out, "/cgi-bin/customservice/getkflist")
	if _, got := x.do("GET", out.List[0].HeadImgURL, "", nil); string(got) != string(pngFile()) {
		t.Errorf("%s does not serve the last picture", out.List[0].HeadImgURL)
	}
	nickname, path := x.w.account.kf.face("test1@test")
	if nickname != "客服1" || !strings.HasSuffix(out.List[0].HeadImgURL, path) || path == "" {
		t.Errorf("the phone shows %q with %q", nickname, path)
	}
}

func TestKFState(t *testing.T) {
	d := &kfDesk{}
	var in []kfAccount
	if err := json.Unmarshal([]byte(`[{"kf_account":"a@test","nickname":"一"},{"kf_account":"b@test","nickname":"二","kf_wx":"","kf_id":"2000"}]`), &in); err != nil {
		t.Fatal(err)
	}
	d.put(in)
	if d.check("a@test") != 0 || d.check("b@test") != 65402 {
		t.Errorf("a: %d, b: %d; want 0 and 65402", d.check("a@test"), d.check("b@test"))
	}
	d.add("c@test", "三")
	said, _ := json.Marshal(d.get())
	var back []kfAccount
	if err := json.Unmarshal(said, &back); err != nil {
		t.Fatal(err)
	}
	restored := &kfDesk{}
	restored.put(back)
	if again, _ := json.Marshal(restored.get()); string(again) != string(said) {
		t.Errorf("restored %s\nwas %s", again, said)
	}
	ids := map[string]bool{}
	for _, k := range back {
		ids[k.ID] = true
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("kf ids are not three: %v", ids)
	}
}

// Samples have kf_id as text, silenceper/wechat reads a number: a setting.
func TestIDsAsNumbers(t *testing.T) {
	w := New(Account{NumberIDs: true})
	defer w.Close()
	if err := w.SetState(`{"kf_accounts":[{"kf_account":"a@b","nickname":"n"}]}`); err != nil {
		t.Fatal(err)
	}
	list := func() string {
		b, err := json.Marshal(w.account.kf.list(w.Now(), "", w.account.kfID))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := list(); !strings.Contains(got, `"kf_id":1`) {
		t.Error(got)
	}
	if err := w.SetState(`{"number_ids":false}`); err != nil {
		t.Fatal(err)
	}
	if got := list(); !strings.Contains(got, `"kf_id":"1`) {
		t.Error(got)
	}
}
