package kefutest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

const addMaterialPath = "/cgi-bin/material/add_material?type="

func TestAddMaterialAnswer(t *testing.T) {
	x := newWire(t)
	for kind, tt := range map[string]struct {
		filename string
		data     []byte
		want     string
	}{
		"image": {"a.png", pngFile(), `^\{"media_id":"[\w-]{64}","url":"https://api\.weixin\.qq\.com/mmbiz_png/[\w-]{32}/0"\}$`},
		"thumb": {"a.jpg", jpgFile(), `^\{"media_id":"[\w-]{64}"\}$`},
		"voice": {"a.wav", wavFile(1), `^\{"media_id":"[\w-]{64}"\}$`},
		"video": {"a.mp4", mp4File("isom"), `^\{"media_id":"[\w-]{64}"\}$`},
	} {
		contentType, body := form("media", tt.filename, tt.data)
		_, answer := x.do(http.MethodPost, addMaterialPath+kind, contentType, body)
		if !regexp.MustCompile(tt.want).Match(answer) {
			t.Errorf("%s: %s", kind, answer)
		}
	}
}

func TestMaterialLife(t *testing.T) {
	x := newWire(t)
	description, err := os.ReadFile("../testdata/samples/material_add_video_description.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind, filename string
		data           []byte
		contentType    string
	}{
		{"image", "a.bmp", bmpFile(), "image/bmp"},
		{"voice", "a.wma", wmaFile(time.Second), "audio/x-ms-wma"},
		{"thumb", "a.jpg", jpgFile(), "image/jpeg"},
		{"video", "a.mp4", mp4File("isom"), ""},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			id := x.mediaID(addMaterialPath+tt.kind, tt.filename, tt.data, "description", string(description))
			body := fmt.Appendf(nil, `{"media_id":%q}`, id)
			res, answer := x.do(http.MethodPost, "/cgi-bin/material/get_material", "application/json", body)
			if tt.kind == "video" {
				var out struct {
					Title, Description string
					DownURL            string `json:"down_url"`
				}
				x.read(&out, answer)
				if out.Title != "VIDEO_TITLE" || out.Description != "INTRODUCTION" {
					t.Errorf("get_material: %s", answer)
				}
				res, answer = x.do(http.MethodGet, out.DownURL, "", nil)
				tt.contentType = "video/mp4"
			}
			if !bytes.Equal(answer, tt.data) || res.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("%s of %d bytes came back", res.Header.Get("Content-Type"), len(answer))
			}
			for call, want := range []int{0, 40007} {
				if got := x.post(nil, "/cgi-bin/material/del_material", string(body)); got != want {
					t.Errorf("deletion %d: errcode %d, want %d", call+1, got, want)
				}
			}
			if got := x.post(nil, "/cgi-bin/material/get_material", string(body)); got != 40007 {
				t.Errorf("get_material when deleted: errcode %d, want 40007", got)
			}
		})
	}
}

