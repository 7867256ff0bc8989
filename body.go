package kefu

import "encoding/json"

// A Body is what a [Message] says. Only this package implements it; for a
// msgtype that this version does not know there is [Raw]. The limits of each
// field, with their sources, are rows of rules/limits.tsv (see `kefu rules`).
type Body interface {
	// MsgType is WeChat's name of the kind, "text".
	MsgType() string
	visit(*codec)
}

// A MediaID names a picture, voice, video or cover that WeChat holds: a
// [TemporaryID] (3 days) or a [PermanentID], converted.
type MediaID string

// Text is plain text, up to 2048 bytes of UTF-8. WeChat draws <a href="…"> as a
// link, also with data-miniprogram-appid and data-miniprogram-path; "\n" breaks
// the line.
type Text struct {
	Content string
	Extra   Extra
}

// Image is a picture.
type Image struct {
	MediaID MediaID
	Extra   Extra
}

// Voice is a voice of up to 60 s.
type Voice struct {
	MediaID MediaID
	Extra   Extra
}

// Video is a video. WeChat's page requires the cover; many callers leave it out
// and are served, so a missing one is only warned about.
type Video struct {
	MediaID      MediaID
	ThumbMediaID MediaID
	Title        string
	Description  string
	Extra        Extra
}

// Music is a song that plays from a URL of yours. HQMusicURL is preferred on
// wifi.
type Music struct {
	Title        string
	Description  string
	MusicURL     string
	HQMusicURL   string
	ThumbMediaID MediaID
	Extra        Extra
}

// News is a card that opens a page of yours (图文消息，点击跳转到外链): one
// article since 2018-10-12; eight under the rules of legacy_48h.
type News struct {
	Articles []Article
	Extra    Extra
}

// An Article is one entry of [News]. PicURL may be any public JPG or PNG; 640*320
// looks best, 80*80 for a small one. See [Client.UploadImage] for a URL.
type Article struct {
	Title       string
	Description string
	URL         string
	PicURL      string
	Extra       Extra
}

// MPNews is a card that opens an article of the account (图文消息，点击跳转到图文
// 消息页面), by the media id of a draft or material. WeChat is replacing it by
// [MPNewsArticle].
type MPNews struct {
	MediaID MediaID
	Extra   Extra
}

// MPNewsArticle is a card that opens a published article, by the article id that
// [Client.Publication] reports.
type MPNewsArticle struct {
	ArticleID string
	Extra     Extra
}

// MsgMenu is a question with answers to tap (msgmenu). A tap comes back as a text
// message that carries the item's id, and counts as a menu tap, not as a user
// message: it opens 3 messages in 1 minute.
type MsgMenu struct {
	Head  string
	Items []MenuItem
	Tail  string
	Extra Extra
}

// A MenuItem is one answer of a [MsgMenu].
type MenuItem struct {
	ID      string
	Content string
	Extra   Extra
}

// WXCard is a coupon. Cards with codes of your own (use_custom_code) can't be
// sent unless the codes were imported; see [Client.CheckCard].
type WXCard struct {
	CardID string
	Extra  Extra
}

// MiniProgramPage is a card that opens a page of a mini program, which must be
// linked to the account. The cover is best at 520*416.
type MiniProgramPage struct {
	Title        string
	AppID        string
	PagePath     string // as in app.json; may carry a query
	ThumbMediaID MediaID
	Extra        Extra
}

// Link is a card with a link; only mini-program accounts may send it.
type Link struct {
	Title       string
	Description string
	URL         string
	ThumbURL    string
	Extra       Extra
}

// Raw is a body of a kind that this package does not model: JSON is the value of
// the member that has the kind's name. It is sent as it is.
type Raw struct {
	Type string
	JSON json.RawMessage
}

func (Text) MsgType() string            { return "text" }
func (Image) MsgType() string           { return "image" }
func (Voice) MsgType() string           { return "voice" }
func (Video) MsgType() string           { return "video" }
func (Music) MsgType() string           { return "music" }
func (News) MsgType() string            { return "news" }
func (MPNews) MsgType() string          { return "mpnews" }
func (MPNewsArticle) MsgType() string   { return "mpnewsarticle" }
func (MsgMenu) MsgType() string         { return "msgmenu" }
func (WXCard) MsgType() string          { return "wxcard" }
func (MiniProgramPage) MsgType() string { return "miniprogrampage" }
func (Link) MsgType() string            { return "link" }
func (r Raw) MsgType() string           { return r.Type }

// decoders is what exists: a msgtype that is not here is read as Raw.
var decoders = map[string]func(*codec) Body{
	"text":            decode[Text],
	"image":           decode[Image],
	"voice":           decode[Voice],
	"video":           decode[Video],
	"music":           decode[Music],
	"news":            decode[News],
	"mpnews":          decode[MPNews],
	"mpnewsarticle":   decode[MPNewsArticle],
	"msgmenu":         decode[MsgMenu],
	"wxcard":          decode[WXCard],
	"miniprogrampage": decode[MiniProgramPage],
	"link":            decode[Link],
}

