package callback

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Reply is a passive reply: the answer that rides on the response to a push.
// It uses no allowance, but there is one at most, it must be there within 5 s,
// and nobody learns whether it was taken. Only this package implements it: [Text],
// [Image], [Voice], [Video], [Music], [News] and [TransferCustomerService].
// A media id may be a temporary or a permanent one; WeChat takes no GIF.
type Reply interface{ reply() fields }

// Text is plain text; WeChat renders <a href> links in it.
type Text struct{ Content string }

// Image is a picture.
type Image struct{ MediaID string }

// Voice is a voice message.
type Voice struct{ MediaID string }

// Video is a video; Title and Description are optional.
type Video struct {
	MediaID     string
	Title       string
	Description string
}

// Music is a song; all but ThumbMediaID is optional.
type Music struct {
	Title        string
	Description  string
	MusicURL     string
	HQMusicURL   string // preferred on wifi
	ThumbMediaID string
}

// News is a card that leads to a page. Since 2018-10-12 WeChat takes one article
// in answer to most pushes; it took 8 before.
type News struct{ Articles []Article }

// An Article is one card of [News].
type Article struct {
	Title       string
	Description string
	PicURL      string
	URL         string
}

// TransferCustomerService hands the follower's message to WeChat's own customer
// service. With a KfAccount it is bound to that worker even if they are offline
// or full, and nobody else sees it: look at the online list first. Answer only
// messages with it, not events.
type TransferCustomerService struct {
	KfAccount string // "name@account", or "" for whoever is free
}

func (r Text) reply() fields {
	return fields{{"MsgType", "text"}, {"Content", required(r.Content)}}
}

func (r Image) reply() fields {
	return fields{{"MsgType", "image"}, {"Image", fields{{"MediaId", required(r.MediaID)}}}}
}

func (r Voice) reply() fields {
	return fields{{"MsgType", "voice"}, {"Voice", fields{{"MediaId", required(r.MediaID)}}}}
}

func (r Video) reply() fields {
	return fields{{"MsgType", "video"}, {"Video", fields{
		{"MediaId", required(r.MediaID)}, {"Title", r.Title}, {"Description", r.Description},
	}}}
}

func (r Music) reply() fields {
	return fields{{"MsgType", "music"}, {"Music", fields{
		{"Title", r.Title}, {"Description", r.Description}, {"MusicUrl", r.MusicURL}, {"HQMusicUrl", r.HQMusicURL},
		{"ThumbMediaId", required(r.ThumbMediaID)},
	}}}
}

func (r News) reply() fields {
	var articles items
	for _, a := range r.Articles {
		articles = append(articles, fields{{"Title", a.Title}, {"Description", a.Description}, {"PicUrl", a.PicURL}, {"Url", a.URL}})
	}
	return fields{{"MsgType", "news"}, {"ArticleCount", int64(len(articles))}, {"Articles", articles}}
}

func (r TransferCustomerService) reply() fields {
	f := fields{{"MsgType", "transfer_customer_service"}}
	if r.KfAccount != "" {
		f = append(f, field{"TransInfo", fields{{"KfAccount", r.KfAccount}}})
	}
	return f
}

// answer writes r as the answer to a push, in XML or JSON.
func answer(to Header, r Reply, now time.Time, asJSON bool) ([]byte, error) {
	f := append(fields{{"ToUserName", to.FromUserName}, {"FromUserName", to.ToUserName}, {"CreateTime", now.Unix()}}, r.reply()...)
	if name := f.missing(); name != "" {
		return nil, fmt.Errorf("callback: a reply (%T) needs %s", r, name)
	}
	return f.encode(asJSON), nil
}

// seal encrypts an answer and signs it.
func (c *Crypt) seal(plain []byte, nonce string, now time.Time, asJSON bool) ([]byte, error) {
	encrypt, err := c.Encrypt(plain)
	if err != nil {
		return nil, err
	}
	signature := Signature(c.token, strconv.FormatInt(now.Unix(), 10), nonce, encrypt)
	return fields{{"Encrypt", encrypt}, {"MsgSignature", signature}, {"TimeStamp", now.Unix()}, {"Nonce", nonce}}.encode(asJSON), nil
}

// Fields are what an answer consists of, in order, in either form.
type (
	fields []field
	field  struct {
		name  string
		value any // string, required, int64, fields or items
	}
	required string   // must not be empty
	items    []fields // at least one; in XML each is an element called item
)

// missing names a field that must not be empty and is.
func (f fields) missing() string {
	for _, f := range f {
		name := ""
		switch v := f.value.(type) {
		case required:
			if v == "" {
				name = f.name
			}
		case items:
			if len(v) == 0 {
				name = f.name
			}
		case fields:
			name = v.missing()
		}
		if name != "" {
			return name
		}
	}
	return ""
}

func (f fields) encode(asJSON bool) []byte {
	if asJSON {
		return f.appendJSON(nil)
	}
	return append(f.appendXML([]byte("<xml>")), "</xml>"...)
}

func (f fields) appendXML(b []byte) []byte {
	for _, f := range f {
		b = append(append(append(b, '<'), f.name...), '>')
		switch v := f.value.(type) {
		case string:
			b = appendCDATA(b, v)
		case required:
			b = appendCDATA(b, string(v))
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case fields:
			b = v.appendXML(b)
		case items:
			for _, item := range v {
				b = fields{{"item", item}}.appendXML(b)
			}
		}
		b = append(append(append(b, "</"...), f.name...), '>')
	}
	return b
}

// appendCDATA splits the one text that a CDATA section can't hold, its own end,
// between two.
func appendCDATA(b []byte, s string) []byte {
	s = strings.ReplaceAll(strings.Map(xmlChar, s), "]]>", "]]]]><![CDATA[>")
	return append(append(append(b, "<![CDATA["...), s...), "]]>"...)
}

// xmlChar drops the characters that XML may not have: for one of them WeChat
// would refuse the whole answer.
func xmlChar(r rune) rune {
	if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF' {
		return -1
	}
	return r
}

func (f fields) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for i, f := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, f.name), ':')
		switch v := f.value.(type) {
		case string:
			b = appendString(b, v)
		case required:
			b = appendString(b, string(v))
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case fields:
			b = v.appendJSON(b)
		case items:
			for i, item := range v {
				b = item.appendJSON(append(b, "[,"[min(i, 1)]))
			}
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	w := bytes.NewBuffer(b)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // WeChat may show \u003c as it stands
	e.Encode(s)            // a string and a buffer can't fail
	return bytes.TrimSuffix(w.Bytes(), []byte("\n"))
}
