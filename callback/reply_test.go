package callback

import (
	"encoding/json"
	"encoding/xml"
	"reflect"
	"strings"
	"testing"
	"time"
)

// follower is who wrote, in the reply samples.
var follower = Header{ToUserName: "gh_1234567890ab", FromUserName: "oABCD1234567890abcdefghijklm"}

// Each sample of a reply comes out equal, as XML.
func TestReplies(t *testing.T) {
	all := samples(t, "reply_*.xml")
	want := map[string]Reply{
		"reply_text.xml":                      Text{"你好"},
		"reply_image.xml":                     Image{"media_id"},
		"reply_voice.xml":                     Voice{"media_id"},
		"reply_video.xml":                     Video{"media_id", "title", "description"},
		"reply_music.xml":                     Music{"TITLE", "DESCRIPTION", "MUSIC_Url", "HQ_MUSIC_Url", "media_id"},
		"reply_news.xml":                      News{[]Article{{"title1", "description1", "picurl", "url"}}},
		"reply_transfer_customer_service.xml": TransferCustomerService{},
		"reply_transfer_customer_service_to_account.xml": TransferCustomerService{"test1@test"},
	}
	if len(all) != len(want) {
		t.Errorf("%d samples, %d in the table", len(all), len(want))
	}
	for name, r := range want {
		t.Run(name, func(t *testing.T) {
			got, err := answer(follower, r, time.Unix(12345678, 0), false)
			if err != nil {
				t.Fatal(err)
			}
			if want := leaves(t, all[name]); !reflect.DeepEqual(leaves(t, string(got)), want) {
				t.Errorf("%s\nwant %s", got, all[name])
			}
		})
	}
}

// leaves reads with encoding/xml: each text in order, after the path to it.
func leaves(t *testing.T, body string) (all []string) {
	t.Helper()
	d, ok := byEncodingXML(body)
	if !ok {
		t.Fatalf("not XML: %s", body)
	}
	for i, n := range d {
		if i+1 < len(d) && d[i+1].parent == i {
			continue
		}
		path := n.name
		for p := n.parent; p >= 0; p = d[p].parent {
			path = d[p].name + "/" + path
		}
		all = append(all, path+"="+n.text)
	}
	return all
}

// Hostile text stays one text and leaves a document that XML and JSON take.
func TestReplyTextCannotBreakOut(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"end of CDATA", "a]]>b", "a]]>b"},
		{"ends of CDATA in a row", "]]>]]>", "]]>]]>"},
		{"end of CDATA, halved", "]]", "]]"},
		{"a field of its own", "]]></Content><MsgType>image</MsgType>", "]]></Content><MsgType>image</MsgType>"},
		{"markup", `<a href="https://example.com/?a=1&b=2">x</a>`, `<a href="https://example.com/?a=1&b=2">x</a>`},
		{"characters that XML has not", "a\x00\x08\uFFFEb\n", "ab\n"},
		{"an end of CDATA hidden by such a one", "]]\x00>x", "]]>x"},
		{"damaged UTF-8", "a\xffb", "a\uFFFDb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inXML, err := answer(follower, Text{tt.content}, time.Unix(1, 0), false)
			if err != nil {
				t.Fatal(err)
			}
			var x struct{ MsgType, Content string }
			if err := xml.Unmarshal(inXML, &x); err != nil || x.MsgType != "text" || x.Content != tt.want {
				t.Errorf("%s: %+v, %v", inXML, x, err)
			}
			inJSON, err := answer(follower, Text{tt.content}, time.Unix(1, 0), true)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(inJSON, &x); err != nil || x.MsgType != "text" || x.Content != strings.Map(xmlChar, tt.want) && x.Content != tt.content {
				t.Errorf("%s: %+v, %v", inJSON, x, err)
			}
		})
	}
}

func TestReplyInJSON(t *testing.T) {
	got, err := answer(Header{ToUserName: "gh_1", FromUserName: "o1"}, News{[]Article{{Title: "<你好> & \"co\"", URL: "u?a&b"}, {Title: "2"}}}, time.Unix(7, 0), true)
	want := `{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":7,"MsgType":"news","ArticleCount":2,"Articles":[` +
		`{"Title":"<你好> & \"co\"","Description":"","PicUrl":"","Url":"u?a&b"},{"Title":"2","Description":"","PicUrl":"","Url":""}]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

// What WeChat would answer with an apology to the follower is not sent.
func TestIncompleteReplies(t *testing.T) {
	for _, tt := range []struct {
		reply Reply
		want  string
	}{
		{Text{}, "Text) needs Content"},
		{Image{}, "Image) needs MediaId"},
		{Voice{}, "Voice) needs MediaId"},
		{Video{Title: "t"}, "Video) needs MediaId"},
		{Music{Title: "t"}, "Music) needs ThumbMediaId"},
		{News{}, "News) needs Articles"},
	} {
		if out, err := answer(follower, tt.reply, time.Unix(1, 0), false); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%T: %s, %v, want %q", tt.reply, out, err, tt.want)
		}
	}
}

// The envelopes of WeChat's documentation come out equal, byte by byte where the
// form is fixed.
func TestSeal(t *testing.T) {
	all := samples(t, "envelope_secure_reply.*")
	for _, v := range vectors(t) {
		if v.Name != "secure_reply_json" {
			continue
		}
		seal := func(asJSON bool) string {
			c := crypt(t, v.AppID, v.Token, v.Key)
			c.random = strings.NewReader(v.Random)
			return string(must(c.seal([]byte(v.Plain), v.Nonce, time.Unix(1713424427, 0), asJSON)))
		}
		if got, want := leaves(t, seal(false)), leaves(t, all["envelope_secure_reply.xml"]); !reflect.DeepEqual(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
		var got, want any
		if err := json.Unmarshal([]byte(seal(true)), &got); err != nil {
			t.Fatal(err)
		}
		json.Unmarshal([]byte(all["envelope_secure_reply.json"]), &want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
		return
	}
	t.Fatal("the vector is missing")
}
