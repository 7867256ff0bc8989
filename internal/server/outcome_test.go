package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// What the gateway says of an outcome is told in Chinese, what others said as they said it.
func TestOutcomeInChinese(t *testing.T) {
	for _, tt := range []struct {
		kept           gateway.Outcome
		reason, advice string
	}{
		{gateway.Outcome{Class: kefu.ErrBadRequest, ErrCode: 44002, ErrMsg: "empty post data", Advice: "x"}, "", kefu.Explain("", 44002).AdviceZh},
		{gateway.Outcome{Class: kefu.ErrUnknownCode, ErrCode: 99999, Advice: "x"}, "", kefu.ErrUnknownCode.Advice("zh")},
		{gateway.Outcome{Class: kefu.ErrAccountConfig, ErrCode: 40001, ErrMsg: "invalid credential"}, "", kefu.Explain("stable_token", 40001).AdviceZh},
		{gateway.Outcome{Class: kefu.ErrToken, ErrCode: 40001, ErrMsg: "invalid credential"}, "", kefu.Explain("message/custom/send", 40001).AdviceZh},
		{gateway.Outcome{Class: kefu.ErrWindowClosed, ErrCode: 45015, Reason: "withheld: the window is closed"}, "没有发出：窗口已关闭", kefu.Explain("", 45015).AdviceZh},
		{gateway.Outcome{Class: kefu.ErrNotDelivered, Reason: "its media can't be had yet: dial: no route", Advice: kefu.ErrNotDelivered.Advice("en")}, "暂时取不到素材：dial: no route", kefu.ErrNotDelivered.Advice("zh")},
		{gateway.Outcome{Class: kefu.ErrNotDelivered, Reason: "dial: no route", Advice: kefu.ErrNotDelivered.Advice("en")}, "dial: no route", kefu.ErrNotDelivered.Advice("zh")},
		{gateway.Outcome{Reason: "resolved by hand as failed"}, "人工标为未收到", ""},
		{gateway.Outcome{Reason: "resolved by hand as sent: part 1 of 3 arrived, those after it never left", Advice: "repeat the message to send all of it, or send what is missing"},
			"人工标为已收到：第 1 段（共 3 段）已收到，后面的没有发出", "重发这条消息可发送全部内容，也可以只补发缺的部分"},
		{gateway.Outcome{Reason: "expired", Advice: "it was not sent in time; send it again if it is still of use"}, "expired", "没有在有效期内发出，如果还用得上，请重新发送"}, // the reason is a code
		{gateway.Outcome{Class: kefu.ErrUnknownOutcome, Reason: "crash"}, "crash", ""},
		{gateway.Outcome{Advice: "as another version said it"}, "", "as another version said it"},
	} {
		kept := tt.kept
		if zh := told(&kept, "zh"); zh.Reason != tt.reason || zh.Advice != tt.advice || zh.ErrMsg != kept.ErrMsg {
			t.Errorf("%+v is told as %+v", kept, *zh)
		} else if again := told(zh, "zh"); *again != *zh {
			t.Errorf("told twice: %+v", *again)
		}
		if en := told(&kept, "en"); en != &kept || kept != tt.kept {
			t.Errorf("%+v is in English %+v", tt.kept, kept)
		}
	}
}

// No reason and no advice is kept for which there are no Chinese words.
func TestKeptReasonsAreKnown(t *testing.T) {
	files, err := filepath.Glob("../dispatch/*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(Reason|Advice|reason)(?:: | [:+]?= )"(?:: )?([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			text := strings.NewReplacer("%d", "1").Replace(strings.TrimSuffix(m[2], ": "))
			if seen++; text == "expired" || text == "resolved by hand as " { // a code; "sent" and "failed" follow
				continue
			}
			kept := gateway.Outcome{Reason: text}
			if m[1] == "Advice" {
				kept = gateway.Outcome{Advice: text}
			}
			if *told(&kept, "zh") == kept {
				t.Errorf("%s keeps %q", file, text)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d texts were found: where are the others?", seen)
	}
}

// Wherever a message is told of, its outcome is in the reader's language.
func TestOutcomeIsToldInTheReadersLanguage(t *testing.T) {
	w := newWorld(t)
	o := gateway.Outcome{Class: kefu.ErrBadRequest, ErrCode: 44002, ErrMsg: "empty post data", Advice: kefu.Explain("", 44002).AdviceEn, Reason: "resolved by hand as failed"}
	m := w.add(gateway.Message{Account: shop, OpenID: "oFollower", MsgType: "text", Message: json.RawMessage(`{}`), State: gateway.Failed, Outcome: &o})
	w.say(shop, "message.failed")
	data, err := encode(map[string]any{"id": m.ID, "msgtype": "text", "state": m.State, "outcome": o, "metadata": map[string]any{"outcome": "theirs <&>"}})
	if err != nil {
		t.Fatal(err)
	}
	w.feed[0].Data = data
	for _, call := range []string{"GET /v1/messages/" + m.ID, "GET /v1/messages", "GET /v1/conversations/" + shop + "/oFollower/timeline", "POST /v1/messages/" + m.ID + "/cancel", "GET /v1/events?cursor="} {
		method, path, _ := strings.Cut(call, " ")
		for lang, wants := range map[string][]string{"zh-CN": {"人工标为未收到", kefu.Explain("", 44002).AdviceZh, "empty post data"}, "en": {o.Reason, o.Advice, "empty post data"}} {
			a := w.do(sendKey, method, path, "", "Accept-Language: "+lang)
			for _, want := range wants {
				if !strings.Contains(string(a.body), want) {
					t.Errorf("%s in %s: no %q in %d %s", call, lang, want, a.StatusCode, a.body)
				}
			}
			if strings.HasPrefix(path, "/v1/events") && !strings.Contains(string(a.body), `"outcome":"theirs <&>"`) {
				t.Errorf("another member has changed: %s", a.body)
			}
		}
	}
	if w.messages[0].Outcome != &o || o.Reason != "resolved by hand as failed" {
		t.Error("what is kept has changed")
	}
}