func TestMaterialRefusals(t *testing.T) {
	x := newWire(t)
	temporary := x.mediaID("/cgi-bin/media/upload?type=image", "a.png", pngFile())
	for _, tt := range []struct {
		name string
		path string
		body string
		want int
	}{
		{"get temporary media", "/cgi-bin/material/get_material", `{"media_id":"` + temporary + `"}`, 40007},
		{"delete temporary media", "/cgi-bin/material/del_material", `{"media_id":"` + temporary + `"}`, 40007},
		{"get without id", "/cgi-bin/material/get_material", `{}`, 41006},
		{"get with a trailing comma", "/cgi-bin/material/get_material", `{"media_id":"M",}`, 47001},
		{"list an unknown kind", "/cgi-bin/material/batchget_material", `{"type":"thumb","offset":0,"count":20}`, 40004},
		{"list none", "/cgi-bin/material/batchget_material", `{"type":"image","offset":0,"count":0}`, 40097},
		{"list 20", "/cgi-bin/material/batchget_material", `{"type":"image","offset":0,"count":20}`, 0},
		{"list 21", "/cgi-bin/material/batchget_material", `{"type":"image","offset":0,"count":21}`, 40097},
		{"list from -1", "/cgi-bin/material/batchget_material", `{"type":"image","offset":-1,"count":1}`, 40097},
		{"list from behind the end", "/cgi-bin/material/batchget_material", `{"type":"image","offset":9,"count":1}`, 0},
		{"an unknown draft", "/cgi-bin/draft/get", `{"media_id":"M"}`, 40007},
		{"delete an unknown draft", "/cgi-bin/draft/delete", `{"media_id":"M"}`, 40007},
		{"publish an unknown draft", "/cgi-bin/freepublish/submit", `{"media_id":"M"}`, 40007},
		{"publish nothing", "/cgi-bin/freepublish/submit", `{}`, 41006},
		{"an unknown publication", "/cgi-bin/freepublish/get", `{"publish_id":"1"}`, 53502},
		{"an unknown article", "/cgi-bin/freepublish/getarticle", `{"article_id":"A"}`, 53600},
		{"delete an unknown article", "/cgi-bin/freepublish/delete", `{"article_id":"A"}`, 53600},
	} {
		if got := x.post(nil, tt.path, tt.body); got != tt.want {
			t.Errorf("%s: errcode %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := x.upload(nil, addMaterialPath+"video", "media", "a.mp4", mp4File("isom"), "description", "{"); got != 47001 {
		t.Errorf("a broken description: errcode %d, want 47001", got)
	}
	if got := x.upload(nil, addMaterialPath+"movie", "media", "a.mp4", mp4File("isom")); got != 40004 {
		t.Errorf("an unknown type: errcode %d, want 40004", got)
	}
	if got := x.upload(nil, addMaterialPath+"image", "", "", nil); got != 41005 {
		t.Errorf("no file: errcode %d, want 41005", got)
	}
}

func TestListMaterial(t *testing.T) {
	x := newWire(t)
	var images []string
	for i := range 3 {
		images = append(images, x.mediaID(addMaterialPath+"image", fmt.Sprintf("%d.png", i), pngFile()))
	}
	x.mediaID(addMaterialPath+"voice", "a.amr", amrFile(1))
	var news struct {
		MediaID string `json:"media_id"`
	}
	x.post(&news, "/cgi-bin/material/add_news", fmt.Sprintf(`{"articles":[{"title":"<标题>","thumb_media_id":%q,"author":"作者",
		"digest":"摘要","show_cover_pic":"1","content":"<p>正文</p>","content_source_url":"https://example.com/"}]}`, images[0]))

	type list struct {
		Item []struct {
			MediaID string `json:"media_id"`
			Name    string
			URL     string
			Content struct {
				NewsItem []newsArticle `json:"news_item"`
			}
		}
		Total int `json:"total_count"`
		Count int `json:"item_count"`
	}
	var page list
	x.post(&page, "/cgi-bin/material/batchget_material", `{"type":"image","offset":0,"count":1}`)
	if page.Total != 3 || page.Count != 1 || len(page.Item) != 1 || page.Item[0].MediaID != images[2] || page.Item[0].Name != "2.png" || page.Item[0].URL == "" {
		t.Errorf("the newest of three images: %+v", page)
	}
	page = list{}
	x.post(&page, "/cgi-bin/material/batchget_material", `{"type":"news","offset":0,"count":20}`)
	if page.Total != 1 || page.Item[0].MediaID != news.MediaID || page.Item[0].Content.NewsItem[0].Title != "<标题>" || page.Item[0].Content.NewsItem[0].ShowCoverPic != 1 {
		t.Errorf("news: %+v", page)
	}
	if _, got := x.do(http.MethodGet, "/cgi-bin/material/get_materialcount", "", nil); string(got) != `{"voice_count":1,"video_count":0,"image_count":3,"news_count":1}` {
		t.Errorf("get_materialcount: %s", got)
	}
	var got newsAnswer
	x.post(&got, "/cgi-bin/material/get_material", fmt.Sprintf(`{"media_id":%q}`, news.MediaID))
	if len(got.NewsItem) != 1 || got.NewsItem[0].Content != "<p>正文</p>" {
		t.Errorf("get_material of news: %+v", got)
	}
	if code := x.send("mpnews", "media_id", news.MediaID); code != 0 {
		t.Errorf("mpnews of news material: errcode %d", code)
	}
	x.post(nil, "/cgi-bin/material/del_material", fmt.Sprintf(`{"media_id":%q}`, news.MediaID))
	if code := x.send("mpnews", "media_id", news.MediaID); code != 40007 {
		t.Errorf("mpnews of deleted news: errcode %d, want 40007", code)
	}
}

// send makes the follower write, and sends a message with one field to them.
func (x *wire) send(msgtype, field, value string) (errcode int) {
	x.t.Helper()
	x.w.UserSends("oUser1")
	return x.post(nil, "/cgi-bin/message/custom/send", fmt.Sprintf(`{"touser":"oUser1","msgtype":%q,%q:{%q:%q}}`, msgtype, msgtype, field, value))
}

func TestAddNewsWithdrawn(t *testing.T) {
	x := newWire(t)
	withdrawn := true
	if err := x.w.account.library.put(libraryState{NewsWithdrawn: &withdrawn}); err != nil {
		t.Fatal(err)
	}
	if got := x.post(nil, "/cgi-bin/material/add_news", `{"articles":[]}`); got != 45106 {
		t.Errorf("errcode %d, want 45106", got)
	}
}

// From the article's fields to both messages that carry an article.
func TestArticleFromDraftToFollower(t *testing.T) {
	sample, err := os.ReadFile("../testdata/samples/draft_add.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"xml", "json"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finished := make(chan callback.PublishJobFinishEvent, 1)
				x := newWire(t, Account{Format: format, CallbackHandler: pushes(t, finished)})
				cover := x.mediaID(addMaterialPath+"image", "cover.png", pngFile())
				var draft struct {
					MediaID string `json:"media_id"`
				}
				add := strings.ReplaceAll(string(sample), "THUMB_MEDIA_ID", cover)
				if code := x.post(&draft, "/cgi-bin/draft/add", add); code != 0 {
					t.Fatalf("draft/add: errcode %d", code)
				}
				var got newsAnswer
				x.post(&got, "/cgi-bin/draft/get", fmt.Sprintf(`{"media_id":%q}`, draft.MediaID))
				if len(got.NewsItem) != 1 || got.NewsItem[0].Title != "TITLE" || got.NewsItem[0].ThumbMediaID != cover || got.NewsItem[0].ContentSourceURL != "https://example.com/" {
					t.Errorf("draft/get: %+v", got)
				}
				if code := x.send("mpnews", "media_id", draft.MediaID); code != 0 {
					t.Errorf("mpnews of a draft: errcode %d", code)
				}
				title, digest, coverURL, url, ok := x.w.account.library.articleCard(draft.MediaID)
				if !ok || title != "TITLE" || digest != "DIGEST" || coverURL == "" || url == "" {
					t.Errorf("the card of a draft: %q %q %q %q", title, digest, coverURL, url)
				}

				var job struct {
					PublishID json.Number `json:"publish_id"`
					MsgDataID json.Number `json:"msg_data_id"`
				}
				if code := x.post(&job, "/cgi-bin/freepublish/submit", fmt.Sprintf(`{"media_id":%q}`, draft.MediaID)); code != 0 || job.PublishID == "" || job.MsgDataID == "" {
					t.Fatalf("freepublish/submit: errcode %d, %+v", code, job)
				}
				var p publication
				x.post(&p, "/cgi-bin/freepublish/get", fmt.Sprintf(`{"publish_id":%q}`, job.PublishID))
				if p.Status != publishing || p.ArticleID != "" || len(finished) != 0 {
					t.Errorf("at once: %+v", p)
				}
				event := <-finished
				x.post(&p, "/cgi-bin/freepublish/get", `{"publish_id":`+job.PublishID.String()+`}`) // a number will do
				if p.Status != published || p.ArticleID == "" || p.Detail == nil || p.Detail.Count != 1 {
					t.Fatalf("at the end: %+v", p)
				}
				if event.PublishID != job.PublishID.String() || event.PublishStatus != published || event.ArticleID != p.ArticleID ||
					len(event.Articles) != 1 || event.Articles[0].URL != p.Detail.Item[0].URL {
					t.Errorf("PUBLISHJOBFINISH: %+v", event)
				}
				if code := x.send("mpnewsarticle", "article_id", p.ArticleID); code != 0 {
					t.Errorf("mpnewsarticle: errcode %d", code)
				}
				if title, _, _, _, ok := x.w.account.library.articleCard(p.ArticleID); !ok || title != "TITLE" {
					t.Errorf("the card of an article: %q", title)
				}
				if code := x.send("mpnewsarticle", "article_id", "ARTICLE_ID"); code != 53600 {
					t.Errorf("mpnewsarticle of an unknown article: errcode %d, want 53600", code)
				}
				if code := x.post(nil, "/cgi-bin/draft/get", fmt.Sprintf(`{"media_id":%q}`, draft.MediaID)); code != 40007 {
					t.Errorf("the draft after its publication: errcode %d, want 40007", code)
				}
				res, page := x.do(http.MethodGet, p.Detail.Item[0].URL, "", nil)
				if !bytes.Contains(page, []byte("<p>CONTENT</p>")) {
					t.Errorf("the page: %s", page)
				}
				for name, want := range map[string]string{
					"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
					"Content-Security-Policy": sandboxed(x.w.URL),
				} {
					if got := res.Header.Get(name); got != want {
						t.Errorf("%s of the page: %q, want %q", name, got, want)
					}
				}
				for call, want := range []int{0, 53600} {
					if got := x.post(nil, "/cgi-bin/freepublish/delete", fmt.Sprintf(`{"article_id":%q,"index":1}`, p.ArticleID)); got != want {
						t.Errorf("deletion %d: errcode %d, want %d", call+1, got, want)
					}
				}
			})
		})
	}
}

