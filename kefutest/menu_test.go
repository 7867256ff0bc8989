package kefutest

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMenuRules(t *testing.T) {
	tap := func(name string) string { return `{"name":"` + name + `","type":"click","key":"K"}` }
	of := func(buttons ...string) string { return `{"button":[` + strings.Join(buttons, ",") + `]}` }
	with := func(subs ...string) string { return `{"name":"菜单","sub_button":[` + strings.Join(subs, ",") + `]}` }
	for _, tt := range []struct {
		name string
		menu string
		want int
	}{
		{"three buttons", of(tap("一"), tap("二"), tap("三")), 0},
		{"four", of(tap("一"), tap("二"), tap("三"), tap("四")), 40016},
		{"none", of(), 40016},
		{"five below one", of(with(tap("1"), tap("2"), tap("3"), tap("4"), tap("5"))), 0},
		{"six", of(with(tap("1"), tap("2"), tap("3"), tap("4"), tap("5"), tap("6"))), 40023},
		{"a third level", of(with(with(tap("1")))), 40023},
		{"a name of 16 bytes", of(tap(strings.Repeat("a", 16))), 0},
		{"of 17", of(tap(strings.Repeat("a", 17))), 40018},
		{"no name", of(tap("")), 40018},
		{"a name of 60 bytes below", of(with(tap(strings.Repeat("茶", 20)))), 0},
		{"of 61", of(with(tap(strings.Repeat("茶", 20) + "a"))), 40018},
		{"a key of 128 bytes", of(`{"name":"a","type":"click","key":"` + strings.Repeat("k", 128) + `"}`), 0},
		{"of 129", of(`{"name":"a","type":"click","key":"` + strings.Repeat("k", 129) + `"}`), 40019},
		{"no key", of(`{"name":"a","type":"scancode_waitmsg"}`), 40019},
		{"an address", of(`{"name":"a","type":"view","url":"https://example.com/"}`), 0},
		{"of 1,024 bytes", of(`{"name":"a","type":"view","url":"https://example.com/` + strings.Repeat("a", 1024-20) + `"}`), 0},
		{"of 1,025", of(`{"name":"a","type":"view","url":"https://example.com/` + strings.Repeat("a", 1025-20) + `"}`), 40020},
		{"an address that runs", of(`{"name":"a","type":"view","url":"javascript:owned()"}`), 40020},
		{"a type that there is not", of(`{"name":"a","type":"dance","key":"K"}`), 40017},
		{"a linked mini program", of(`{"name":"a","type":"miniprogram","url":"https://example.com/","appid":"wxlinked","pagepath":"p"}`), 0},
		{"another one", of(`{"name":"a","type":"miniprogram","url":"https://example.com/","appid":"wxother","pagepath":"p"}`), 45064},
		{"no JSON", `{`, 47001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWire(t, Account{MiniPrograms: []string{"wxlinked"}, Menu: []Button{{Name: "旧", Type: "click", Key: "OLD"}}})
			if got := x.post(nil, "/cgi-bin/menu/create", tt.menu); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
			_, menu := x.do("GET", "/cgi-bin/menu/get", "", nil)
			if stays := strings.Contains(string(menu), "OLD"); stays != (tt.want != 0) {
				t.Errorf("after it the menu is %s", menu)
			}
		})
	}
}

func TestMenuComesAndGoes(t *testing.T) {
	x := newWire(t)
	const menu = `{"button":[{"name":"客服","type":"click","key":"HELP"},{"name":"更多","sub_button":[{"name":"网页","type":"view","url":"https://example.com/?a=1&b=2"}]}]}`
	if got := x.post(nil, "/cgi-bin/menu/create", menu); got != 0 {
		t.Fatal(got)
	}
	if _, got := x.do("GET", "/cgi-bin/menu/get", "", nil); string(got) != `{"menu":`+menu+`}` {
		t.Errorf("got  %s\nwant %s", got, menu)
	}
	var state struct{ Menu []Button }
	if err := json.Unmarshal(x.w.State(), &state); err != nil || len(state.Menu) != 2 {
		t.Errorf("%+v %v", state, err)
	}
	x.do("GET", "/cgi-bin/menu/delete", "", nil)
	var none struct{ ErrCode int }
	if _, got := x.do("GET", "/cgi-bin/menu/get", "", nil); json.Unmarshal(got, &none) != nil || none.ErrCode != 46003 {
		t.Errorf("after it was deleted: %s", got)
	}
	x.w.Reset()
	if len(x.w.account.Menu) != len(DefaultAccount.Menu) {
		t.Error("a reset does not bring the first menu back")
	}
}
