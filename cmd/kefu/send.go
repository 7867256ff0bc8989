package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefu-go/kefu"
)

// A sending is one run of `kefu send`.
type sending struct {
	*program
	direct
	entrusting
	wechat  *kefu.Client // if it goes directly
	gate    *caller      // else
	files   fileTaker    // takes what it is made of
	to, kf  string
	ai      bool
	noCheck bool
	profile string // of rules
	tries   int
	asJSON  bool
}

func (p *program) sendCommand() *cobra.Command {
	s := &sending{program: p}
	cmd := &cobra.Command{
		Use:   "send TYPE|- [ARGS] --to OPENID",
		Short: "Send a message; - reads WeChat's own JSON from stdin · 发送客服消息",
		Long: "Send a message through the gateway, which keeps it, or with --direct to WeChat itself.\n" +
			"经网关发送客服消息（网关先落盘再送出）；加 --direct 则直接发给微信。\n\n" +
			"Exit code: 0 kept, or with --wait sent; 3 refused by WeChat; 4 nobody can tell; 2 wrong usage; 1 anything else.",
		Example: "  kefu send text \"你好\" --to oUser1 --wait\n  kefu send text \"你好\" --to oUser1 --direct\n  kefu send - --to oUser1 < message.json",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && args[0] == "-":
				return nil
			case len(args) > 1 && args[0] == "-":
				return usagef("kefu send - reads stdin, not %s", "kefu send - 读标准输入，不读 %s", args[1]).
					then("use: kefu send - < "+args[1], "改用 kefu send - < "+args[1])
			}
			return p.subcommand(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return s.sendStdin(cmd) },
	}
	fs := cmd.PersistentFlags()
	s.direct.flags(p, fs)
	s.entrusting.flags(p, cmd)
	fs.StringVar(&s.to, "to", "", "openid of the follower")
	fs.StringVar(&s.kf, "kf", "", "kf account that signs, NAME@ACCOUNT")
	fs.BoolVar(&s.ai, "ai", false, "let WeChat label it as made by AI")
	fs.BoolVar(&s.noCheck, "no-check", false, "send unchecked and let WeChat judge")
	fs.StringVar(&s.profile, "profile", "", "rules to check against: "+strings.Join(kefu.Profiles(), ", "))
	fs.IntVar(&s.tries, "tries", 1, "most posts, where repeating is safe")
	fs.BoolVar(&s.asJSON, "json", false, "print what became of it as JSON")
	for _, k := range s.kinds() {
		cmd.AddCommand(k)
	}
	return cmd
}

// A build makes the body of a message, and stores the files that it is made of.
type build func(ctx context.Context, to fileTaker, args []string) (kefu.Body, error)

// kinds are the commands below send: one for each kind of message.
func (s *sending) kinds() []*cobra.Command {
	kind := func(use, en, zh, example string, names []string, flags func(*pflag.FlagSet), body build) *cobra.Command {
		name, _, _ := strings.Cut(use, " ")
		cmd := &cobra.Command{
			Use: use, Short: en + " · " + zh, Example: "  kefu send " + name + " " + example + " --to oUser1", Args: arguments(names...),
			RunE: func(cmd *cobra.Command, args []string) error { return s.send(cmd, args, body) },
		}
		if flags != nil {
			flags(cmd.Flags())
		}
		return cmd
	}
	one := func(name string) []string { return []string{name} }
	return []*cobra.Command{
		kind("text TEXT", "Text; <a href> makes a link", "文本", `"你好"`, one("TEXT"), nil,
			func(_ context.Context, _ fileTaker, args []string) (kefu.Body, error) {
				return kefu.Text{Content: args[0]}, nil
			}),
		s.mediaKind("image", "A picture", "图片", "photo.jpg", func(id kefu.MediaID) kefu.Body { return kefu.Image{MediaID: id} }),
		s.mediaKind("voice", "A voice", "语音", "hello.amr", func(id kefu.MediaID) kefu.Body { return kefu.Voice{MediaID: id} }),
		s.videoKind(),
		s.musicKind(kind),
		s.newsKind(kind),
		kind("mpnews MEDIA_ID", "A draft's or material's article", "图文消息（草稿或素材）", "MEDIA_ID", one("MEDIA_ID"), nil,
			func(_ context.Context, _ fileTaker, args []string) (kefu.Body, error) {
				return kefu.MPNews{MediaID: kefu.MediaID(args[0])}, nil
			}),
		kind("mpnewsarticle ARTICLE_ID", "A published article", "已发布的图文", "ARTICLE_ID", one("ARTICLE_ID"), nil,
			func(_ context.Context, _ fileTaker, args []string) (kefu.Body, error) {
				return kefu.MPNewsArticle{ArticleID: args[0]}, nil
			}),
		s.menuKind(kind),
		kind("wxcard CARD_ID", "A coupon, looked up first unless --no-check", "卡券", "CARD_ID", one("CARD_ID"), nil,
			func(_ context.Context, _ fileTaker, args []string) (kefu.Body, error) {
				return kefu.WXCard{CardID: args[0]}, nil
			}),
		s.miniProgramKind(kind),
		s.linkKind(kind),
		s.typingKind("typing", "Show \"typing…\" for some 15 s", "显示「正在输入」", true),
		s.typingKind("cancel-typing", "End \"typing…\"", "取消「正在输入」", false),
	}
}