// The SDK and the simulator are written apart; here they meet: a picture, a draft
// made of it, its publication, and both messages that carry it.
func TestSDKPublishesAnArticle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wechat := New()
		defer wechat.Close()
		wechat.UserSends("oUser1")
		client, ctx := wechat.Client(), t.Context()
		cover, err := client.AddMaterial(ctx, kefu.MediaThumb, "cover.jpg", bytes.NewReader(jpgFile()), kefu.VideoDescription{})
		if err != nil {
			t.Fatal(err)
		}
		picture, err := client.UploadImage(ctx, "a.jpg", bytes.NewReader(jpgFile()))
		if err != nil {
			t.Fatal(err)
		}
		draft, err := client.AddDraft(ctx, kefu.DraftArticle{
			Title: "标题", Author: "作者", Content: `<p>正文</p><img src="` + picture + `">`, ThumbMediaID: cover.ID,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Send(ctx, kefu.Message{To: "oUser1", Body: kefu.MPNews{MediaID: kefu.MediaID(draft)}}); err != nil {
			t.Error(err)
		}
		job, err := client.Publish(ctx, draft)
		if err != nil {
			t.Fatal(err)
		}
		done, err := client.WaitPublished(ctx, job, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Send(ctx, kefu.Message{To: "oUser1", Body: kefu.MPNewsArticle{ArticleID: done.ArticleID}}); err != nil {
			t.Error(err)
		}
		if sent := wechat.Sent("oUser1"); len(sent) != 2 {
			t.Errorf("the follower got %d messages, not 2", len(sent))
		}
	})
}

