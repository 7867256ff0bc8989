package kefutest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

var sendRoutes = []route{
	{path: "/cgi-bin/message/custom/send", method: http.MethodPost, daily: 500_000, handle: sendMessage},
}

// longestSilence is for how long a caller is left without an answer where WeChat
// gives none.
const longestSilence = time.Minute

// sendMessage is custom/send. WeChat documents no order of its checks; this one goes
// from the account over the message to the follower.
func sendMessage(c *call) reply {
	var members map[string]json.RawMessage
	if code := c.decode(&members); code != 0 {
		return refuse(code)
	}
	body, code := c.unescaped()
	if code != 0 {
		return refuse(code)
	}
	if &body[0] != &c.body[0] {
		members = nil
		if json.Unmarshal(body, &members) != nil {
			return refuse(47001)
		}
	}
	to, msgtype := text(members["touser"]), text(members["msgtype"])
	if !openIDForm.MatchString(to) {
		return refuse(40003)
	}
	if code := c.checkType(msgtype); code != 0 {
		return refuse(code)
	}
	content := partsOf(members[msgtype])
	if r, refused := c.checkFields(msgtype, content); refused {
		return r
	}
	if code := c.checkIDs(msgtype, content); code != 0 {
		return refuse(code)
	}
	if msgtype == "mpnews" && c.overArticles(c.library.articleCount(content.text("media_id"))) {
		return c.tooManyArticles()
	}
	signer := partsOf(members["customservice"]).text("kf_account")
	if signer != "" {
		switch code := c.kf.check(signer); code {
		case 0:
		case 65401:
			return refuse(c.UnknownKF)
		default:
			return refuse(code)
		}
	}
	f, code := c.recipient(to)
	if code != 0 {
		return refuse(code)
	}
	if code := f.take(c.now); code != 0 {
		return refuse(code)
	}
	f.lastMessage, f.typingUntil = c.now, time.Time{}
	line := Line{At: c.now, Dir: Out, Kind: msgtype, Message: body, State: "delivered", KFAccount: signer, Raw: string(c.body)}
	if signer != "" {
		line.Nickname, line.Avatar = c.kf.face(signer)
	}
	c.sim.say(c.account, f, line)
	return ok
}

// escape finds \uXXXX in JSON, and the backslashes before it.
var escape = regexp.MustCompile(`\\(?:u([0-9a-fA-F]{4})|.)`)

