package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// told is an outcome in the caller's language; it is kept in English. WeChat's own words
// stay, and so do reasons that are codes, of which programs think ("crash", "expired").
func told(o *gateway.Outcome, lang string) *gateway.Outcome {
	if o == nil || lang != "zh" {
		return o
	}
	zh := *o
	if zh.Reason = reasonInChinese(o.Reason); o.ErrCode != 0 {
		x := kefu.Explain("message/custom/send", o.ErrCode)
		if o.Class != "" && x.Class != o.Class { // of the token's call, which came first
			x = kefu.Explain("stable_token", o.ErrCode)
		}
		zh.Advice = x.Advice(lang)
	} else if known, ok := advice[o.Advice]; ok {
		zh.Advice = known
	} else if o.Advice != "" && o.Advice == o.Class.Advice("en") {
		zh.Advice = o.Class.Advice(lang)
	}
	return &zh
}

// reasonInChinese translates what the gateway says before what others said.
func reasonInChinese(reason string) string {
	said, rest, more := strings.Cut(reason, ": ")
	zh, known := reasons[said]
	if !known {
		var n, of int
		if _, err := fmt.Sscanf(said, "part %d of %d arrived, those after it never left", &n, &of); err != nil {
			return reason
		}
		zh = fmt.Sprintf("第 %d 段（共 %d 段）已收到，后面的没有发出", n, of)
	}
	if !more {
		return zh
	}
	return zh + "：" + reasonInChinese(rest)
}

// reasons are the gateway's own, why a message fared so, as they are kept.
var reasons = map[string]string{
	"withheld":                                 "没有发出",
	"the window is closed":                     "窗口已关闭",
	"the window's messages are used up":        "这次窗口的条数已用完",
	"the account was removed from the gateway": "公众号已从网关移除",
	"no answer that tells the outcome":         "没有等到能说明结果的答复",
	"its media can't be sent":                  "素材不能发送",
	"its media can't be had yet":               "暂时取不到素材",
	"its media could not be renewed":           "素材没能重新上传",
	"resolved by hand as sent":                 "人工标为已收到",
	"resolved by hand as failed":               "人工标为未收到",
}

// advice is what no class or errcode says.
var advice = map[string]string{
	"it was not sent in time; send it again if it is still of use":  "没有在有效期内发出，如果还用得上，请重新发送",
	"repeat the message to send all of it, or send what is missing": "重发这条消息可发送全部内容，也可以只补发缺的部分",
}

// told is an entry of the feed in the caller's language.
func (c *call) told(e gateway.FeedEntry) gateway.FeedEntry {
	if c.lang != "zh" || !strings.HasPrefix(e.Type, "message.") || !bytes.Contains(e.Data, []byte(`"outcome"`)) {
		return e
	}
	var members map[string]json.RawMessage
	var o *gateway.Outcome
	if json.Unmarshal(e.Data, &members) != nil || json.Unmarshal(members["outcome"], &o) != nil || o == nil {
		return e
	}
	var err error
	if members["outcome"], err = encode(told(o, c.lang)); err != nil {
		return e
	}
	if data, err := encode(members); err == nil {
		e.Data = bytes.TrimSpace(data)
	}
	return e
}
