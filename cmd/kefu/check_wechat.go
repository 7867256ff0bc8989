package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// arrives sends one and finds exactly that on the follower's phone. A tap on the
// menu opens the window, which the account does not answer.
func (k kind) arrives(ctx context.Context, d *party, to string, send func(kefu.Message) error) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	s, err := k.make(ctx, d, to)
	if err != nil {
		return "", err
	}
	if err := send(s.message); err != nil {
		return "", err
	}
	got, err := d.messages(ctx, to)
	switch {
	case err != nil:
		return "", err
	case len(got) != 1:
		return "", fmt.Errorf("the follower received %d messages, want 1", len(got))
	case !sameJSON(got[0].Raw, s.want):
		return "", fmt.Errorf("the follower received %s, want %s", got[0].Raw, s.want)
	case strings.Contains(got[0].Raw, `\u`):
		return "", fmt.Errorf("the follower received escapes, which some phones show as they are: %s", got[0].Raw)
	}
	chat, err := read[list[chatLine]](ctx, d, "chat?to="+to)
	if err != nil {
		return "", err
	}
	shown := chatLine{}
	for _, line := range chat.Items {
		if line.Dir == "out" {
			shown = line
		}
	}
	seen, title, signer := strings.Replace(got[0].Raw, `"touser":"`+to+`",`, "", 1), "", ""
	if shown.Preview != nil {
		title = shown.Preview.Title
		seen = "「" + title + "」 " + seen
	}
	if shown.KF != nil {
		signer = shown.KF.Nickname
		seen = signer + ": " + seen
	}
	return seen, errors.Join(want("title on the phone", title, s.title), want("signed by", signer, s.signer))
}

func checkTyping(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "text"); err != nil {
		return "", err
	}
	if err := d.client.Typing(ctx, to); err != nil {
		return "", err
	}
	during, err := read[seenFollower](ctx, &d.party, "followers/"+to)
	if err != nil {
		return "", err
	}
	again := d.client.Typing(ctx, to)
	if err := d.client.CancelTyping(ctx, to); err != nil {
		return "", err
	}
	after, err := read[seenFollower](ctx, &d.party, "followers/"+to)
	return "shown; asked again: 45081; canceled: gone", errors.Join(err,
		want("typing shown", during.Typing, true), wantCode("typing again", again, 45081), want("typing shown after cancel", after.Typing, false))
}

func checkMenuTap(ctx context.Context, d *demo, to string) (string, error) {
	r, _, err := d.control.act(ctx, to, "menu-tap", map[string]string{"id": "101", "content": "满意"})
	if err != nil {
		return "", err
	}
	got := ""
	for _, e := range d.received(to) {
		if m, ok := e.(callback.TextMessage); ok {
			got = m.MenuID + " " + m.Content
		}
	}
	rules, err := kefu.RulesFor("")
	if err != nil {
		return "", err
	}
	return "received " + got + "; " + r.Window.String(), errors.Join(
		want("the tap received", got, "101 满意"), opened(r.Window, kefu.Menu, rules.Allowances[kefu.Menu]))
}

// opened holds a window against the allowance that has to have opened it.
func opened(w window, by kefu.Trigger, a kefu.Allowance) error {
	for _, b := range w.Buckets {
		if b.Trigger == by && b.Max != nil {
			return want(string(by)+" opens", kefu.Allowance{Max: *b.Max, For: b.ClosesAt.Sub(b.OpenedAt)}, a)
		}
	}
	return fmt.Errorf("%s opened nothing: %v", by, w)
}

// ---- windows, allowances, retries, tokens ----

func checkWindow(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "text"); err != nil {
		return "", err
	}
	before := d.text(ctx, to, "before")
	if err := d.advance(ctx, "48h"); err != nil {
		return "", err
	}
	closed := d.text(ctx, to, "closed")
	if _, err := d.act(ctx, to, "text"); err != nil {
		return "", err
	}
	after := d.text(ctx, to, "after")
	got, err := d.contents(ctx, to)
	return "before; 48 h later 45015; the follower writes; after", errors.Join(err, before, wantCode("48 h later", closed, 45015), after,
		want("received", got, []string{"收到：你好", "before", "收到：你好", "after"}))
}

