package kefu_test

import (
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
)

// The limits of each field, at the border and one beyond.
func TestCheck(t *testing.T) {
	article := kefu.Article{Title: "t", URL: "https://example.com/"}
	for _, tt := range []struct {
		name    string
		profile string
		m       kefu.Message
		field   string // "" for a sound message
		code    int
		warn    bool
	}{
		{"text of 2048 bytes", "", to(kefu.Text{Content: strings.Repeat("x", 2048)}), "", 0, false},
		{"text of 2049 bytes", "", to(kefu.Text{Content: strings.Repeat("x", 2049)}), "message.text.content", 45002, false},
		{"bytes, not runes: 682 characters are 2046", "", to(kefu.Text{Content: strings.Repeat("长", 682)}), "", 0, false},
		{"bytes, not runes: 683 characters are 2049", "", to(kefu.Text{Content: strings.Repeat("长", 683)}), "message.text.content", 45002, false},
		{"GBK instead of UTF-8", "", to(kefu.Text{Content: "ok \xc4\xe3\xba\xc3"}), "message.text.content", 47001, false},
		{"empty text", "", to(kefu.Text{}), "message.text.content", 44004, false},
		{"nobody", "", kefu.Message{Body: kefu.Text{Content: "x"}}, "message.touser", 40003, false},
		{"no body", "", kefu.Message{To: "o"}, "message.msgtype", 40008, false},
		{"image without id", "", to(kefu.Image{}), "message.image.media_id", 41006, false},
		{"voice without id", "", to(kefu.Voice{}), "message.voice.media_id", 41006, false},
		{"video without id", "", to(kefu.Video{ThumbMediaID: "t"}), "message.video.media_id", 41006, false},
		{"video without cover: sources differ", "", to(kefu.Video{MediaID: "v"}), "message.video.thumb_media_id", 41006, true},
		{"music without cover", "", to(kefu.Music{MusicURL: "u", HQMusicURL: "u", Title: "t", Description: "d"}), "message.music.thumb_media_id", 41006, false},
		{"music without title: sources differ", "", to(kefu.Music{MusicURL: "u", HQMusicURL: "u", Description: "d", ThumbMediaID: "t"}), "message.music.title", 40035, true},
		{"music without description: sources differ", "", to(kefu.Music{MusicURL: "u", HQMusicURL: "u", Title: "t", ThumbMediaID: "t"}), "message.music.description", 40035, true},
		{"music without hq URL: sources differ", "", to(kefu.Music{MusicURL: "u", Title: "t", Description: "d", ThumbMediaID: "t"}), "message.music.hqmusicurl", 40035, true},
		{"music without URL", "", to(kefu.Music{HQMusicURL: "u", Title: "t", Description: "d", ThumbMediaID: "t"}), "message.music.musicurl", 40035, false},
		{"one article", "", to(kefu.News{Articles: []kefu.Article{article}}), "", 0, false},
		{"no article", "", to(kefu.News{}), "message.news.articles", 44003, false},
		{"two articles today", "", to(kefu.News{Articles: []kefu.Article{article, article}}), "message.news.articles", 45008, false},
		{"eight articles in the article's time", "legacy_48h", to(kefu.News{Articles: make8(article)}), "", 0, false},
		{"nine articles in the article's time", "legacy_48h", to(kefu.News{Articles: append(make8(article), article)}), "message.news.articles", 45008, false},
		{"title of 513 bytes: no number known", "", to(kefu.News{Articles: []kefu.Article{{Title: strings.Repeat("x", 513)}}}), "message.news.articles[0].title", 45003, true},
		{"mpnews without id", "", to(kefu.MPNews{}), "message.mpnews.media_id", 41006, false},
		{"article without id", "", to(kefu.MPNewsArticle{}), "message.mpnewsarticle.article_id", 40035, false},
		{"menu", "", to(kefu.MsgMenu{Items: []kefu.MenuItem{{ID: "1", Content: "c"}}}), "", 0, false},
		{"menu without items", "", to(kefu.MsgMenu{Head: "h"}), "message.msgmenu.list", 40035, false},
		{"second item without content", "", to(kefu.MsgMenu{Items: []kefu.MenuItem{{ID: "1", Content: "c"}, {ID: "2"}}}), "message.msgmenu.list[1].content", 40035, false},
		{"card without id", "", to(kefu.WXCard{}), "message.wxcard.card_id", 40035, false},
		{"mini program without page", "", to(kefu.MiniProgramPage{Title: "t", AppID: "a", ThumbMediaID: "m"}), "message.miniprogrampage.pagepath", 40035, false},
		{"raw is not judged", "", to(kefu.Raw{Type: "hologram", JSON: []byte(`{}`)}), "", 0, false},
		{"raw must be JSON", "", to(kefu.Raw{Type: "hologram", JSON: []byte(`{`)}), "message.hologram", 47001, false},
		{"kf account", "", kefu.Message{To: "o", Body: kefu.Text{Content: "x"}, KFAccount: "test1@kftest"}, "", 0, false},
		{"kf account without @", "", kefu.Message{To: "o", Body: kefu.Text{Content: "x"}, KFAccount: "test1"}, "message.customservice.kf_account", 65401, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := kefu.RulesFor(tt.profile)
			if err != nil {
				t.Fatal(err)
			}
			refused, warned := tt.m.Check(&rules)
			all := append(refused, warned...)
			if tt.field == "" {
				if len(all) != 0 {
					t.Errorf("broken: %v", all)
				}
				return
			}
			if len(all) != 1 || all[0].Location != tt.field || all[0].Code != tt.code || (len(warned) == 1) != tt.warn {
				t.Fatalf("refused %v, warned %v; want %s with %d, as a warning %v", refused, warned, tt.field, tt.code, tt.warn)
			}
			if v := all[0]; v.Message == "" || v.Zh == "" || v.Source == "" {
				t.Errorf("says too little: %+v", v)
			}
		})
	}
}

