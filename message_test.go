package kefu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
)

// sample reads one of WeChat's wire samples; testdata/samples/README.md says
// where they come from.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// equalJSON compares by meaning.
func equalJSON(t testing.TB, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every sample of a send goes through the types and comes out equal.
func TestSamplesRoundTrip(t *testing.T) {
	files, _ := filepath.Glob("testdata/samples/send_*.json")
	if len(files) < 18 {
		t.Fatalf("%d samples", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in := sample(t, filepath.Base(file))
			m, err := kefu.ParseMessage(in)
			if err != nil {
				t.Fatal(err)
			}
			if _, raw := m.Body.(kefu.Raw); raw {
				t.Error("has no type of its own")
			}
			if len(m.Extra) != 0 {
				t.Errorf("members without a field: %v", m.Extra)
			}
			equalJSON(t, m.AppendJSON(nil), in)
		})
	}
}

// What the article prints, made from the types.
func TestTypesMakeTheArticlesJSON(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    kefu.Message
		want string
	}{
		{"text", kefu.Message{To: "OPENID", Body: kefu.Text{Content: "Hello World"}},
			`{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"}}`},
		{"a pointer is the same", kefu.Message{To: "OPENID", Body: &kefu.Text{Content: "Hello World"}},
			`{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"}}`},
		{"image", kefu.Message{To: "OPENID", Body: kefu.Image{MediaID: "MEDIA_ID"}},
			`{"touser":"OPENID","msgtype":"image","image":{"media_id":"MEDIA_ID"}}`},
		{"voice", kefu.Message{To: "OPENID", Body: kefu.Voice{MediaID: "MEDIA_ID"}},
			`{"touser":"OPENID","msgtype":"voice","voice":{"media_id":"MEDIA_ID"}}`},
		{"video", kefu.Message{To: "OPENID", Body: kefu.Video{MediaID: "MEDIA_ID", ThumbMediaID: "MEDIA_ID", Title: "TITLE", Description: "DESCRIPTION"}},
			`{"touser":"OPENID","msgtype":"video","video":{"media_id":"MEDIA_ID","thumb_media_id":"MEDIA_ID","title":"TITLE","description":"DESCRIPTION"}}`},
		{"music", kefu.Message{To: "OPENID", Body: kefu.Music{Title: "MUSIC_TITLE", Description: "MUSIC_DESCRIPTION", MusicURL: "MUSIC_URL", HQMusicURL: "HQ_MUSIC_URL", ThumbMediaID: "THUMB_MEDIA_ID"}},
			`{"touser":"OPENID","msgtype":"music","music":{"title":"MUSIC_TITLE","description":"MUSIC_DESCRIPTION","musicurl":"MUSIC_URL","hqmusicurl":"HQ_MUSIC_URL","thumb_media_id":"THUMB_MEDIA_ID"}}`},
		{"news of two", kefu.Message{To: "OPENID", Body: kefu.News{Articles: []kefu.Article{
			{Title: "Happy Day", Description: "Is Really A Happy Day", URL: "URL", PicURL: "PIC_URL"},
			{Title: "Happy Day", Description: "Is Really A Happy Day", URL: "URL", PicURL: "PIC_URL"}}}},
			`{"touser":"OPENID","msgtype":"news","news":{"articles":[{"title":"Happy Day","description":"Is Really A Happy Day","url":"URL","picurl":"PIC_URL"},{"title":"Happy Day","description":"Is Really A Happy Day","url":"URL","picurl":"PIC_URL"}]}}`},
		{"mpnews", kefu.Message{To: "OPENID", Body: kefu.MPNews{MediaID: "MEDIA_ID"}},
			`{"touser":"OPENID","msgtype":"mpnews","mpnews":{"media_id":"MEDIA_ID"}}`},
		{"wxcard", kefu.Message{To: "OPENID", Body: kefu.WXCard{CardID: "123dsdajkasd231jhksad"}},
			`{"touser":"OPENID","msgtype":"wxcard","wxcard":{"card_id":"123dsdajkasd231jhksad"}}`},
		{"from a kf account", kefu.Message{To: "OPENID", Body: kefu.Text{Content: "Hello World"}, KFAccount: "test1@kftest"},
			`{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"},"customservice":{"kf_account":"test1@kftest"}}`},
		{"made by AI, for a sub-merchant", kefu.Message{To: "OPENID", Body: kefu.Text{Content: "x"}, AI: true, BusinessID: "7"},
			`{"touser":"OPENID","msgtype":"text","text":{"content":"x"},"aimsgcontext":{"is_ai_msg":1},"businessid":"7"}`},
		{"a kind from the future", kefu.Message{To: "OPENID", Body: kefu.Raw{Type: "hologram", JSON: json.RawMessage(`{"id":1}`)}},
			`{"touser":"OPENID","msgtype":"hologram","hologram":{"id":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.m.AppendJSON(nil)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestWhatHasNoFieldIsKept(t *testing.T) {
	for _, in := range []string{
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"new":{"a":[1,{"b":null}]},"n":12345678901234567890}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x","style":{"bold":true}}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"image":{"media_id":"of another kind"}}`,
		`{"touser":"o","msgtype":"news","news":{"articles":[{"title":"t","author":"someone"},{"title":""}],"layout":2}}`,
		`{"touser":"o","msgtype":"msgmenu","msgmenu":{"list":[{"id":"1","content":"c","color":"red"}]}}`,
		`{"touser":"o","msgtype":"video","video":{"media_id":"m","title":"","description":null}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@b","team":"night"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"customservice":{}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"customservice":null}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"aimsgcontext":{"is_ai_msg":0}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"aimsgcontext":{"is_ai_msg":1,"msg_id":"77"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"businessid":9}`,
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"businessid":""}`,
		`{"touser":"o","msgtype":"hologram","hologram":{"a":"<&>"},"other":1}`,
		`{"touser":"o","msgtype":"text","text":{"Content":"other case","content":"x"}}`,
	} {
		m, err := kefu.ParseMessage([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got := m.AppendJSON(nil)
		if strings.Contains(in, `"customservice":{}`) { // says nothing, so nothing is said
			in = strings.Replace(in, `,"customservice":{}`, "", 1)
		}
		equalJSON(t, got, []byte(in))
	}
}

func TestAFieldReplacesItsExtra(t *testing.T) {
	m, err := kefu.ParseMessage([]byte(`{"touser":"o","msgtype":"video","video":{"media_id":"m","title":""},"customservice":{"team":"night"}}`))
	if err != nil {
		t.Fatal(err)
	}
	v := m.Body.(kefu.Video)
	v.Title = "set later"
	m.Body, m.KFAccount = v, "a@b"
	equalJSON(t, m.AppendJSON(nil), []byte(`{"touser":"o","msgtype":"video","video":{"media_id":"m","title":"set later"},"customservice":{"kf_account":"a@b","team":"night"}}`))
}

// WeChat has shown \u escapes literally, so they are used only where JSON has no
// other way to write a character.
func TestTextLeavesAsItself(t *testing.T) {
	for in, want := range map[string]string{
		`<a href="https://example.com/?a=1&b=2">链接</a>`: `<a href=\"https://example.com/?a=1&b=2\">链接</a>`,
		"一\n二\t三\r":       `一\n二\t三\r`,
		`back\slash`:      `back\\slash`,
		"😀 \u2028 \u00e9": "😀 \u2028 \u00e9",
		"\x01":            `\u0001`,
		"bad\xffbyte":     "bad\uFFFDbyte",
		"\xe4\xb8":        "\uFFFD\uFFFD",
	} {
		got := string(kefu.Message{To: "o", Body: kefu.Text{Content: in}}.AppendJSON(nil))
		if want := `{"touser":"o","msgtype":"text","text":{"content":"` + want + `"}}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseNamesPlaceAndField(t *testing.T) {
	var syntax *kefu.SyntaxError
	_, err := kefu.ParseMessage([]byte("{\n\"touser\":\"OPENID\",\n\"msgtype\":\"wxcard\",\n\"wxcard\":{\n\"card_id\":\"123\"\n},\n}"))
	if !errors.As(err, &syntax) || syntax.Line != 7 || syntax.Column != 1 || !errors.Is(err, kefu.ErrBadRequest) {
		t.Errorf("the article's trailing comma: %v, want line 7, column 1", err)
	}
	if !strings.Contains(err.Error(), "comma") {
		t.Errorf("%v, want the comma named", err)
	}
	_, err = kefu.ParseMessage([]byte("{\"touser\":\n\"\xc4\xe3\"}"))
	if !errors.As(err, &syntax) || syntax.Line != 2 || syntax.Column != 2 || !strings.Contains(err.Error(), "GBK") {
		t.Errorf("not UTF-8: %v, want line 2, column 2", err)
	}
	if _, err := kefu.ParseMessage([]byte("\uFEFF{}")); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	_, err = kefu.ParseMessage([]byte(`{"touser":"你好",`))
	if !errors.As(err, &syntax) || syntax.Line != 1 || syntax.Column != 15 {
		t.Errorf("cut off: %v, want line 1, column 15", err)
	}
	for in, location := range map[string]string{
		`[]`:  "message",
		`"x"`: "message",
		`{"touser":5,"msgtype":"text","text":{"content":"x"}}`:                                    "message.touser",
		`{"touser":"o","msgtype":["text"]}`:                                                       "message.msgtype",
		`{"touser":"o","msgtype":"text","text":"x"}`:                                              "message.text",
		`{"touser":"o","msgtype":"text","text":{"content":{}}}`:                                   "message.text.content",
		`{"touser":"o","msgtype":"news","news":{"articles":{}}}`:                                  "message.news.articles",
		`{"touser":"o","msgtype":"news","news":{"articles":[{},3]}}`:                              "message.news.articles[1]",
		`{"touser":"o","msgtype":"news","news":{"articles":[{"url":1}]}}`:                         "message.news.articles[0].url",
		`{"touser":"o","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":1}}`: "message.customservice.kf_account",
	} {
		_, err := kefu.ParseMessage([]byte(in))
		var invalid *kefu.InvalidError
		if !errors.As(err, &invalid) || invalid.Violations[0].Location != location {
			t.Errorf("%s: %v, want %s named", in, err, location)
		}
	}
}

func TestMessagePrintsWithoutWholeOpenID(t *testing.T) {
	m := kefu.Message{To: "oABCD1234567890abcdefghijklm", Body: kefu.Text{Content: strings.Repeat("长", 200)}, KFAccount: "a@b"}
	got := m.String()
	if strings.Contains(got, m.To) || !strings.HasPrefix(got, "text to oABC…jklm from a@b: ") || len(got) > 250 {
		t.Error(got)
	}
	if got := (kefu.Message{}).String(); got != "message to  without a body" {
		t.Error(got)
	}
}

func TestWhatBreaksTheJSONIsRefused(t *testing.T) {
	rules, _ := kefu.RulesFor("")
	for name, m := range map[string]kefu.Message{
		"raw under another member's name": {To: "o", Body: kefu.Raw{Type: "touser", JSON: []byte(`"oVictim"`)}},
		"extra that is not JSON":          {To: "o", Body: kefu.Text{Content: "x"}, Extra: kefu.Extra{"a": []byte(`1,"touser":"oVictim"`)}},
		"empty extra in the body":         {To: "o", Body: kefu.Text{Content: "x", Extra: kefu.Extra{"a": nil}}},
	} {
		if refused, _ := m.Check(&rules); len(refused) == 0 {
			t.Errorf("%s: passes, as %s", name, m.AppendJSON(nil))
		}
	}
	if got := string(kefu.Message{To: "o", Body: &kefu.Raw{Type: "x", JSON: []byte(`1`)}}.AppendJSON(nil)); got != `{"touser":"o","msgtype":"x","x":1}` {
		t.Errorf("a pointer to Raw: %s", got)
	}
	if got := (kefu.Message{To: "o\nx", Body: kefu.Raw{Type: "x\n", JSON: bytes.Repeat([]byte{0x80}, 300)}}).String(); strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
}

func FuzzParseMessage(f *testing.F) {
	files, _ := filepath.Glob("testdata/samples/send_*.json")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		f.Add(b)
	}
	f.Add([]byte(`{"touser":"o","msgtype":"text","text":{"content":"\ud800"},"customservice":{"x":1}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := kefu.ParseMessage(in)
		if err != nil {
			return
		}
		out := m.AppendJSON(nil)
		if !json.Valid(out) {
			t.Fatalf("%s became %s", in, out)
		}
		again, err := kefu.ParseMessage(out)
		if err != nil || !bytes.Equal(again.AppendJSON(nil), out) {
			t.Fatalf("%s became %s, then %s (%v)", in, out, again.AppendJSON(nil), err)
		}
		rules, _ := kefu.RulesFor("")
		m.Check(&rules)
		_ = m.String()
	})
}