func checkAllowance(ctx context.Context, d *demo, to string) (string, error) {
	rules, err := kefu.RulesFor("")
	if err != nil {
		return "", err
	}
	most := rules.Allowances[kefu.UserMessage].Max
	if _, err := d.act(ctx, to, "text"); err != nil { // and is answered, which takes one
		return "", err
	}
	for n := 2; n <= most; n++ {
		if err := d.text(ctx, to, fmt.Sprint(n)); err != nil {
			return "", err
		}
	}
	over := d.text(ctx, to, "one too many")
	got, err := d.contents(ctx, to)
	return fmt.Sprintf("%d received; one more: 45047", len(got)), errors.Join(err,
		wantCode("one too many", over, 45047), want("messages received", len(got), most))
}

func checkRetry(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	fault := map[string]any{"path": "message/custom/send", "to": to, "errcode": -1, "next": 2}
	if _, err := d.control.call(ctx, http.MethodPost, "faults", fault); err != nil {
		return "", err
	}
	sender := &kefu.Sender{
		Client: d.client, Tries: 3, Wait: func(int) time.Duration { return time.Millisecond }, Log: slog.New(slog.DiscardHandler),
	}
	_, sent := sender.Send(ctx, kefu.Message{To: to, Body: kefu.Text{Content: "third time lucky"}})
	codes, err := d.sends(ctx, to)
	if err != nil {
		return "", err
	}
	got, err := d.contents(ctx, to)
	return fmt.Sprintf("WeChat answered %v; received once", codes), errors.Join(err, sent,
		want("errcodes answered", codes, []int{-1, -1, 0}), want("received", got, []string{"third time lucky"}))
}

func checkLostAnswer(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	if _, err := d.control.call(ctx, http.MethodPost, "faults", map[string]any{"to": to, "drop": "after"}); err != nil {
		return "", err
	}
	sent := d.text(ctx, to, "once")
	got, err := d.contents(ctx, to)
	return "accepted, the answer lost: unknown, and not sent again", errors.Join(err,
		want("class of the outcome", kefu.ClassOf(sent), kefu.ErrUnknownOutcome), want("received", got, []string{"once"}))
}

func checkDeadToken(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "text"); err != nil {
		return "", err
	}
	alive := d.text(ctx, to, "alive")
	before, err := d.sends(ctx, to)
	if err != nil {
		return "", err
	}
	if err := d.advance(ctx, "3h"); err != nil { // a token lives for 2
		return "", err
	}
	dead := d.text(ctx, to, "dead")
	codes, err := d.sends(ctx, to)
	if err != nil {
		return "", err
	}
	codes = codes[min(len(before), len(codes)):]
	got, err := d.contents(ctx, to)
	return fmt.Sprintf("3 h later WeChat answered %v: refreshed once; received once", codes), errors.Join(err, alive, dead,
		want("errcodes answered", codes, []int{42001, 0}), want("received", got, []string{"收到：你好", "alive", "dead"}))
}

// ---- pictures ----

