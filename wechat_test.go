package kefu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// A sample goes file → SDK → simulator, and what the follower received equals it.
// Two say in their names what is expected instead.
func TestSamplesArrive(t *testing.T) {
	refused := map[string]int{"send_news_two_articles_expect_45008.json": 45008, "send_link_miniprogram_only.json": 45050}
	files, _ := filepath.Glob("testdata/samples/send_*.json")
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			wechat := kefutest.New()
			defer wechat.Close()
			if err := wechat.SetState(`{"media":{"MEDIA_ID":"image","THUMB_MEDIA_ID":"thumb"},"articles":["ARTICLE_ID"],
				"cards":["123dsdajkasd231jhksad"],"mini_programs":["wx1234567890abcdef"],"kf_accounts":[{"kf_account":"test1@kftest","nickname":"小微"}]}`); err != nil {
				t.Fatal(err)
			}
			in := sample(t, name)
			m, err := kefu.ParseMessage(in)
			if err != nil {
				t.Fatal(err)
			}
			switch m.Body.MsgType() { // the samples have one id for all kinds
			case "voice", "video", "mpnews":
				kind := map[string]string{"voice": "voice", "video": "video", "mpnews": "news"}[m.Body.MsgType()]
				if err := wechat.SetState(`{"media":{"MEDIA_ID":"` + kind + `","THUMB_MEDIA_ID":"thumb"}}`); err != nil {
					t.Fatal(err)
				}
			}
			wechat.UserSends(m.To)
			client := wechat.Client()
			if code := refused[name]; code != 0 {
				client.NoCheck = true
				var e *kefu.Error
				if _, err := client.Send(t.Context(), m); !errors.As(err, &e) || e.Code != code {
					t.Errorf("%v, want %d", err, code)
				}
				return
			}
			if _, err := client.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := wechat.Sent(m.To)
			if len(got) != 1 {
				t.Fatalf("%d messages arrived", len(got))
			}
			equalJSON(t, []byte(got[0].Raw), in)
			if got[0].KFAccount != m.KFAccount {
				t.Errorf("signed by %q", got[0].KFAccount)
			}
		})
	}
}