type kindMaker func(use, en, zh, example string, names []string, flags func(*pflag.FlagSet), body build) *cobra.Command

// fileOrID are the arguments of a kind that consists of one file: FILE, or
// --media-id.
func fileOrID(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "media-id", "", "media id, temporary or permanent, the id of an asset, or a URL, instead of FILE")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 || (len(args) == 1) == (*id != "") {
			return usagef("%s takes one FILE, or --media-id instead", "%s 需要一个文件，或 --media-id", cmd.CommandPath()).
				then("for example:\n"+cmd.Example, "例如：\n"+cmd.Example)
		}
		return nil
	}
}

func (s *sending) mediaKind(name, en, zh, example string, body func(kefu.MediaID) kefu.Body) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: name + " FILE|--media-id ID", Short: en + " · " + zh, Example: "  kefu send " + name + " " + example + " --to oUser1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.send(cmd, args, func(ctx context.Context, to fileTaker, args []string) (kefu.Body, error) {
				media, err := mediaID(ctx, to, kefu.MediaKind(name), id, args)
				return body(media), err
			})
		},
	}
	fileOrID(cmd, &id)
	return cmd
}

func (s *sending) videoKind() *cobra.Command {
	var id, thumb string
	var v kefu.Video
	cmd := &cobra.Command{
		Use: "video FILE|--media-id ID", Short: "A video with its cover · 视频",
		Example: "  kefu send video tour.mp4 --thumb cover.jpg --title \"导览\" --to oUser1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.send(cmd, args, func(ctx context.Context, to fileTaker, args []string) (kefu.Body, error) {
				var err error
				if v.MediaID, err = mediaID(ctx, to, kefu.MediaVideo, id, args); err != nil {
					return nil, err
				}
				v.ThumbMediaID, err = thumbID(ctx, to, kefu.MediaThumb, thumb)
				return v, err
			})
		},
	}
	fileOrID(cmd, &id)
	thumbFlag(cmd.Flags(), &thumb)
	cmd.Flags().StringVar(&v.Title, "title", "", "title")
	cmd.Flags().StringVar(&v.Description, "description", "", "description")
	return cmd
}

func thumbFlag(fs *pflag.FlagSet, thumb *string) {
	fs.StringVar(thumb, "thumb", "", "cover: a jpg file of up to 64 KB, a media id, the id of an asset, or a URL")
}

func (s *sending) musicKind(kind kindMaker) *cobra.Command {
	var m kefu.Music
	var thumb string
	return kind("music", "A song that plays from a URL", "音乐", `--url https://example.com/s.mp3 --thumb MEDIA_ID --title "歌"`, nil,
		func(fs *pflag.FlagSet) {
			fs.StringVar(&m.MusicURL, "url", "", "URL of the song")
			fs.StringVar(&m.HQMusicURL, "hq-url", "", "URL in high quality, preferred on wifi")
			thumbFlag(fs, &thumb)
			fs.StringVar(&m.Title, "title", "", "title")
			fs.StringVar(&m.Description, "description", "", "description")
		},
		func(ctx context.Context, to fileTaker, _ []string) (kefu.Body, error) {
			var err error
			m.ThumbMediaID, err = thumbID(ctx, to, kefu.MediaThumb, thumb)
			return m, err
		})
}

