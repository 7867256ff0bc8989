package kefu_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/kefutest"
)

// The article's own case: a news message to one follower, up to three tries, the
// result logged. The simulator stands in for WeChat; against the real one the
// client is
//
//	&kefu.Client{Tokens: kefu.CachedToken(kefu.StableToken{AppID: appid, Secret: secret})}
func ExampleSender() {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	wechat.UserSends("oUser1") // opens the window
	wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 2})

	sender := kefu.Sender{Client: wechat.Client(), Tries: 3, Log: quiet()}
	res, err := sender.Send(context.Background(), kefu.Message{To: "oUser1", Body: kefu.News{Articles: []kefu.Article{{
		Title:       "客服消息图文标题",
		Description: "客服消息图文描述",
		URL:         "https://www.baidu.com",
		PicURL:      "http://mmbiz.qpic.cn/mmbiz_jpg/0",
	}}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res, len(wechat.Sent("oUser1")))
	// Output:
	// try=1 errcode=-1 again=true
	// try=2 errcode=-1 again=true
	// try=3 errcode=0
	// errcode=0 errmsg="ok" 1
}

// A picture is uploaded, and its URL used in a news message; anybody can open it.
func ExampleClient_UploadImage() {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	client := wechat.Client()
	wechat.UserSends("oUser1")

	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 32))); err != nil {
		log.Fatal(err)
	}
	url, err := client.UploadImage(context.Background(), "happy.png", bytes.NewReader(picture.Bytes()))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Send(context.Background(), kefu.Message{To: "oUser1", Body: kefu.News{Articles: []kefu.Article{{
		Title: "Happy Day", Description: "Is Really A Happy Day", URL: "https://example.com/", PicURL: url,
	}}}})
	fmt.Println("sent:", err == nil)

	seen, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer seen.Body.Close()
	shown, _ := io.ReadAll(seen.Body)
	fmt.Println(seen.Header.Get("Content-Type"), bytes.Equal(shown, picture.Bytes()))
	// Output:
	// sent: true
	// image/png true
}

// A follower writes, the program answers through the SDK. WeChat pushes to the
// handler and waits 5 s at most, so programs that think longer answer later.
func ExampleClient_Send() {
	account := kefutest.DefaultAccount
	var client *kefu.Client
	account.CallbackHandler = &callback.Handler{
		AppID: account.AppID, Token: account.Token, AESKey: account.AESKey,
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
			if text, ok := e.(callback.TextMessage); ok {
				_, err := client.Send(ctx, kefu.Message{To: text.FromUserName, Body: kefu.Text{Content: "You said: " + text.Content}})
				return nil, err
			}
			return nil, nil
		},
	}
	wechat := kefutest.New(account)
	defer wechat.Close()
	client = wechat.Client()

	wechat.UserSends("oUser1", "你好")
	for _, sent := range wechat.Sent() {
		fmt.Println(sent.OpenID, "received", sent.Message.Body.(kefu.Text).Content)
	}
	// Output: oUser1 received You said: 你好
}

// quiet is a log for the examples: without the time and with few of the fields.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case "try", "errcode", "again":
				return a
			}
			return slog.Attr{}
		},
	}))
}
