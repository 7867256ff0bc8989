package callback_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/kefu-go/kefu/callback"
)

// Receive a text and answer it. In a program the handler stands behind
// http.Handle; here the request that WeChat would make is made by hand.
func ExampleHandler() {
	handler := &callback.Handler{
		Token: "demotoken",
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
			switch e := e.(type) {
			case callback.TextMessage:
				return callback.Text{Content: "You said: " + e.Content}, nil
			case callback.SubscribeEvent:
				return callback.Text{Content: "Welcome!"}, nil
			}
			return nil, nil
		},
		Now: func() time.Time { return time.Unix(1348831860, 0) },
	}
	if err := handler.Check(); err != nil {
		log.Fatal(err)
	}

	query := url.Values{"timestamp": {"1348831860"}, "nonce": {"486452656"}}
	query.Set("signature", callback.Signature(handler.Token, "1348831860", "486452656"))
	request := httptest.NewRequest("POST", "/callback?"+query.Encode(), strings.NewReader(`<xml>
<ToUserName><![CDATA[gh_1234567890ab]]></ToUserName>
<FromUserName><![CDATA[oUser1]]></FromUserName>
<CreateTime>1348831860</CreateTime>
<MsgType><![CDATA[text]]></MsgType>
<Content><![CDATA[hello]]></Content>
<MsgId>1234567890123456</MsgId>
</xml>`))
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)

	answer, err := callback.Parse(response.Body.Bytes()) // it has the form of a push
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Code, answer.(callback.TextMessage).Content)
	// Output: 200 You said: hello
}

// In secure mode the handler takes nothing but encrypted and signed pushes.
func ExampleHandler_secure() {
	handler := &callback.Handler{
		AppID:   "wx5eed2a76cc560001",
		Token:   "demotoken",
		AESKey:  "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) { return nil, nil },
	}
	forged := httptest.NewRequest("POST", "/callback", strings.NewReader(`<xml><MsgType>text</MsgType></xml>`))
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, forged)
	fmt.Println(response.Code == http.StatusForbidden)
	// Output: true
}

// Parse reads a push that has come another way, such as a log or a queue.
func ExampleParse() {
	e, err := callback.Parse([]byte(`{"ToUserName":"gh_1234567890ab","FromUserName":"oUser1","CreateTime":1482048670,
		"MsgType":"event","Event":"subscribe","EventKey":"qrscene_shop7","Ticket":"TICKET"}`))
	if err != nil {
		log.Fatal(err)
	}
	if s, ok := e.(callback.SubscribeEvent); ok {
		fmt.Println(s.FromUserName, "came through", s.Scene, "which opens", s.Trigger())
	}
	// Output: oUser1 came through shop7 which opens follow
}

// An account that is known to give the allowance of a message for a tap on a
// msgmenu, and of a scan for following by a QR code, says so in one place.
func ExampleEvent_trigger() {
	trigger := func(e callback.Event) string {
		switch e := e.(type) {
		case callback.TextMessage:
			if e.MenuID != "" {
				return "user_message"
			}
		case callback.SubscribeEvent:
			if e.Scene != "" {
				return "scan"
			}
		}
		return string(e.Trigger())
	}
	tap, _ := callback.Parse([]byte(`{"MsgType":"text","Content":"满意","MsgId":1,"bizmsgmenuid":"101"}`))
	fmt.Println(tap.Trigger(), "by default,", trigger(tap), "here")
	// Output: menu by default, user_message here
}