func TestDeleteDraft(t *testing.T) {
	x := newWire(t)
	cover := x.mediaID(addMaterialPath+"thumb", "cover.jpg", jpgFile())
	var draft struct {
		MediaID string `json:"media_id"`
	}
	x.post(&draft, "/cgi-bin/draft/add", fmt.Sprintf(`{"articles":[{"title":"t","content":"c","thumb_media_id":%q}]}`, cover))
	body := fmt.Sprintf(`{"media_id":%q}`, draft.MediaID)
	for call, want := range []int{0, 40007} {
		if got := x.post(nil, "/cgi-bin/draft/delete", body); got != want {
			t.Errorf("deletion %d: errcode %d, want %d", call+1, got, want)
		}
	}
	if code := x.send("mpnews", "media_id", draft.MediaID); code != 40007 {
		t.Errorf("mpnews of a deleted draft: errcode %d, want 40007", code)
	}
}

// A publication that fails is told, too.
func TestPublicationFails(t *testing.T) {
	for _, format := range []string{"xml", "json"} {
		synctest.Test(t, func(t *testing.T) {
			finished := make(chan callback.PublishJobFinishEvent, 1)
			x := newWire(t, Account{Format: format, CallbackHandler: pushes(t, finished)})
			var state libraryState
			if err := json.Unmarshal([]byte(`{"publish_ends":2,"publish_takes":"1h"}`), &state); err != nil {
				t.Fatal(err)
			}
			if err := x.w.account.library.put(state); err != nil {
				t.Fatal(err)
			}
			cover := x.mediaID(addMaterialPath+"image", "cover.png", pngFile())
			article := fmt.Sprintf(`{"title":"t","content":"c","thumb_media_id":%q}`, cover)
			var draft struct {
				MediaID string `json:"media_id"`
			}
			x.post(&draft, "/cgi-bin/draft/add", `{"articles":[`+article+`,`+article+`]}`)
			x.post(nil, "/cgi-bin/freepublish/submit", fmt.Sprintf(`{"media_id":%q}`, draft.MediaID))
			x.w.Advance(time.Hour)
			event := <-finished
			if event.PublishStatus != notOriginal || fmt.Sprint(event.FailIdx) != "[1 2]" || event.ArticleID != "" {
				t.Errorf("%s: %+v", format, event)
			}
		})
	}
}

