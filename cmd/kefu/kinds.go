package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// A kind is one kind of message, or one form of it, for the demo to send.
type kind struct {
	name string
	make func(ctx context.Context, d *party, to string) (sample, error)
}

// A sample is a message with all that it needs uploaded.
type sample struct {
	message kefu.Message
	// want is, as in WeChat's documents, the JSON that the follower must get. It is
	// written apart from the SDK, which is to be checked.
	want string
	// title and signer are what the phone shows besides; "" for nothing.
	title, signer string
}

// kinds are all of them, in the order of WeChat's page.
func kinds() []kind {
	return []kind{
		{"text", func(_ context.Context, _ *party, to string) (sample, error) {
			const content = "你好！<a href=\"https://example.com/?a=1&b=2\">5 > 3</a>\n第二行"
			return sample{
				message: kefu.Message{To: to, Body: kefu.Text{Content: content}},
				want:    wire(`{"touser":"$to","msgtype":"text","text":{"content":"你好！<a href=\"https://example.com/?a=1&b=2\">5 > 3</a>\n第二行"}}`, to),
			}, nil
		}},
		{"image", func(ctx context.Context, d *party, to string) (sample, error) {
			id, err := d.upload(ctx, kefu.MediaImage, "hills.png", samplePNG())
			return sample{
				message: kefu.Message{To: to, Body: kefu.Image{MediaID: kefu.MediaID(id)}},
				want:    wire(`{"touser":"$to","msgtype":"image","image":{"media_id":"$1"}}`, to, id),
			}, err
		}},
		{"voice", func(ctx context.Context, d *party, to string) (sample, error) {
			id, err := d.upload(ctx, kefu.MediaVoice, "silence.amr", sampleAMR())
			return sample{
				message: kefu.Message{To: to, Body: kefu.Voice{MediaID: kefu.MediaID(id)}},
				want:    wire(`{"touser":"$to","msgtype":"voice","voice":{"media_id":"$1"}}`, to, id),
			}, err
		}},
		{"video", func(ctx context.Context, d *party, to string) (sample, error) {
			id, err := d.upload(ctx, kefu.MediaVideo, "tour.mp4", sampleMP4())
			if err != nil {
				return sample{}, err
			}
			thumb, err := d.upload(ctx, kefu.MediaThumb, "cover.jpg", sampleJPG())
			return sample{
				message: kefu.Message{To: to, Body: kefu.Video{
					MediaID: kefu.MediaID(id), ThumbMediaID: kefu.MediaID(thumb), Title: "导览", Description: "三分钟看完",
				}},
				want: wire(`{"touser":"$to","msgtype":"video","video":{"media_id":"$1","thumb_media_id":"$2","title":"导览","description":"三分钟看完"}}`, to, id, thumb),
			}, err
		}},
		{"music", func(ctx context.Context, d *party, to string) (sample, error) {
			thumb, err := d.upload(ctx, kefu.MediaThumb, "cover.jpg", sampleJPG())
			song := d.ownURL + "/song.wav"
			return sample{
				message: kefu.Message{To: to, Body: kefu.Music{
					Title: "四个音", Description: "两秒", MusicURL: song, HQMusicURL: song + "?hq", ThumbMediaID: kefu.MediaID(thumb),
				}},
				want: wire(`{"touser":"$to","msgtype":"music","music":{"title":"四个音","description":"两秒","musicurl":"$1","hqmusicurl":"$1?hq","thumb_media_id":"$2"}}`, to, song, thumb),
			}, err
		}},
		{"news", func(ctx context.Context, d *party, to string) (sample, error) {
			pic, err := d.client.UploadImage(ctx, "hills.png", bytes.NewReader(samplePNG()))
			const page = "https://developers.weixin.qq.com/doc/service/guide/product/kf/intro"
			return sample{
				message: kefu.Message{To: to, Body: kefu.News{Articles: []kefu.Article{{
					Title: "客服消息图文标题", Description: "客服消息图文描述", URL: page, PicURL: pic,
				}}}},
				want: wire(`{"touser":"$to","msgtype":"news","news":{"articles":[{"title":"客服消息图文标题","description":"客服消息图文描述","url":"$1","picurl":"$2"}]}}`, to, page, pic),
			}, err
		}},
		{"mpnews", func(ctx context.Context, d *party, to string) (sample, error) {
			id, err := d.draft(ctx, "草稿里的文章")
			return sample{
				message: kefu.Message{To: to, Body: kefu.MPNews{MediaID: kefu.MediaID(id)}},
				want:    wire(`{"touser":"$to","msgtype":"mpnews","mpnews":{"media_id":"$1"}}`, to, id),
				title:   "草稿里的文章",
			}, err
		}},
		{"mpnewsarticle", func(ctx context.Context, d *party, to string) (sample, error) {
			article, err := d.publish(ctx, "发布了的文章")
			return sample{
				message: kefu.Message{To: to, Body: kefu.MPNewsArticle{ArticleID: article}},
				want:    wire(`{"touser":"$to","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"$1"}}`, to, article),
				title:   "发布了的文章",
			}, err
		}},
		{"msgmenu", func(_ context.Context, _ *party, to string) (sample, error) {
			return sample{
				message: kefu.Message{To: to, Body: kefu.MsgMenu{
					Head: "您对本次服务是否满意？", Items: []kefu.MenuItem{{ID: "101", Content: "满意"}, {ID: "102", Content: "不满意"}}, Tail: "欢迎再次光临",
				}},
				want: wire(`{"touser":"$to","msgtype":"msgmenu","msgmenu":{"head_content":"您对本次服务是否满意？","list":[{"id":"101","content":"满意"},{"id":"102","content":"不满意"}],"tail_content":"欢迎再次光临"}}`, to),
			}, nil
		}},
		{"wxcard", func(ctx context.Context, d *party, to string) (sample, error) {
			return sample{
				message: kefu.Message{To: to, Body: kefu.WXCard{CardID: "pDemoCard"}},
				want:    wire(`{"touser":"$to","msgtype":"wxcard","wxcard":{"card_id":"pDemoCard"}}`, to),
				title:   "满 100 减 20",
			}, d.client.CheckCard(ctx, "pDemoCard")
		}},
		{"miniprogrampage", func(ctx context.Context, d *party, to string) (sample, error) {
			thumb, err := d.upload(ctx, kefu.MediaThumb, "cover.jpg", sampleJPG())
			return sample{
				message: kefu.Message{To: to, Body: kefu.MiniProgramPage{
					Title: "小程序", AppID: "wxdemominiprogram1", PagePath: "pages/index/index?from=kefu", ThumbMediaID: kefu.MediaID(thumb),
				}},
				want: wire(`{"touser":"$to","msgtype":"miniprogrampage","miniprogrampage":{"title":"小程序","appid":"wxdemominiprogram1","pagepath":"pages/index/index?from=kefu","thumb_media_id":"$1"}}`, to, thumb),
			}, err
		}},
		{"kf-account", func(_ context.Context, _ *party, to string) (sample, error) {
			return sample{
				message: kefu.Message{To: to, Body: kefu.Text{Content: "我是小微"}, KFAccount: "xiaowei@kefudemo"},
				want:    wire(`{"touser":"$to","msgtype":"text","text":{"content":"我是小微"},"customservice":{"kf_account":"xiaowei@kefudemo"}}`, to),
				signer:  "小微",
			}, nil
		}},
		{"ai-label", func(_ context.Context, _ *party, to string) (sample, error) {
			return sample{
				message: kefu.Message{To: to, Body: kefu.Text{Content: "这是模型写的"}, AI: true},
				want:    wire(`{"touser":"$to","msgtype":"text","text":{"content":"这是模型写的"},"aimsgcontext":{"is_ai_msg":1}}`, to),
			}, nil
		}},
	}
}

