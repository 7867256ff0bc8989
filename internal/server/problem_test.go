package server

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// Every code has a status, a title and a detail; every text is in both languages and
// fills in the same things in the same order.
func TestTexts(t *testing.T) {
	for code := range statuses {
		if titles[code] == (text{}) || details[code] == (text{}) {
			t.Errorf("%s has no title or no detail", code)
		}
	}
	verb := regexp.MustCompile(`%[a-z]`)
	for _, catalogue := range []map[string]text{titles, details} {
		for name, s := range catalogue {
			if s.en == "" || s.zh == "" {
				t.Errorf("%s is missing in a language", name)
			}
			if en, zh := verb.FindAllString(s.en, -1), verb.FindAllString(s.zh, -1); fmt.Sprint(en) != fmt.Sprint(zh) {
				t.Errorf("%s fills in %v and %v", name, en, zh)
			}
			if strings.ContainsAny(s.en, "，。：（）") || !strings.ContainsFunc(s.zh, func(r rune) bool { return r >= 0x4e00 && r < 0xa000 }) {
				t.Errorf("%s: is the English %q and the Chinese %q?", name, s.en, s.zh)
			}
		}
	}
	for code := range titles {
		if statuses[code] == 0 {
			t.Errorf("%s has no status", code)
		}
	}
}

func TestLanguage(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"", "en"}, {"zh", "zh"}, {"zh-CN,zh;q=0.9,en;q=0.8", "zh"}, {"en-GB, zh", "en"}, {"de, fr;q=0.9", "en"},
		{"en;q=0.1, zh-Hans;q=0.2", "zh"}, {"ZH-tw", "zh"}, {"zh;q=0", "en"}, {"de,zh;q=0.3", "zh"}, {"zhuang", "en"}, {";;,q=", "en"},
	} {
		if got := language(tt.header); got != tt.want {
			t.Errorf("%q: %s", tt.header, got)
		}
	}
}

// A problem is in the language asked for, down to its fields.
func TestProblemInChinese(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		key, call, body string
		want            []string
	}{
		{sendKey, "POST /v1/messages", textTo("oFollower", strings.Repeat("x", 2049)), []string{"微信会拒绝这条消息", "请改正", "字节（UTF-8）"}},
		{sendKey, "POST /v1/messages", `{"message":`, []string{"请求体不是 JSON", "第 1 行第"}},
		{sendKey, "POST /v1/messages", `{"a":1}`, []string{"请求无效", "这里没有这个成员"}},
		{readKey, "POST /v1/messages", textTo("o", "x"), []string{"密钥无权", "角色为 read 的密钥", "POST /v1/messages"}},
		{sendKey, "PATCH /v1/messages", "", []string{"不支持的请求方法", "GET, HEAD, POST"}},
		{sendKey, "POST /v1/messages", strings.Repeat("[", 65) + strings.Repeat("]", 65), []string{"嵌套超过 64 层", "第 65 列"}},
	} {
		method, path, _ := strings.Cut(tt.call, " ")
		a := w.do(tt.key, method, path, tt.body, "Accept-Language: zh-CN")
		for _, want := range tt.want {
			if !strings.Contains(string(a.body), want) {
				t.Errorf("%s: no %q in %s", tt.call, want, a.body)
			}
		}
		if strings.Contains(string(a.body), "%!") || a.Header.Get("Content-Language") != "zh" {
			t.Errorf("%s: %s", tt.call, a.body)
		}
	}
}

// No problem has a verb that nothing filled in.
func TestProblemsAreWhole(t *testing.T) {
	w := newWorld(t)
	for code := range statuses {
		for _, lang := range []string{"en", "zh"} {
			p, _ := w.problem(&gateway.Problem{Code: code}, lang)
			if strings.Contains(p.Title+p.Detail, "%") || p.Title == "" || p.Status == 0 {
				t.Errorf("%s: %+v", code, p)
			}
		}
	}
	if p, _ := w.problem(&gateway.Problem{Code: "new"}, "en"); p.Status != 500 || p.Code != gateway.Internal {
		t.Errorf("a code that is in no table: %+v", p)
	}
}