func TestResetForgetsPublications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := make(chan callback.PublishJobFinishEvent, 1)
		x := newWire(t, Account{CallbackHandler: pushes(t, finished)})
		cover := x.mediaID(addMaterialPath+"image", "cover.png", pngFile())
		var draft struct {
			MediaID string `json:"media_id"`
		}
		x.post(&draft, "/cgi-bin/draft/add", fmt.Sprintf(`{"articles":[{"title":"t","content":"c","thumb_media_id":%q}]}`, cover))
		if code := x.post(nil, "/cgi-bin/freepublish/submit", fmt.Sprintf(`{"media_id":%q}`, draft.MediaID)); code != 0 {
			t.Fatalf("errcode %d", code)
		}
		x.w.Reset()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(finished) != 0 {
			t.Errorf("pushed: %+v", <-finished)
		}
	})
}

// pushes is the callback of an account that waits for the end of publications.
func pushes(t *testing.T, finished chan<- callback.PublishJobFinishEvent) http.Handler {
	return &callback.Handler{
		AppID: DefaultAccount.AppID, Token: DefaultAccount.Token, AESKey: DefaultAccount.AESKey,
		Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
			if e, ok := e.(callback.PublishJobFinishEvent); ok {
				if e.FromUserName != "mphelper" {
					t.Errorf("from %q", e.FromUserName)
				}
				finished <- e
			}
			return nil, nil
		},
	}
}