// wire fills $to, $1, $2 in JSON; none of the values needs escaping.
func wire(json, to string, values ...any) string {
	json = strings.ReplaceAll(json, "$to", to)
	for i, v := range values {
		json = strings.ReplaceAll(json, fmt.Sprintf("$%d", i+1), fmt.Sprint(v))
	}
	return json
}

// draft makes a draft with each field of the article.
func (d *party) draft(ctx context.Context, title string) (kefu.PermanentID, error) {
	cover, err := d.client.AddMaterial(ctx, kefu.MediaThumb, "cover.jpg", bytes.NewReader(sampleJPG()), kefu.VideoDescription{})
	if err != nil {
		return "", err
	}
	pic, err := d.client.UploadImage(ctx, "hills.png", bytes.NewReader(samplePNG()))
	if err != nil {
		return "", err
	}
	return d.client.AddDraft(ctx, kefu.DraftArticle{
		Title: title, ThumbMediaID: cover.ID, Author: "客服演示", Digest: "一篇演示用的文章", ShowCoverPic: true,
		Content: `<p>正文</p><p><img src="` + pic + `"></p>`, ContentSourceURL: "https://example.com/source",
	})
}

// publish makes a draft, publishes it and returns its article id.
func (d *party) publish(ctx context.Context, title string) (string, error) {
	draft, err := d.draft(ctx, title)
	if err != nil {
		return "", err
	}
	job, err := d.client.Publish(ctx, draft)
	if err != nil {
		return "", err
	}
	p, err := d.client.WaitPublished(ctx, job, 20*time.Millisecond)
	if err == nil && p.Status != kefu.Published {
		err = fmt.Errorf("the publication ended as %v", p.Status)
	}
	return p.ArticleID, err
}
