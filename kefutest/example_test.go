package kefutest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/kefutest"
)

var hello = kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}

func Example() {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()

	_, err := client.Send(context.Background(), hello)
	fmt.Println("before they wrote:", errors.Is(err, kefu.ErrWindowClosed))

	wechat.UserSends("oUser1", "你好")
	_, err = client.Send(context.Background(), hello)
	fmt.Println("after:", err)
	fmt.Println("received:", wechat.Sent("oUser1")[0].Raw)
	// Output:
	// before they wrote: true
	// after: <nil>
	// received: {"touser":"oUser1","msgtype":"text","text":{"content":"hello"}}
}

// Two days pass in no time.
func ExampleWeChat_Advance() {
	wechat := kefutest.New()
	defer wechat.Close()
	wechat.UserSends("oUser1")
	fmt.Println(wechat.Window("oUser1").State)
	wechat.Advance(48 * time.Hour)
	fmt.Println(wechat.Window("oUser1").State)
	// Output:
	// open
	// closed
}

func ExampleWeChat_Fail() {
	wechat := kefutest.New()
	defer wechat.Close()
	wechat.UserSends("oUser1")
	client := wechat.Client()

	wechat.Fail(kefutest.DropReply)
	_, err := client.Send(context.Background(), hello)
	fmt.Println("unknown:", errors.Is(err, kefu.ErrUnknownOutcome), "arrived:", len(wechat.Sent()))

	wechat.Fail(kefutest.ErrCode(-1))
	_, err = client.Send(context.Background(), hello)
	fmt.Println("busy:", errors.Is(err, kefu.ErrBusy))

	mend := wechat.Fail(kefutest.Fault{Path: "media/*", Every: 2, Status: 503})
	mend()
	// Output:
	// unknown: true arrived: 1
	// busy: true
}

// The program under test receives callbacks as WeChat makes them: here in process,
// encrypted and signed.
func ExampleAccount_callback() {
	account := kefutest.DefaultAccount
	account.CallbackHandler = &callback.Handler{
		AppID: account.AppID, Token: account.Token, AESKey: account.AESKey,
		Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
			fmt.Println("received", e.Head().MsgType)
			return callback.Text{Content: "welcome"}, nil
		},
	}
	wechat := kefutest.New(account)
	defer wechat.Close()

	did := wechat.UserSends("oUser1", "你好")
	fmt.Println(did.Deliveries[0].Status, string(did.Deliveries[0].Reply))
	fmt.Println(did.Window.OpenedBy, did.Window.Remaining)
	// Output:
	// received text
	// 200 {"msgtype":"text","text":{"content":"welcome"},"touser":"oUser1"}
	// user_message 5
}

// Rules of other times and other accounts.
func ExampleNew() {
	wechat := kefutest.New(kefutest.Account{
		Profile: "legacy_48h",
		Rules:   kefutest.Allowances{kefu.UserMessage: {Max: 1, For: time.Hour}},
	})
	defer wechat.Close()
	fmt.Println(wechat.UserSends("oUser1").Window.Remaining)
	fmt.Println(wechat.Clicks("oUser2", "V1001").Window.Remaining)
	// Output:
	// 1
	// 20
}

func ExampleWeChat_SetState() {
	wechat := kefutest.New()
	defer wechat.Close()
	err := wechat.SetState(`{
		"media": {"MEDIA_ID": "image"},
		"kf_accounts": [{"kf_account": "service@demo", "nickname": "小微"}],
		"followers": {"oBlocked": {"blocked_by": "account"}}
	}`)
	fmt.Println(err)
	_, err = wechat.Client().Send(context.Background(), kefu.Message{To: "oBlocked", Body: kefu.Image{MediaID: "MEDIA_ID"}, KFAccount: "service@demo"})
	var refused *kefu.Error
	fmt.Println(errors.As(err, &refused), refused.Code)
	// Output:
	// <nil>
	// true 43019
}

// A program in any language does over HTTP what the verbs do in Go.
func ExampleNewServer() {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	res, err := http.Post(wechat.URL+"/_sim/followers/oUser1/text", "application/json", strings.NewReader(`{"content":"你好"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	res.Body.Close()
	fmt.Println(res.StatusCode, wechat.Window("oUser1").State)
	// Output: 200 open
}