func (s *sending) newsKind(kind kindMaker) *cobra.Command {
	var one kefu.Article
	var more []string
	return kind("news", "A card that opens a page", "图文消息（外链）", `--title "通知" --url https://example.com/ --pic https://example.com/p.jpg`, nil,
		func(fs *pflag.FlagSet) {
			fs.StringVar(&one.Title, "title", "", "title")
			fs.StringVar(&one.Description, "description", "", "description")
			fs.StringVar(&one.URL, "url", "", "page that it opens")
			fs.StringVar(&one.PicURL, "pic", "", "picture: a URL, or a jpg or png file to upload with uploadimg")
			fs.StringArrayVar(&more, "article", nil, `a whole article as JSON, {"title","description","url","picurl"}; may be repeated`)
		},
		func(ctx context.Context, to fileTaker, _ []string) (kefu.Body, error) {
			var news kefu.News
			if one.Title+one.Description+one.URL+one.PicURL != "" {
				news.Articles = append(news.Articles, one)
			}
			for _, a := range more {
				article, err := parseArticle(a)
				if err != nil {
					return nil, err
				}
				news.Articles = append(news.Articles, article)
			}
			for i := range news.Articles {
				if err := picture(ctx, to, &news.Articles[i].PicURL); err != nil {
					return nil, err
				}
			}
			return news, nil
		})
}

// parseArticle reads one article as WeChat's JSON has it, and nothing around it.
func parseArticle(s string) (kefu.Article, error) {
	not := func(err error) error {
		f := usagef("--article %q is not an article", "--article %q 不是一篇图文", s).
			then(`for example --article '{"title":"通知","url":"https://example.com/"}'`, `例如 --article '{"title":"通知","url":"https://example.com/"}'`)
		f.cause = err
		return f
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &object); err != nil {
		return kefu.Article{}, not(err)
	}
	m, err := kefu.ParseMessage([]byte(`{"touser":"","msgtype":"news","news":{"articles":[` + s + `]}}`))
	if err != nil {
		return kefu.Article{}, not(err)
	}
	news, ok := m.Body.(kefu.News)
	if !ok || len(news.Articles) != 1 {
		return kefu.Article{}, not(nil)
	}
	return news.Articles[0], nil
}

func (s *sending) menuKind(kind kindMaker) *cobra.Command {
	var m kefu.MsgMenu
	var items []string
	return kind("msgmenu", "A question with answers to tap", "菜单消息", `--head "满意吗？" --item 101=满意 --item 102=不满意`, nil,
		func(fs *pflag.FlagSet) {
			fs.StringVar(&m.Head, "head", "", "text above")
			fs.StringArrayVar(&items, "item", nil, "answer, ID=CONTENT; may be repeated")
			fs.StringVar(&m.Tail, "tail", "", "text below")
		},
		func(context.Context, fileTaker, []string) (kefu.Body, error) {
			for _, item := range items {
				id, content, ok := strings.Cut(item, "=")
				if !ok {
					return nil, usagef("--item %q is not of the form ID=CONTENT", "--item %q 的格式应为 ID=内容", item)
				}
				m.Items = append(m.Items, kefu.MenuItem{ID: id, Content: content})
			}
			return m, nil
		})
}

func (s *sending) miniProgramKind(kind kindMaker) *cobra.Command {
	var m kefu.MiniProgramPage
	var thumb string
	return kind("miniprogrampage", "A card that opens a mini program", "小程序卡片", `--appid wx… --path pages/index --title "小程序" --thumb MEDIA_ID`, nil,
		func(fs *pflag.FlagSet) {
			fs.StringVar(&m.AppID, "appid", "", "appid of the mini program, which must be linked to the account")
			fs.StringVar(&m.PagePath, "path", "", "page, as in app.json; may carry a query")
			fs.StringVar(&m.Title, "title", "", "title")
			thumbFlag(fs, &thumb)
		},
		func(ctx context.Context, to fileTaker, _ []string) (kefu.Body, error) {
			var err error
			m.ThumbMediaID, err = thumbID(ctx, to, kefu.MediaImage, thumb)
			return m, err
		})
}

func (s *sending) linkKind(kind kindMaker) *cobra.Command {
	var l kefu.Link
	return kind("link", "A link; mini-program accounts only", "链接（仅小程序账号）", `--title "通知" --url https://example.com/`, nil,
		func(fs *pflag.FlagSet) {
			fs.StringVar(&l.Title, "title", "", "title")
			fs.StringVar(&l.Description, "description", "", "description")
			fs.StringVar(&l.URL, "url", "", "page that it opens")
			fs.StringVar(&l.ThumbURL, "thumb-url", "", "URL of its picture")
		},
		func(context.Context, fileTaker, []string) (kefu.Body, error) { return l, nil })
}