func checkImageBack(ctx context.Context, d *demo, _ string) (string, error) {
	id, err := d.upload(ctx, kefu.MediaImage, "hills.png", samplePNG())
	if err != nil {
		return "", err
	}
	got, err := d.client.Download(ctx, id)
	if err != nil {
		return "", err
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	return fmt.Sprintf("%d bytes of %s, equal", len(data), got.ContentType), errors.Join(err,
		want("equal to what was uploaded", bytes.Equal(data, samplePNG()), true))
}

func checkPictureURL(ctx context.Context, d *demo, _ string) (string, error) {
	url, err := d.client.UploadImage(ctx, "hills.png", bytes.NewReader(samplePNG()))
	if err != nil {
		return "", err
	}
	data, err := fetch(ctx, url)
	return fmt.Sprintf("%s: %d bytes, equal", url, len(data)), errors.Join(err,
		want("equal to what was uploaded", bytes.Equal(data, samplePNG()), true))
}

// ---- callbacks ----

func checkCallbackURL(ctx context.Context, d *demo, _ string) (string, error) {
	answer, err := d.control.call(ctx, http.MethodPost, "verify", nil)
	if err != nil {
		return "", err
	}
	var v struct {
		OK     bool   `json:"ok"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return "", err
	}
	return "WeChat's check of the URL passes", want("passed (reason: "+v.Reason+")", v.OK, true)
}

func checkPassiveReply(ctx context.Context, d *demo, to string) (string, error) {
	accounts, err := read[list[struct {
		AppID string `json:"appid"`
		Mode  string `json:"mode"`
	}]](ctx, &d.party, "accounts")
	if err != nil {
		return "", err
	}
	r, err := d.act(ctx, to, "subscribe")
	switch {
	case err != nil:
		return "", err
	case len(r.Deliveries) == 0:
		return "", errors.New("the callback was not called")
	}
	mode := ""
	for _, a := range accounts.Items {
		if a.AppID == d.control.account {
			mode = a.Mode
		}
	}
	var reply struct {
		Text struct{ Content string } `json:"text"`
	}
	_ = json.Unmarshal(r.Deliveries[0].Reply, &reply) // none is ""
	followed := false
	for _, e := range d.received(to) {
		_, is := e.(callback.SubscribeEvent)
		followed = followed || is
	}
	return "in secure mode: subscribe received, answered " + reply.Text.Content, errors.Join(
		want("mode", mode, "secure"), want("HTTP status", r.Deliveries[0].Status, http.StatusOK),
		want("subscribe received", followed, true), want("passive reply", reply.Text.Content, greeting))
}

func checkAnswer(ctx context.Context, d *demo, to string) (string, error) {
	if _, _, err := d.control.act(ctx, to, "text", map[string]string{"content": "在吗"}); err != nil {
		return "", err
	}
	got, err := d.contents(ctx, to)
	return "在吗 → " + strings.Join(got, ""), errors.Join(err, want("received", got, []string{"收到：在吗"}))
}

// forge posts a push that WeChat did not make, and returns the HTTP status answered.
func forge(ctx context.Context, callback, to string) (status int, err error) {
	forged := "<xml><ToUserName>gh_1</ToUserName><FromUserName>" + to + "</FromUserName><CreateTime>1</CreateTime>" +
		"<MsgType>text</MsgType><Content>forged</Content><MsgId>1</MsgId></xml>"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callback, strings.NewReader(forged))
	if err != nil {
		return 0, err
	}
	res, err := plainHTTP.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func checkForgery(ctx context.Context, d *demo, to string) (string, error) {
	status, err := forge(ctx, d.callback, to)
	return "a plain, unsigned callback is refused with HTTP 403", errors.Join(err,
		want("HTTP status", status, http.StatusForbidden), want("events received", len(d.received(to)), 0))
}

// ---- the article ----

func checkCardRule(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	card := func(id string) kefu.Message { return kefu.Message{To: to, Body: kefu.WXCard{CardID: id}} }
	var invalid *kefu.InvalidError
	foreseen := errors.As(d.client.CheckCard(ctx, "pDemoOwnCodes"), &invalid)
	_, own := d.client.Send(ctx, card("pDemoOwnCodes"))
	imported := d.client.CheckCard(ctx, "pDemoImported")
	_, sent := d.client.Send(ctx, card("pDemoImported"))
	got, err := d.messages(ctx, to)
	return "custom codes: foreseen, and 40158; imported codes: received", errors.Join(err, imported, sent,
		want("custom codes foreseen", foreseen, true), wantCode("custom codes", own, 40158), want("cards received", len(got), 1))
}

// underLegacy runs f under the article's rules.
func (d *party) underLegacy(ctx context.Context, f func(kefu.Rules) (string, error)) (string, error) {
	rules, err := kefu.RulesFor("legacy_48h")
	if err != nil {
		return "", err
	}
	if _, err := d.control.call(ctx, http.MethodPut, "state", map[string]string{"profile": rules.Profile}); err != nil {
		return "", err
	}
	seen, err := f(rules)
	_, restored := d.control.call(ctx, http.MethodPut, "state", map[string]string{"profile": kefu.DefaultProfile})
	return seen, errors.Join(err, restored)
}

func checkSixTriggers(ctx context.Context, d *demo, to string) (string, error) {
	return d.underLegacy(ctx, func(rules kefu.Rules) (string, error) {
		actions := []string{"text", "click", "subscribe", "scan", "pay", "rights"}
		for i, trigger := range kefu.Triggers() {
			r, err := d.act(ctx, to+actions[i], actions[i])
			if err = cmp.Or(err, opened(r.Window, trigger, rules.Allowances[trigger])); err != nil {
				return "", err
			}
		}
		if err := d.advance(ctx, "47h59m"); err != nil {
			return "", err
		}
		var errs []error
		for _, a := range actions {
			errs = append(errs, d.text(ctx, to+a, "in time"))
		}
		if err := d.advance(ctx, "1m"); err != nil {
			return "", err
		}
		for _, a := range actions {
			errs = append(errs, wantCode(a+" 48 h later", d.text(ctx, to+a, "too late"), 45015))
		}
		return "each opens 48 h: 47 h 59 m later sent, then 45015", errors.Join(errs...)
	})
}

// silence is how long the check listens to a WeChat that does not answer.
const silence = 250 * time.Millisecond

func checkEightArticles(ctx context.Context, d *demo, to string) (string, error) {
	return d.underLegacy(ctx, func(rules kefu.Rules) (string, error) {
		if _, err := d.act(ctx, to, "click"); err != nil {
			return "", err
		}
		var news kefu.News
		for n := range rules.Articles {
			news.Articles = append(news.Articles, kefu.Article{Title: fmt.Sprint(n + 1), URL: "https://example.com/"})
		}
		lawful := &kefu.Client{Tokens: d.client.Tokens, BaseURL: d.simURL, Rules: &rules}
		if _, err := lawful.Send(ctx, kefu.Message{To: to, Body: news}); err != nil {
			return "", err
		}
		one := kefu.News{Articles: append(news.Articles, kefu.Article{Title: "one too many"})}
		heedless := &kefu.Client{Tokens: d.client.Tokens, BaseURL: d.simURL, NoCheck: true, HTTP: &http.Client{Timeout: silence}}
		_, nothing := heedless.Send(ctx, kefu.Message{To: to, Body: one})
		got, err := d.messages(ctx, to)
		return fmt.Sprintf("%d articles received; %d: no answer in %v, nothing received", rules.Articles, rules.Articles+1, silence), errors.Join(err,
			want("class of the outcome", kefu.ClassOf(nothing), kefu.ErrUnknownOutcome), want("messages received", len(got), 1))
	})
}

func checkNoAccessToken(ctx context.Context, d *demo, to string) (string, error) {
	token, err := d.client.Tokens.Token(ctx)
	if err != nil {
		return "", err
	}
	url := d.simURL + "/cgi-bin/message/custom/send" + token.Value.Reveal()
	body := kefu.Message{To: to, Body: kefu.Text{Content: "hello"}}.AppendJSON(nil)
	code, err := post(ctx, url, "application/json", body)
	return "the token pasted to the path: 41001", errors.Join(err, want("errcode", code, 41001))
}

func checkTrailingComma(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	_, sent := d.client.SendJSON(ctx, []byte(`{"touser":"`+to+`","msgtype":"wxcard","wxcard":{"card_id":"pDemoCard"},}`))
	got, err := d.messages(ctx, to)
	return "the article's card: 47001", errors.Join(err, wantCode("the article's card", sent, 47001), want("messages received", len(got), 0))
}

func checkVideoWithoutThumb(ctx context.Context, d *demo, to string) (string, error) {
	if _, err := d.act(ctx, to, "click"); err != nil {
		return "", err
	}
	id, err := d.upload(ctx, kefu.MediaVideo, "tour.mp4", sampleMP4())
	if err != nil {
		return "", err
	}
	res, sent := d.client.Send(ctx, kefu.Message{To: to, Body: kefu.Video{MediaID: kefu.MediaID(id)}})
	if sent != nil {
		return "", sent
	}
	warned := ""
	for _, w := range res.Warnings {
		warned += w.Location
	}
	got, err := d.messages(ctx, to)
	return "warned of " + warned + ", and received", errors.Join(err,
		want("warned of", warned, "message.video.thumb_media_id"), want("messages received", len(got), 1))
}

func checkUploadimgVideo(ctx context.Context, d *demo, _ string) (string, error) {
	_, err := d.client.UploadImage(ctx, "tour.mp4", bytes.NewReader(sampleMP4()))
	var foreseen *kefu.FileError
	if !errors.As(err, &foreseen) || foreseen.Code != 40005 {
		return "", fmt.Errorf("the SDK: got %v, want 40005", err)
	}
	token, err := d.client.Tokens.Token(ctx)
	if err != nil {
		return "", err
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("media", "tour.mp4")
	if err != nil {
		return "", err
	}
	_, err = part.Write(sampleMP4())
	if err = errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	code, err := post(ctx, d.simURL+"/cgi-bin/media/uploadimg?access_token="+token.Value.Reveal(), w.FormDataContentType(), form.Bytes())
	return "foreseen, and WeChat answers 40005", errors.Join(err, want("errcode", code, 40005))
}

// post posts as a program without an SDK would, and returns the errcode answered.
// Its errors don't show the URL, which has a token in it.
func post(ctx context.Context, url, contentType string, body []byte) (errcode int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the URL can't be posted to")
	}
	req.Header.Set("Content-Type", contentType)
	res, err := plainHTTP.Do(req)
	if err != nil {
		return 0, errors.New("no answer")
	}
	defer res.Body.Close()
	var answer struct {
		ErrCode int `json:"errcode"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return 0, fmt.Errorf("the answer is not WeChat's: %w", err)
	}
	return answer.ErrCode, nil
}