func TestTyping(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()
	wechat.UserSends("oUser1")
	left := wechat.Window("oUser1")
	if err := client.Typing(t.Context(), "oUser1"); err != nil {
		t.Fatal(err)
	}
	if err := client.Typing(t.Context(), "oUser1"); !errors.Is(err, kefu.ErrRateLimited) {
		t.Errorf("typing while typing: %v, want 45081", err)
	}
	if err := client.CancelTyping(t.Context(), "oUser1"); err != nil {
		t.Fatal(err)
	}
	if now := wechat.Window("oUser1"); string(mustJSON(t, now)) != string(mustJSON(t, left)) {
		t.Errorf("typing took from the allowance: %s, was %s", mustJSON(t, now), mustJSON(t, left))
	}
	wechat.Advance(31 * time.Second)
	if err := client.Typing(t.Context(), "oUser1"); !errors.Is(err, kefu.ErrWindowClosed) {
		t.Errorf("31 s later: %v, want 45080", err)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var gif = []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;")

// What is unfit is named before it leaves: kind, size to the byte, format by content.
func TestFilesAreCheckedBeforeTheyLeave(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()
	jpg := func(n int) []byte { return append([]byte("\xFF\xD8\xFF\xE0"), make([]byte, n-4)...) }
	mp4 := []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
	for _, tt := range []struct {
		name string
		send func() error
		code int // 0: it is sent
	}{
		{"image", func() error { return errOf(client.Upload(t.Context(), kefu.MediaImage, "a.gif", bytes.NewReader(gif))) }, 0},
		{"the name is not believed", func() error {
			return errOf(client.Upload(t.Context(), kefu.MediaImage, "a.jpg", strings.NewReader("<script>")))
		}, 40005},
		{"image as voice", func() error { return errOf(client.Upload(t.Context(), kefu.MediaVoice, "a.gif", bytes.NewReader(gif))) }, 40005},
		{"empty", func() error {
			return errOf(client.Upload(t.Context(), kefu.MediaImage, "a.gif", strings.NewReader("")))
		}, 44001},
		{"no such kind", func() error { return errOf(client.Upload(t.Context(), "hologram", "a", strings.NewReader("x"))) }, 40004},
		{"thumb of 64 KB", func() error {
			return errOf(client.Upload(t.Context(), kefu.MediaThumb, "a.jpg", bytes.NewReader(jpg(64<<10))))
		}, 0},
		{"thumb of 64 KB and a byte", func() error {
			return errOf(client.Upload(t.Context(), kefu.MediaThumb, "a.jpg", bytes.NewReader(jpg(64<<10+1))))
		}, 40012},
		{"uploadimg of 1 MB and a byte", func() error {
			return errOf(client.UploadImage(t.Context(), "a.jpg", bytes.NewReader(jpg(1<<20+1))))
		}, 40009},
		{"uploadimg of a gif", func() error { return errOf(client.UploadImage(t.Context(), "a.gif", bytes.NewReader(gif))) }, 40005},
		{"uploadimg of a video: the article's advice", func() error { return errOf(client.UploadImage(t.Context(), "a.mp4", bytes.NewReader(mp4))) }, 40005},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(wechat.Requests())
			err := tt.send()
			var unfit *kefu.FileError
			switch {
			case tt.code == 0 && err != nil:
				t.Fatal(err)
			case tt.code != 0 && (!errors.As(err, &unfit) || unfit.Code != tt.code || !errors.Is(err, kefu.ErrMediaInvalid) || unfit.Zh == ""):
				t.Fatalf("%v, want %d", err, tt.code)
			case tt.code != 0 && len(wechat.Requests()) != before:
				t.Error("it left")
			}
		})
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestMediaLivesThreeDays(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()
	media, err := client.Upload(t.Context(), kefu.MediaImage, "dot.gif", bytes.NewReader(gif))
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Download(t.Context(), media.ID)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(got.Body)
	if got.Body.Close(); err != nil || !bytes.Equal(data, gif) || got.ContentType != "image/gif" || got.Filename == "" {
		t.Errorf("%q %+v %v", data, got, err)
	}
	wechat.Advance(kefu.MediaLife + time.Second)
	var e *kefu.Error
	if _, err := client.Download(t.Context(), media.ID); !errors.As(err, &e) || e.Code != 40007 {
		t.Errorf("three days later: %v, want 40007", err)
	}
	wechat.UserSends("oUser1")
	if _, err := client.Send(t.Context(), to(kefu.Image{MediaID: kefu.MediaID(media.ID)})); !errors.Is(err, kefu.ErrMediaInvalid) {
		t.Errorf("and sent: %v", err)
	}
}

func TestVideoIsDownloadedFromItsURL(t *testing.T) {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	client := wechat.Client()
	media, err := client.Upload(t.Context(), kefu.MediaVideo, "v.mp4", strings.NewReader("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Download(t.Context(), media.ID)
	if err != nil || got.Body != nil || !strings.HasPrefix(got.VideoURL, wechat.URL) {
		t.Errorf("%+v, %v", got, err)
	}
}

// The article's material fields, on their way to the two kinds that take them.
func TestArticlesBecomeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wechat := kefutest.New()
		defer wechat.Close()
		client := wechat.Client()
		cover, err := client.AddMaterial(t.Context(), kefu.MediaThumb, "cover.jpg", strings.NewReader("\xFF\xD8\xFF\xE0cover"), kefu.VideoDescription{})
		if err != nil {
			t.Fatal(err)
		}
		article := kefu.DraftArticle{
			Title: "TITLE", ThumbMediaID: cover.ID, Author: "AUTHOR", ContentSourceURL: "https://example.com/",
			Content: "<p>内容 & more</p>", Digest: "DIGEST", ShowCoverPic: true,
		}
		draft, err := client.AddDraft(t.Context(), article)
		if err != nil {
			t.Fatal(err)
		}
		news, err := client.AddNews(t.Context(), article)
		if err != nil {
			t.Fatal(err)
		}
		wechat.UserSends("oUser1")
		for _, id := range []kefu.PermanentID{draft, news} {
			if _, err := client.Send(t.Context(), to(kefu.MPNews{MediaID: kefu.MediaID(id)})); err != nil {
				t.Errorf("mpnews: %v", err)
			}
		}
		job, err := client.Publish(t.Context(), draft) // after which there is no draft any more
		if err != nil {
			t.Fatal(err)
		}
		published, err := client.WaitPublished(t.Context(), job, time.Second)
		if err != nil || published.Status != kefu.Published || published.ArticleID == "" || len(published.URLs) != 1 {
			t.Fatalf("%+v, %v", published, err)
		}
		if _, err := client.Send(t.Context(), to(kefu.MPNewsArticle{ArticleID: published.ArticleID})); err != nil {
			t.Errorf("mpnewsarticle: %v", err)
		}
		article.ThumbMediaID = "temporary"
		if _, err := client.AddDraft(t.Context(), article); !errors.Is(err, kefu.ErrMediaInvalid) {
			t.Errorf("a cover that is not permanent: %v", err)
		}
		var e *kefu.Error
		if _, err := client.Publication(t.Context(), "nosuchjob"); !errors.As(err, &e) || e.Code != 53502 {
			t.Errorf("an unknown job: %v", err)
		}
	})
}

// The article's rule for cards: no custom codes, unless they were imported.
func TestCardRule(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()
	if err := wechat.SetState(`{"cards":[{"card_id":"plain"},{"card_id":"custom","use_custom_code":true},
		{"card_id":"imported","use_custom_code":true,"get_custom_code_mode":"GET_CUSTOM_CODE_MODE_DEPOSIT"}]}`); err != nil {
		t.Fatal(err)
	}
	wechat.UserSends("oUser1")
	for id, fit := range map[string]bool{"plain": true, "custom": false, "imported": true} {
		var invalid *kefu.InvalidError
		if err := client.CheckCard(t.Context(), id); (err == nil) != fit || !fit && (!errors.As(err, &invalid) || invalid.Violations[0].Code != 40158) {
			t.Errorf("%s: %v", id, err)
		}
		var e *kefu.Error
		if _, err := client.Send(t.Context(), to(kefu.WXCard{CardID: id})); (err == nil) != fit || !fit && (!errors.As(err, &e) || e.Code != 40158) {
			t.Errorf("%s sent: %v", id, err)
		}
	}
	if err := client.CheckCard(t.Context(), "nosuchcard"); err == nil || !kefu.CertainlyNotDelivered(err) {
		t.Errorf("an unknown card: %v", err)
	}
}

// The SDK's three ways to a token, against a WeChat that retires and renews them.
func TestTokensAgainstWeChat(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	wechat.UserSends("oUser1")
	h := wechat.Client().HTTP
	for name, src := range map[string]kefu.TokenSource{
		"stable":            kefu.StableToken{AppID: kefutest.DefaultAccount.AppID, Secret: kefutest.DefaultAccount.Secret, HTTP: h},
		"client credential": kefu.ClientCredential{AppID: kefutest.DefaultAccount.AppID, Secret: kefutest.DefaultAccount.Secret, HTTP: h},
	} {
		t.Run(name, func(t *testing.T) {
			client := &kefu.Client{Tokens: kefu.CachedToken(src), HTTP: h}
			if _, err := client.Send(t.Context(), hello); err != nil {
				t.Fatal(err)
			}
			wechat.ExpireTokens()
			before := len(wechat.Requests())
			if _, err := client.Send(t.Context(), hello); err != nil {
				t.Fatalf("with a dead token: %v", err)
			}
			if n := len(wechat.Requests()) - before; n != 3 {
				t.Errorf("%d requests, want a refused post, a refresh and a post", n)
			}
		})
	}
	wrong := kefu.StableToken{AppID: kefutest.DefaultAccount.AppID, Secret: "wrong", HTTP: h}
	var e *kefu.Error
	if _, err := (&kefu.Client{Tokens: wrong, HTTP: h}).Send(t.Context(), hello); !errors.Is(err, kefu.ErrAccountConfig) || !errors.As(err, &e) {
		t.Errorf("a wrong secret: %v", err)
	}
}

// Accepted, and the answer lost: the outcome is unknown, and nothing is repeated.
func TestALostAnswerIsUnknown(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	wechat.UserSends("oUser1")
	wechat.Fail(kefutest.DropReply)
	_, err := (&kefu.Sender{Client: wechat.Client(), Log: slog.New(slog.DiscardHandler)}).Send(t.Context(), hello)
	if !errors.Is(err, kefu.ErrUnknownOutcome) || kefu.CertainlyNotDelivered(err) {
		t.Error(err)
	}
	if n := len(wechat.Sent()); n != 1 {
		t.Errorf("%d arrived", n)
	}
}