// unescaped is the body with \uXXXX treated as the account is set. Escapes of
// control characters, which JSON wants, are no question anywhere.
func (c *call) unescaped() ([]byte, int) {
	if c.Escapes == AcceptEscapes || !bytes.Contains(c.body, []byte(`\u`)) {
		return c.body, 0
	}
	found := false
	shown := escape.ReplaceAllFunc(c.body, func(m []byte) []byte {
		if m[1] != 'u' || len(m) < 6 || strings.HasPrefix(string(m), `\u00`) && m[4] < '2' {
			return m
		}
		found = true
		return append([]byte(`\`), m...)
	})
	switch {
	case !found:
		return c.body, 0
	case c.Escapes == RefuseEscapes:
		return nil, 47002
	case c.Escapes == RefuseCharset:
		return nil, 40033
	}
	return shown, 0
}

// The msgtypes of either kind of account.
var (
	officialTypes = []string{"text", "image", "voice", "video", "music", "news", "mpnews", "mpnewsarticle",
		"msgmenu", "wxcard", "miniprogrampage"}
	miniProgramTypes = []string{"text", "image", "link", "miniprogrampage"}
)

func (c *call) checkType(msgtype string) int {
	mine, others := officialTypes, miniProgramTypes
	if c.MiniProgram {
		mine, others = others, mine
	}
	switch {
	case slices.Contains(mine, msgtype):
		return c.Refusals[msgtype]
	case slices.Contains(others, msgtype):
		return 45050
	}
	return 40008
}

// checkFields holds the message against the limits of the account's rules: first
// all that is required, then all that is too much. Where sources differ about what
// is required, WeChat is known to serve many who leave it out.
func (c *call) checkFields(msgtype string, content parts) (r reply, refused bool) {
	for _, l := range c.limits.Limits {
		if l.MsgType != msgtype || l.Rule != "required" || l.Warn {
			continue
		}
		values := content.all(l.Field)
		if len(values) == 0 || slices.ContainsFunc(values, empty) {
			return refuse(l.Code), true
		}
	}
	for _, l := range c.limits.Limits {
		if l.MsgType != msgtype {
			continue
		}
		for _, v := range content.all(l.Field) {
			switch {
			case l.Rule == "max_bytes" && len(text(v)) > l.Max:
				return refuse(l.Code), true
			case l.Rule == "max_items" && len(list(v)) > l.Max:
				return c.tooManyArticles(), true
			}
		}
	}
	return ok, false
}

func (c *call) overArticles(n int) bool {
	i := slices.IndexFunc(c.limits.Limits, func(l kefu.Limit) bool { return l.MsgType == "news" && l.Rule == "max_items" })
	return i >= 0 && n > c.limits.Limits[i].Max
}

func (c *call) tooManyArticles() reply {
	if c.limits.OverArticles == 0 {
		return reply{silent: true}
	}
	return refuse(c.limits.OverArticles)
}

// checkIDs looks up what the message names.
func (c *call) checkIDs(msgtype string, content parts) int {
	media := func(field string, kind kefu.MediaKind) int {
		return c.library.checkMedia(c.now, content.text(field), kind)
	}
	switch msgtype {
	case "image":
		return media("media_id", kefu.MediaImage)
	case "voice":
		return media("media_id", kefu.MediaVoice)
	case "video":
		if code := media("media_id", kefu.MediaVideo); code != 0 || content.text("thumb_media_id") == "" {
			return code
		}
		return media("thumb_media_id", kefu.MediaThumb)
	case "music":
		return media("thumb_media_id", kefu.MediaThumb)
	case "mpnews":
		return media("media_id", mediaNews)
	case "mpnewsarticle":
		return c.library.checkArticleID(c.now, content.text("article_id"))
	case "wxcard":
		return c.cards.check(content.text("card_id"))
	case "miniprogrampage":
		if !c.AcceptAnyID && !slices.Contains(c.MiniPrograms, content.text("appid")) {
			return 40013
		}
		return media("thumb_media_id", kefu.MediaThumb)
	}
	return 0
}

// articleCount is how many articles are under a media id.
func (l *library) articleCount(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.news[id]; n != nil {
		return len(n.Articles)
	}
	return 0
}

// recipient finds a follower to whom something goes, and the errcode if nothing
// can.
func (c *call) recipient(openid string) (*follower, int) {
	f := c.followers[openid]
	switch {
	case !openIDForm.MatchString(openid):
		return nil, 40003
	case f == nil && (openid[0] != 'o' || c.sim.knownElsewhere(c.account, openid)):
		return nil, 40003
	}
	if code := c.reaches(f); code != 0 {
		return nil, code
	}
	return f, 0
}

// reaches returns the errcode for a follower to whom nothing of the account goes;
// nil is one whom nobody knows.
func (a *account) reaches(f *follower) (errcode int) {
	switch {
	case f == nil || !f.Following:
		return a.NotFollowing
	case f.BlockedBy == "account":
		return 43019
	case f.BlockedBy == "follower":
		return 43006
	case f.Refuses:
		return 48002
	}
	return 0
}

// take takes one message at now from what the follower's acts permit, or returns the
// errcode with which it is refused.
func (f *follower) take(now time.Time) (errcode int) {
	i, errcode := f.buckets.next(now)
	switch {
	case errcode != 0:
		return errcode
	case f.Minor:
		return 70000
	case f.buckets[i].Max != kefu.Unlimited:
		f.buckets = slices.Clone(f.buckets)
		f.buckets[i].Remaining--
	}
	return 0
}

// knownElsewhere reports whether the openid is of another account's follower.
func (p *platform) knownElsewhere(a *account, openid string) bool {
	return slices.ContainsFunc(p.accounts, func(other *account) bool { return other != a && other.followers[openid] != nil })
}

// parts are the members of a JSON object.
type parts map[string]json.RawMessage

// partsOf reads an object; anything else has no members.
func partsOf(v json.RawMessage) (p parts) {
	_ = json.Unmarshal(v, &p)
	return p
}

func (p parts) text(name string) string { return text(p[name]) }

// all returns the values at a path: of "list.id" the id of every element of list.
func (p parts) all(path string) (values []json.RawMessage) {
	name, below, nested := strings.Cut(path, ".")
	v, there := p[name]
	if !nested {
		if there {
			return []json.RawMessage{v}
		}
		return nil
	}
	for _, element := range list(v) {
		found := partsOf(element).all(below)
		if len(found) == 0 {
			found = []json.RawMessage{nil} // left out
		}
		values = append(values, found...)
	}
	return values
}

// text is a JSON string's text; a number counts as its digits. Anything else is "".
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	var n json.Number
	_ = json.Unmarshal(v, &n)
	return n.String()
}

func list(v json.RawMessage) (elements []json.RawMessage) {
	_ = json.Unmarshal(v, &elements) // what is not a list has no elements
	return elements
}

func empty(v json.RawMessage) bool { return text(v) == "" && len(list(v)) == 0 }
