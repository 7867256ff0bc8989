package kefutest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// DefaultAccount is the account that a simulator knows unless told otherwise. Its
// secrets are no secrets. Copy it; don't change it.
var DefaultAccount = Account{
	AppID:  "wx5eed2a76cc560001",
	Secret: "5eed2a76cc565eed2a76cc565eed2a76",
	Token:  "demotoken",
	AESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	Name:   "客服演示",
	Menu: []Button{
		{Name: "新茶上市", Sub: []Button{
			{Name: "白毫银针", Type: "click", Key: "TEA_WHITE"},
			{Name: "茶罐扫码", Type: "scancode_waitmsg", Key: "TEA_CODE"},
			{Name: "茶铺网页", Type: "view", URL: "https://example.com/tea"},
		}},
		{Name: "我的订单", Type: "click", Key: "MY_ORDERS"},
		{Name: "联系客服", Type: "click", Key: "TALK_TO_US"},
	},
}

// An Account is an official account: who it is, where its callbacks go, and how
// WeChat treats it. Zero fields are good defaults. The fields with a JSON name are
// also members of the control plane's state document.
type Account struct {
	AppID  string      `json:"-"`
	Secret kefu.Secret `json:"-"` // AppSecret
	Token  kefu.Secret `json:"-"` // signs callbacks
	AESKey kefu.Secret `json:"-"` // EncodingAESKey, 43 characters; none: plain mode only
	ID     string      `json:"-"` // the original id in ToUserName; default: gh_ and a hash of AppID
	Name   string      `json:"-"` // what followers see; default: AppID

	// Callback is the URL to which pushes go. A CallbackHandler gets them in process
	// instead; then Callback is the URL that it sees. Without both none are made.
	Callback        string       `json:"-"`
	CallbackHandler http.Handler `json:"-"`
	// Mode of the callback: default [callback.Secure] with an AESKey, else
	// [callback.Plain].
	Mode callback.Mode `json:"mode"`
	// Format of pushes: "xml" (default) or "json".
	Format string `json:"format"`
	// Deliveries is how often a push is made at most, until it is answered. Default
	// 3: "总共重试三次" on WeChat's page, read with what logs show.
	Deliveries int `json:"deliveries"`
	// CallbackTimeout is how long WeChat waits for an answer, in real time. Default
	// 5 s.
	CallbackTimeout Duration `json:"callback_timeout"`

	// Profile names the rules of windows, allowances and limits; see
	// [kefu.Profiles]. Default [kefu.DefaultProfile].
	Profile string `json:"profile"`
	// Rules replace single allowances of the profile.
	Rules Allowances `json:"rules"`
	// Limits replace single limits of [kefu.Rules], in bytes or items, by msgtype
	// and field: "text.content" (2048), "news.articles" (1), "news.articles.title".
	Limits map[string]int `json:"limits"`
	// Mixing says how the windows of several triggers combine; no source tells.
	// Default [SideBySide].
	Mixing Mixing `json:"mixing"`
	// MenuTap is what a tap on a msgmenu counts as: [kefu.Menu] (default: the plain
	// reading of WeChat's page) or [kefu.UserMessage].
	MenuTap kefu.Trigger `json:"msgmenu_tap"`
	// ScanFollow is what following by a QR code counts as: [kefu.Follow] (default)
	// or [kefu.Scan].
	ScanFollow kefu.Trigger `json:"scan_follow"`
	// NotFollowing is the errcode for an openid that does not follow the account:
	// 45015 (default: its text names the cancelled subscription) or 43004.
	NotFollowing int `json:"not_following"`
	// Escapes is what becomes of \uXXXX in JSON: [AcceptEscapes] (default) and more.
	Escapes Escapes `json:"escapes"`
	// UnknownKF is the errcode for an unknown kf account: 65401 (default) or 61452.
	UnknownKF int `json:"unknown_kf"`
	// NumberIDs writes kf_id as a JSON number. Default: as text, like the official
	// samples; silenceper/wechat and PowerWeChat#344 have numbers.
	NumberIDs bool `json:"number_ids"`
	// TextPublishIDs writes publish_id and msg_data_id as text, like the official
	// samples. Default: as numbers, like the real answer in PowerWeChat#460 and as
	// silenceper/wechat reads them.
	TextPublishIDs bool `json:"text_publish_ids"`
	// Menu is what stands at the foot of the chat; [DefaultAccount] has one. The account
	// itself makes another by /cgi-bin/menu/create.
	Menu []Button `json:"menu"`
	// MiniProgram makes it the account of a mini program: its messages are text,
	// image, link and miniprogrampage, and others get 45050. On other accounts that
	// is link.
	MiniProgram bool `json:"mini_program"`
	// MiniPrograms are the mini programs linked to the account, by appid.
	MiniPrograms []string `json:"mini_programs"`
	// AcceptAnyID takes any media, article, card and mini-program id for good.
	AcceptAnyID bool `json:"accept_any_id"`

	// Refusals are what the account may not do: the errcode by the path of a call, or
	// by msgtype. 45087, 45094, 48001, 48004, 50002 and 50004 for
	// "/cgi-bin/message/custom/send", 40200 for "msgmenu".
	Refusals map[string]int `json:"refusals"`
	// DailyLimits replace the daily quotas of calls, by path; beyond them: 45009.
	// Defaults: custom/send 500,000, token 2,000, media/upload 100,000, ….
	DailyLimits map[string]int `json:"daily_limits"`
	// MinuteLimit is the most calls of each path a minute; beyond it: 45011. Default
	// none: WeChat names no number.
	MinuteLimit int `json:"minute_limit"`
	// SecretFrozen: the token calls answer 40243.
	SecretFrozen bool `json:"secret_frozen"`
	// ForceCode is the errcode of force_refresh above its limits. Default 0: the
	// current token comes back.
	ForceCode int `json:"force_code"`
	// AllowIPs are the addresses or prefixes that may ask for tokens; others get
	// IPCode: 40164 (default), 61004, or 89501, 89503, 89506, 89507 for one that the
	// admin has to confirm, or refused. Default: any.
	AllowIPs []string `json:"allow_ips"`
	IPCode   int      `json:"ip_code"`
	// BusinessIPCode is the errcode of all other calls from such an address: 45035 or
	// 61004. Default 0: they are not looked at.
	BusinessIPCode int `json:"business_ip_code"`
}