// MsgTypes returns the kinds that have a type here, in the order of WeChat's page.
func MsgTypes() []string {
	return []string{"text", "image", "voice", "video", "music", "news", "mpnews", "mpnewsarticle",
		"msgmenu", "wxcard", "miniprogrampage", "link"}
}

func decode[T any, P interface {
	*T
	walk(*codec)
}](c *codec) Body {
	var b T
	P(&b).walk(c)
	return any(b).(Body)
}

func (b Text) visit(c *codec)            { b.walk(c) }
func (b Image) visit(c *codec)           { b.walk(c) }
func (b Voice) visit(c *codec)           { b.walk(c) }
func (b Video) visit(c *codec)           { b.walk(c) }
func (b Music) visit(c *codec)           { b.walk(c) }
func (b News) visit(c *codec)            { b.walk(c) }
func (b MPNews) visit(c *codec)          { b.walk(c) }
func (b MPNewsArticle) visit(c *codec)   { b.walk(c) }
func (b MsgMenu) visit(c *codec)         { b.walk(c) }
func (b WXCard) visit(c *codec)          { b.walk(c) }
func (b MiniProgramPage) visit(c *codec) { b.walk(c) }
func (b Link) visit(c *codec)            { b.walk(c) }
func (Raw) visit(*codec)                 {}

func (b *Text) walk(c *codec) {
	c.begin(b.Extra)
	c.text("content", &b.Content, always)
	c.end(&b.Extra)
}

func (b *Image) walk(c *codec) {
	c.begin(b.Extra)
	c.text("media_id", (*string)(&b.MediaID), always)
	c.end(&b.Extra)
}

func (b *Voice) walk(c *codec) {
	c.begin(b.Extra)
	c.text("media_id", (*string)(&b.MediaID), always)
	c.end(&b.Extra)
}

func (b *Video) walk(c *codec) {
	c.begin(b.Extra)
	c.text("media_id", (*string)(&b.MediaID), always)
	c.text("thumb_media_id", (*string)(&b.ThumbMediaID), present)
	c.text("title", &b.Title, present)
	c.text("description", &b.Description, present)
	c.end(&b.Extra)
}

func (b *Music) walk(c *codec) {
	c.begin(b.Extra)
	c.text("title", &b.Title, present)
	c.text("description", &b.Description, present)
	c.text("musicurl", &b.MusicURL, always)
	c.text("hqmusicurl", &b.HQMusicURL, present)
	c.text("thumb_media_id", (*string)(&b.ThumbMediaID), always)
	c.end(&b.Extra)
}

func (b *News) walk(c *codec) {
	c.begin(b.Extra)
	list(c, "articles", &b.Articles, (*Article).walk)
	c.end(&b.Extra)
}

func (b *Article) walk(c *codec) {
	c.begin(b.Extra)
	c.text("title", &b.Title, present)
	c.text("description", &b.Description, present)
	c.text("url", &b.URL, present)
	c.text("picurl", &b.PicURL, present)
	c.end(&b.Extra)
}

func (b *MPNews) walk(c *codec) {
	c.begin(b.Extra)
	c.text("media_id", (*string)(&b.MediaID), always)
	c.end(&b.Extra)
}

func (b *MPNewsArticle) walk(c *codec) {
	c.begin(b.Extra)
	c.text("article_id", &b.ArticleID, always)
	c.end(&b.Extra)
}

func (b *MsgMenu) walk(c *codec) {
	c.begin(b.Extra)
	c.text("head_content", &b.Head, present)
	list(c, "list", &b.Items, (*MenuItem).walk)
	c.text("tail_content", &b.Tail, present)
	c.end(&b.Extra)
}

func (b *MenuItem) walk(c *codec) {
	c.begin(b.Extra)
	c.text("id", &b.ID, always)
	c.text("content", &b.Content, always)
	c.end(&b.Extra)
}

func (b *WXCard) walk(c *codec) {
	c.begin(b.Extra)
	c.text("card_id", &b.CardID, always)
	c.end(&b.Extra)
}

func (b *MiniProgramPage) walk(c *codec) {
	c.begin(b.Extra)
	c.text("title", &b.Title, always)
	c.text("appid", &b.AppID, always)
	c.text("pagepath", &b.PagePath, always)
	c.text("thumb_media_id", (*string)(&b.ThumbMediaID), always)
	c.end(&b.Extra)
}

func (b *Link) walk(c *codec) {
	c.begin(b.Extra)
	c.text("title", &b.Title, present)
	c.text("description", &b.Description, present)
	c.text("url", &b.URL, present)
	c.text("thumb_url", &b.ThumbURL, present)
	c.end(&b.Extra)
}