func (s *sending) typingKind(name, en, zh string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: en + " · " + zh, Example: "  kefu send " + name + " --to oUser1", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, err := cmd.Context(), s.ready(cmd)
			switch {
			case err != nil:
				return err
			case s.gate != nil:
				account, err := s.gate.theAccount(ctx, s.appid)
				if err != nil {
					return err
				}
				if err := s.gate.Typing(ctx, account, s.to, on); err != nil {
					return s.gate.explained(err)
				}
			case on:
				err = s.wechat.Typing(ctx, s.to)
			default:
				err = s.wechat.CancelTyping(ctx, s.to)
			}
			if err != nil {
				return s.report(kefu.Response{}, err)
			}
			return s.report(kefu.Response{ErrMsg: "ok"}, nil)
		},
	}
}

// way opens the way to WeChat or to the gateway.
func (s *sending) way(cmd *cobra.Command) (err error) {
	if err = oneWay(cmd, s.direct.yes); err != nil {
		return err
	}
	if s.tries < 1 {
		return usagef("--tries is %d; it is 1 or more", "--tries 是 %d；应为 1 以上", s.tries)
	}
	if s.direct.yes {
		if s.wechat, err = s.client(s.program); err == nil {
			s.wechat.NoCheck, s.files = s.noCheck, wechatFiles{s.wechat}
			s.wechat.Rules, err = rulesFor(s.profile)
		}
		return err
	}
	s.gate, err = s.entrance.open(cmd.Context(), s.program)
	s.files = gatewayFiles{s.gate, s.appid}
	return err
}

// rulesFor are the rules of a profile that a flag has named.
func rulesFor(profile string) (*kefu.Rules, error) {
	rules, err := kefu.RulesFor(profile)
	if err != nil {
		return nil, usagef("there is no profile %q", "没有规则 %q", profile).
			then("there are "+strings.Join(kefu.Profiles(), ", "), "可选："+strings.Join(kefu.Profiles(), "、"))
	}
	return &rules, nil
}

// ready opens the way if there is somebody to send to.
func (s *sending) ready(cmd *cobra.Command) error {
	if s.to == "" {
		return usagef("--to is missing", "缺少 --to").then("add --to OPENID", "加上 --to OPENID")
	}
	return s.way(cmd)
}

func (s *sending) send(cmd *cobra.Command, args []string, body build) error {
	if err := s.ready(cmd); err != nil {
		return err
	}
	m := kefu.Message{To: s.to}
	var err error
	if m.Body, err = body(cmd.Context(), s.files, args); err != nil {
		return s.report(kefu.Response{}, err)
	}
	if err := s.missing(cmd, m); err != nil {
		return err
	}
	return s.sendMessage(cmd.Context(), m)
}

// flagOf names the flags that fill required members.
var flagOf = map[string]string{
	"musicurl": "url", "thumb_media_id": "thumb", "articles": "title", "list": "item", "title": "title", "appid": "appid", "pagepath": "path",
}

// missing refuses a message that lacks what a flag of cmd would have given.
func (s *sending) missing(cmd *cobra.Command, m kefu.Message) error {
	rules, err := rulesFor(s.profile)
	if err != nil || s.noCheck {
		return err
	}
	var flags []string
	refused, _ := m.Check(rules)
	for _, v := range refused {
		flag := flagOf[v.Location[strings.LastIndexByte(v.Location, '.')+1:]]
		if v.Rule == "required" && cmd.Flags().Lookup(flag) != nil {
			flags = append(flags, "--"+flag)
		}
	}
	switch len(flags) {
	case 0:
		return nil
	case 1:
		return usagef("%s is missing", "缺少 %s", flags[0]).then("for example:\n"+cmd.Example, "例如：\n"+cmd.Example)
	}
	return usagef("%s are missing", "缺少 %s", strings.Join(flags, ", ")).then("for example:\n"+cmd.Example, "例如：\n"+cmd.Example)
}