// kfID and publishID are ids of digits as the account's answers have them.
func (a *Account) kfID(id string) any      { return textOrNumber(id, a.NumberIDs) }
func (a *Account) publishID(id string) any { return textOrNumber(id, !a.TextPublishIDs) }

func textOrNumber(id string, number bool) any {
	if _, err := strconv.ParseUint(id, 10, 64); number && err == nil {
		return json.Number(id)
	}
	return id
}

// Escapes is what WeChat makes of \uXXXX in a request. Today's behaviour is mixed,
// and what senders should do is not: never write one.
type Escapes string

const (
	AcceptEscapes Escapes = "accept"  // undone, as JSON says
	ShowEscapes   Escapes = "literal" // shown to the follower as they are
	RefuseEscapes Escapes = "47002"   // refused with this code
	RefuseCharset Escapes = "40033"   // refused with that one
)

// Allowances are by trigger. In JSON: {"user_message":{"max":5,"seconds":172800}},
// where a max of null or -1 is no limit.
type Allowances map[kefu.Trigger]kefu.Allowance

type allowanceJSON struct {
	Max     *int  `json:"max"`
	Seconds int64 `json:"seconds"`
}

// MarshalJSON implements [json.Marshaler].
func (a Allowances) MarshalJSON() ([]byte, error) {
	out := map[kefu.Trigger]allowanceJSON{}
	for t, allowed := range a {
		row := allowanceJSON{Seconds: int64(allowed.For / time.Second)}
		if allowed.Max != kefu.Unlimited {
			row.Max = &allowed.Max
		}
		out[t] = row
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (a *Allowances) UnmarshalJSON(b []byte) error {
	var in map[kefu.Trigger]allowanceJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*a = Allowances{}
	for t, row := range in {
		allowed := kefu.Allowance{Max: kefu.Unlimited, For: time.Duration(row.Seconds) * time.Second}
		if row.Max != nil {
			allowed.Max = *row.Max
		}
		(*a)[t] = allowed
	}
	return nil
}

// orDefault fills what the first account leaves out. An account with an AppID of
// its own keeps its own secrets, or none.
func (a Account) orDefault() Account {
	d := DefaultAccount
	if a.AppID != "" && a.AppID != d.AppID {
		return a
	}
	a.AppID = d.AppID
	a.Secret = cmp.Or(a.Secret, d.Secret)
	a.Name = cmp.Or(a.Name, d.Name)
	if a.Menu == nil {
		a.Menu = d.Menu
	}
	if a.Token == "" && a.AESKey == "" {
		a.Token, a.AESKey = d.Token, d.AESKey
	}
	return a
}

var (
	appIDForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	openIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// check fills the defaults and reports what is not possible.
func (a *Account) check() error {
	a.ID = cmp.Or(a.ID, "gh_"+shortHash(a.AppID))
	a.Name = cmp.Or(a.Name, a.AppID)
	if a.Mode == "" {
		a.Mode = callback.Plain
		if a.AESKey != "" {
			a.Mode = callback.Secure
		}
	}
	a.Format = cmp.Or(a.Format, "xml")
	a.Deliveries = cmp.Or(a.Deliveries, 3)
	a.CallbackTimeout = cmp.Or(a.CallbackTimeout, Duration(5*time.Second))
	a.Profile = cmp.Or(a.Profile, kefu.DefaultProfile)
	a.Mixing = cmp.Or(a.Mixing, SideBySide)
	a.MenuTap = cmp.Or(a.MenuTap, kefu.Menu)
	a.ScanFollow = cmp.Or(a.ScanFollow, kefu.Follow)
	a.NotFollowing = cmp.Or(a.NotFollowing, 45015)
	a.Escapes = cmp.Or(a.Escapes, AcceptEscapes)
	a.UnknownKF = cmp.Or(a.UnknownKF, 65401)
	a.IPCode = cmp.Or(a.IPCode, 40164)

	oneOf := func(what, got string, of ...string) error {
		if slices.Contains(of, got) {
			return nil
		}
		return fmt.Errorf("no %s %q: there are %s", what, got, strings.Join(of, ", "))
	}
	code := func(what string, got int, of ...int) error {
		if slices.Contains(of, got) {
			return nil
		}
		return fmt.Errorf("no %s %d: there are %s", what, got, strings.Trim(strings.ReplaceAll(fmt.Sprint(of), " ", ", "), "[]"))
	}
	problems := []error{
		oneOf("mode", string(a.Mode), "plain", "compat", "secure"),
		oneOf("format", a.Format, "xml", "json"),
		oneOf("mixing", string(a.Mixing), string(SideBySide), string(LatestWins), string(MaxOfBoth)),
		oneOf("msgmenu_tap", string(a.MenuTap), "menu", "user_message"),
		oneOf("scan_follow", string(a.ScanFollow), "follow", "scan"),
		oneOf("escapes", string(a.Escapes), "accept", "literal", "47002", "40033"),
		code("not_following", a.NotFollowing, 45015, 43004),
		code("unknown_kf", a.UnknownKF, 65401, 61452),
		code("ip_code", a.IPCode, 40164, 61004, 89501, 89503, 89506, 89507),
		code("business_ip_code", a.BusinessIPCode, 0, 45035, 61004),
	}
	if !slices.Contains(kefu.Profiles(), a.Profile) {
		problems = append(problems, fmt.Errorf("no profile %q; there are %s", a.Profile, strings.Join(kefu.Profiles(), ", ")))
	}
	if !appIDForm.MatchString(a.AppID) {
		problems = append(problems, fmt.Errorf("AppID %q is not 1 to 64 letters, digits, _ and -", a.AppID))
	}
	if errcode := checkMenu(a.Menu); errcode != 0 {
		problems = append(problems, fmt.Errorf("menu: WeChat would refuse it with %d, %s", errcode, kefu.Explain("", errcode).En))
	}
	if a.Secret == "" {
		problems = append(problems, errors.New("the Secret is missing, without which it gets no token"))
	}
	if a.Deliveries < 0 || a.Deliveries > 10 || a.CallbackTimeout < 0 {
		problems = append(problems, fmt.Errorf("deliveries %d, callback_timeout %v: they are 1 to 10, and above 0", a.Deliveries, time.Duration(a.CallbackTimeout)))
	}
	if u, err := url.Parse(a.Callback); a.Callback != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		problems = append(problems, errors.New("the callback is not a URL such as https://example.com/callback"))
	}
	if (a.Callback != "" || a.CallbackHandler != nil) && a.Token == "" {
		problems = append(problems, errors.New("the Token is missing, with which callbacks are signed"))
	}
	for trigger, allowed := range a.Rules {
		problems = append(problems, oneOf("trigger", string(trigger), triggerNames()...))
		if allowed.Max < kefu.Unlimited || allowed.For < 0 {
			problems = append(problems, fmt.Errorf("rules of %s: max is -1 for no limit or more, seconds 0 or more", trigger))
		}
	}
	for what, code := range a.Refusals {
		if !knownCode(code) {
			problems = append(problems, fmt.Errorf("refusals of %s: WeChat has no errcode %d", what, code))
		}
	}
	if a.ForceCode != 0 && !knownCode(a.ForceCode) {
		problems = append(problems, fmt.Errorf("force_code: WeChat has no errcode %d", a.ForceCode))
	}
	for _, ip := range a.AllowIPs {
		if _, err := parseIPs(ip); err != nil {
			problems = append(problems, fmt.Errorf("allow_ips: %q is neither an address such as 203.0.113.7 nor a prefix such as 203.0.113.0/24", ip))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) // one sentence
	}
	return nil
}

func triggerNames() (names []string) {
	for _, t := range kefu.Triggers() {
		names = append(names, string(t))
	}
	return names
}

func parseIPs(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(s)
}

// An account is an [Account] with all that happens to it. The platform's mu guards
// it.
type account struct {
	Account
	initial Account // what a reset returns to
	limits  kefu.Rules
	crypt   *callback.Crypt // nil without an AES key

	token, stable *token // the current ones
	forcedDay     string
	forced        int
	forcedAt      time.Time
	used          map[string]*usage // of calls, by path
	resets        usage             // of quotas, this month

	followers map[string]*follower
	chat      []*Line // of all followers, oldest first
	chatBytes int

	library *library
	cards   *cardCase
	kf      *kfDesk
}

func newAccount(given Account) (*account, error) {
	a := &account{initial: given}
	if err := a.configure(given); err != nil {
		return nil, err
	}
	a.initial = a.Account
	a.clear()
	return a, nil
}

// clear forgets all that happened, tokens excepted.
func (a *account) clear() {
	a.forcedDay, a.forced, a.forcedAt = "", 0, time.Time{}
	a.used, a.resets = map[string]*usage{}, usage{}
	a.followers = map[string]*follower{}
	a.chat, a.chatBytes = nil, 0
	a.library, a.cards, a.kf = newLibrary(), &cardCase{}, &kfDesk{}
	a.acceptAnyID()
}

// configure puts new settings in force. What was opened under the old ones stays.
func (a *account) configure(given Account) error {
	given.Rules, given.Limits = maps.Clone(given.Rules), maps.Clone(given.Limits)
	given.Refusals, given.DailyLimits = maps.Clone(given.Refusals), maps.Clone(given.DailyLimits)
	given.Menu = copyMenu(given.Menu)
	given.MiniPrograms, given.AllowIPs = slices.Clone(given.MiniPrograms), slices.Clone(given.AllowIPs)
	if err := given.check(); err != nil {
		return fmt.Errorf("account %s: %w", given.AppID, err)
	}
	limits, err := kefu.RulesFor(given.Profile)
	if err != nil {
		return err
	}
	maps.Copy(limits.Allowances, given.Rules)
	unknown := maps.Clone(given.Limits)
	for i, l := range limits.Limits {
		name := l.MsgType + "." + l.Field
		if most, ok := given.Limits[name]; ok && l.Rule != "required" {
			limits.Limits[i].Max = most
			delete(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("account %s: limits: no limit of %s; there are text.content, news.articles, news.articles.title and the like",
			given.AppID, strings.Join(slices.Sorted(maps.Keys(unknown)), ", "))
	}
	var crypt *callback.Crypt
	if given.AESKey != "" || given.Mode != callback.Plain {
		if crypt, err = callback.NewCrypt(given.AppID, given.Token, given.AESKey); err != nil {
			return fmt.Errorf("account %s: %s", given.AppID, strings.TrimPrefix(err.Error(), "callback: "))
		}
	}
	a.Account, a.limits, a.crypt = given, limits, crypt
	if a.library != nil {
		a.acceptAnyID()
	}
	return nil
}

// acceptAnyID passes the setting on to the stores that know ids.
func (a *account) acceptAnyID() {
	a.library.mu.Lock()
	a.library.rules.AcceptAnyID = a.AcceptAnyID
	a.library.mu.Unlock()
	a.cards.mu.Lock()
	a.cards.anyID = a.AcceptAnyID
	a.cards.mu.Unlock()
}

// ipListed reports whether calls from ip are let through.
func (a *account) ipListed(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	return len(a.AllowIPs) == 0 || err == nil && slices.ContainsFunc(a.AllowIPs, func(allowed string) bool {
		prefix, err := parseIPs(allowed)
		return err == nil && prefix.Contains(addr.Unmap())
	})
}