func to(b kefu.Body) kefu.Message { return kefu.Message{To: "oUser1", Body: b} }

func make8(a kefu.Article) []kefu.Article { return []kefu.Article{a, a, a, a, a, a, a, a} }

// The tables agree with the contract, cell by cell.
func TestProfiles(t *testing.T) {
	const day2, minute = 48 * 3600, 60
	for _, tt := range []struct {
		profile  string
		want     map[kefu.Trigger][2]int
		articles int
		over     int
	}{
		{"service_current", map[kefu.Trigger][2]int{kefu.UserMessage: {5, day2}, kefu.Menu: {3, minute}, kefu.Follow: {3, minute}, kefu.Scan: {3, minute}, kefu.Payment: {kefu.Unlimited, day2}}, 1, 45008},
		{"subscription_current", map[kefu.Trigger][2]int{kefu.UserMessage: {5, day2}, kefu.Menu: {3, minute}, kefu.Follow: {3, minute}, kefu.Scan: {3, minute}}, 1, 45008},
		{"legacy_2021", map[kefu.Trigger][2]int{kefu.UserMessage: {20, day2}, kefu.Menu: {3, minute}, kefu.Follow: {3, minute}, kefu.Scan: {3, minute}, kefu.Payment: {20, day2}}, 1, 45008},
		{"legacy_48h", map[kefu.Trigger][2]int{kefu.UserMessage: {20, day2}, kefu.Menu: {20, day2}, kefu.Follow: {20, day2}, kefu.Scan: {20, day2}, kefu.Payment: {20, day2}, kefu.Rights: {20, day2}}, 8, 0},
	} {
		r, err := kefu.RulesFor(tt.profile)
		if err != nil {
			t.Fatal(err)
		}
		for _, trigger := range kefu.Triggers() {
			a, want := r.Allowances[trigger], tt.want[trigger]
			if a.Max != want[0] || int(a.For.Seconds()) != want[1] {
				t.Errorf("%s, %s: %d in %v, want %d in %d s", tt.profile, trigger, a.Max, a.For, want[0], want[1])
			}
		}
		if r.Articles != tt.articles || r.OverArticles != tt.over || r.Zh == "" || r.En == "" || r.Source == "" {
			t.Errorf("%s: %+v", tt.profile, r)
		}
	}
	if got := kefu.Profiles(); len(got) != 4 || got[0] != kefu.DefaultProfile {
		t.Error(got)
	}
	if _, err := kefu.RulesFor("service"); err == nil || !strings.Contains(err.Error(), "service_current") {
		t.Errorf("an unknown profile: %v, want the known ones named", err)
	}
}

func TestRulesAreCopies(t *testing.T) {
	r, _ := kefu.RulesFor("")
	r.Allowances[kefu.Menu] = kefu.Allowance{}
	r.Limits[0].Code = 1
	if again, _ := kefu.RulesFor(""); again.Allowances[kefu.Menu].Max != 3 || again.Limits[0].Code == 1 {
		t.Error("changing a copy changed the table")
	}
}

func TestEveryRowHasASource(t *testing.T) {
	r, _ := kefu.RulesFor("")
	for _, l := range r.Limits {
		if l.Source == "" || l.Date == "" || l.Code == 0 || !kefu.Explain("", l.Code).Known {
			t.Errorf("%+v", l)
		}
	}
	for _, m := range kefu.MediaLimits() {
		if m.Source == "" || m.Date == "" || m.MaxBytes == 0 || !kefu.Explain("", m.CodeSize).Known || !kefu.Explain("", m.CodeFormat).Known {
			t.Errorf("%+v", m)
		}
	}
}
func TestAllowanceSource(t *testing.T) {
	for _, profile := range kefu.Profiles() {
		r, err := kefu.RulesFor(profile)
		if err != nil {
			t.Fatal(err)
		}
		for _, trigger := range kefu.Triggers() {
			source, date := kefu.AllowanceSource(profile, trigger)
			if _, gives := r.Allowances[trigger]; gives != (source != "") || gives != (len(date) == len("2026-11-23")) {
				t.Errorf("%s, %s: an allowance: %v, its source %q of %q", profile, trigger, gives, source, date)
			}
		}
	}
	if source, _ := kefu.AllowanceSource("nosuch", kefu.Menu); source != "" {
		t.Errorf("an unknown profile has the source %q", source)
	}
}