func (s *sending) sendMessage(ctx context.Context, m kefu.Message) error {
	if s.kf != "" {
		m.KFAccount = s.kf
	}
	m.AI = m.AI || s.ai
	if s.gate != nil {
		return s.entrust(ctx, s.gate, m.AppendJSON(nil))
	}
	c := s.wechat
	if card, ok := m.Body.(kefu.WXCard); ok && !s.noCheck && card.CardID != "" {
		if err := unposted(c.CheckCard(ctx, card.CardID)); err != nil {
			return s.report(kefu.Response{}, err)
		}
	}
	if s.tries == 1 {
		return s.report(c.Send(ctx, m))
	}
	sender := &kefu.Sender{Client: c, Tries: s.tries, Log: slog.New(slog.NewTextHandler(s.stderr, nil))}
	return s.report(sender.Send(ctx, m))
}

// mostStdin is far more than WeChat takes.
const mostStdin = 1 << 20

func (s *sending) sendStdin(cmd *cobra.Command) error {
	if err := s.way(cmd); err != nil {
		return err
	}
	body, err := s.readStdin()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return usagef("stdin is empty", "标准输入是空的").then("give it a message: kefu send - < message.json", "给它一条消息：kefu send - < message.json")
	}
	m, err := kefu.ParseMessage(body)
	if m.To != "" && s.to != "" && m.To != s.to { // also where WeChat is to judge the rest
		return usagef("the JSON says touser %s, and --to says %s", "JSON 里的 touser 是 %s，而 --to 是 %s", m.To, s.to).
			then("leave one of them out", "去掉其中一个")
	}
	if s.noCheck {
		if s.to != "" || s.kf != "" || s.ai || s.tries != 1 {
			s.say("note: with --no-check the bytes go as they are, once; --to, --kf, --ai and --tries do not apply",
				"注意：--no-check 时原样发送一次；--to、--kf、--ai、--tries 不起作用")
		}
		return s.report(s.wechat.SendJSON(cmd.Context(), body))
	}
	if err != nil {
		return s.report(kefu.Response{}, err)
	}
	if s.gate != nil && s.to == "" && s.kf == "" && !s.ai {
		return s.entrust(cmd.Context(), s.gate, body)
	}
	if s.to != "" {
		m.To = s.to
	}
	return s.sendMessage(cmd.Context(), m)
}

// A result is what became of a message, for scripts.
type result struct {
	State    string           `json:"state"`             // sent, failed or unknown
	ErrCode  *int             `json:"errcode,omitempty"` // missing if WeChat was not asked, or did not say
	ErrMsg   string           `json:"errmsg,omitempty"`
	RID      string           `json:"rid,omitempty"`
	Class    kefu.Class       `json:"class,omitempty"`
	Advice   string           `json:"advice,omitempty"`
	Error    string           `json:"error,omitempty"`
	Errors   []kefu.Violation `json:"errors,omitempty"`
	Warnings []kefu.Violation `json:"warnings,omitempty"`
}

func (s *sending) result(res kefu.Response, err error) result {
	r := result{State: "sent", ErrCode: &res.ErrCode, ErrMsg: res.ErrMsg, Warnings: res.Warnings}
	if err == nil {
		return r
	}
	r.ErrCode = nil
	r.State, r.Class, r.Error = "failed", kefu.ClassOf(err), err.Error()
	r.Advice = r.Class.Advice(s.lang())
	var refused *kefu.Error
	var invalid *kefu.InvalidError
	switch {
	case errors.As(err, &refused):
		r.ErrCode, r.ErrMsg, r.RID = &refused.Code, refused.Msg, refused.RID
		if r.Class != kefu.ErrNotDelivered { // else it is the token that was refused
			r.Advice = refused.Explain().Advice(s.lang())
		}
	case errors.As(err, &invalid):
		r.Errors = invalid.Violations
	case r.Class == kefu.ErrUnknownOutcome:
		r.State = "unknown"
	}
	return r
}

// report says what became of a message.
func (s *sending) report(res kefu.Response, err error) error {
	for _, w := range res.Warnings {
		s.say("warning: %[1]s %[2]s (source: %[4]s)", "警告：%[1]s %[3]s（来源：%[4]s）", w.Location, w.Message, w.Zh, w.Source)
	}
	var unwritten error
	switch {
	case s.asJSON:
		unwritten = s.json(s.result(res, err))
	case err == nil:
		_, unwritten = io.WriteString(s.stdout, inert(res.String())+"\n")
	}
	if err == nil && unwritten != nil {
		f := failf("WeChat accepted it, but its answer can't be written", "微信已收下，但无法输出它的应答").then("don't send it again", "不要再发一次")
		f.cause = unwritten
		return f
	}
	return errors.Join(err, unwritten)
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
