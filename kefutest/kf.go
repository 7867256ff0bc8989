package kefutest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A kfAccount is a customer-service account (客服账号), the worker who signs a
// message. It can sign only once a person's WeChat id is bound to it.
type kfAccount struct {
	Account      string       `json:"kf_account"` // prefix@account's WeChat id
	ID           string       `json:"kf_id"`
	Nickname     string       `json:"nickname"`
	HeadImg      string       `json:"headimg,omitempty"` // path of the picture
	WX           string       `json:"kf_wx"`             // the bound WeChat id
	InviteWX     string       `json:"invite_wx,omitempty"`
	InviteExpire int64        `json:"invite_expire_time,omitempty"` // Unix seconds
	InviteStatus inviteStatus `json:"invite_status,omitempty"`
	Status       int          `json:"status"` // 1 on line, 0 not
}

// An inviteStatus is what became of an invitation; "expired" is read off the time.
type inviteStatus string

const (
	inviteWaiting  inviteStatus = "waiting"
	inviteRejected inviteStatus = "rejected"
	inviteExpired  inviteStatus = "expired"
)

// UnmarshalJSON implements [json.Unmarshaler]. An account that names no kf_wx is
// bound and on line, so that {"kf_account","nickname"} makes one that works.
func (k *kfAccount) UnmarshalJSON(b []byte) error {
	type plain kfAccount // without this method
	p := plain{WX: "\x00", Status: 1}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if p.WX == "\x00" {
		p.WX, _, _ = strings.Cut(p.Account, "@")
	}
	*k = kfAccount(p)
	return nil
}

// invitation returns the state of the account's invitation at now.
func (k *kfAccount) invitation(now time.Time) inviteStatus {
	if k.InviteStatus == inviteWaiting && now.Unix() >= k.InviteExpire {
		return inviteExpired
	}
	return k.InviteStatus
}

// A kfDesk is the kf accounts of one account. Of the errcodes of its calls, 65400
// (not enabled) and 65410 (a person who works for too many accounts) are not in its
// power: [Account.Refusals] sets them.
type kfDesk struct {
	mu       sync.Mutex // guards all below
	accounts []*kfAccount
	lastID   int
}

const (
	mostKFAccounts = 100
	// An invitation's life: the page says that it ends, not when.
	inviteLife = 24 * time.Hour
)

// The form of a kf account and of a WeChat id. Sources: the page of
// customservice/kfaccount/add; WeChat's sign-up form.
var (
	kfAccountForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,10}@[^@\s]{1,30}$`)
	wechatIDForm  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{5,19}$`)
)

const longNickname = 16 // characters

// find returns the account, or 65401, with which calls about an unknown one end. The
// caller holds mu.
func (d *kfDesk) find(name string) (*kfAccount, int) {
	i := slices.IndexFunc(d.accounts, func(k *kfAccount) bool { return k.Account == name })
	if i < 0 {
		return nil, 65401
	}
	return d.accounts[i], 0
}

func (d *kfDesk) add(name, nickname string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, code := d.find(name)
	switch {
	case !kfAccountForm.MatchString(name):
		return 65404
	case !nicknameFits(nickname):
		return 65403
	case code == 0:
		return 65406
	case len(d.accounts) >= mostKFAccounts:
		return 65405
	}
	d.accounts = append(d.accounts, &kfAccount{Account: name, ID: d.nextID(), Nickname: nickname})
	return 0
}

func (d *kfDesk) nextID() string {
	d.lastID = max(d.lastID, 1000) + 1
	return strconv.Itoa(d.lastID)
}

func nicknameFits(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= longNickname
}

func (d *kfDesk) update(name, nickname string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, code := d.find(name)
	if code != 0 {
		return code
	}
	if !nicknameFits(nickname) {
		return 65403
	}
	k.Nickname = nickname
	return 0
}

func (d *kfDesk) del(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, code := d.find(name); code != 0 {
		return code
	}
	d.accounts = slices.DeleteFunc(d.accounts, func(k *kfAccount) bool { return k.Account == name })
	return 0
}

// invite asks the person wx to work as the account.
func (d *kfDesk) invite(now time.Time, name, wx string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, code := d.find(name)
	switch {
	case code != 0:
		return code
	case !wechatIDForm.MatchString(wx):
		return 65409
	case k.WX != "":
		return 65412
	case slices.ContainsFunc(d.accounts, func(o *kfAccount) bool { return o.WX == wx }):
		return 65407
	case k.invitation(now) == inviteWaiting && k.InviteWX != wx:
		return 65411
	case slices.ContainsFunc(d.accounts, func(o *kfAccount) bool { return o.InviteWX == wx && o.invitation(now) == inviteWaiting }):
		return 65408
	}
	k.InviteWX, k.InviteExpire, k.InviteStatus = wx, now.Add(inviteLife).Unix(), inviteWaiting
	return 0
}

// answerInvitation accepts or rejects the account's invitation, as the invited
// person does in the WeChat client. It reports whether there was one waiting.
func (d *kfDesk) answerInvitation(now time.Time, name string, accept bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, code := d.find(name)
	if code != 0 || k.invitation(now) != inviteWaiting {
		return false
	}
	if !accept {
		k.InviteStatus = inviteRejected
		return true
	}
	k.WX, k.Status = k.InviteWX, 1
	k.InviteWX, k.InviteExpire, k.InviteStatus = "", 0, ""
	return true
}

// WorkerAnswers makes the person who was invited to work as the kf account accept
// the invitation, which binds them to it, or reject it. It reports whether an
// invitation was waiting.
func (w *WeChat) WorkerAnswers(kfAccount string, accept bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.account.kf.answerInvitation(w.now(), kfAccount, accept)
}

// check decides whether a message can be signed by the account.
func (d *kfDesk) check(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, code := d.find(name)
	if code == 0 && k.WX == "" {
		return 65402
	}
	return code
}

// face is what the follower's phone shows of the account: its nickname and the
// path of its picture, "" if it has none.
func (d *kfDesk) face(name string) (nickname, headImg string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.accounts {
		if k.Account == name {
			return k.Nickname, k.HeadImg
		}
	}
	return "", ""
}

// A kfListed is one account of getkflist. Who is bound has kf_wx, who is invited
// has the invitation, a fresh account has neither.
type kfListed struct {
	Account      string       `json:"kf_account"`
	HeadImgURL   string       `json:"kf_headimgurl"`
	ID           any          `json:"kf_id"`
	Nick         string       `json:"kf_nick"`
	WX           string       `json:"kf_wx,omitempty"`
	InviteWX     string       `json:"invite_wx,omitempty"`
	InviteExpire int64        `json:"invite_expire_time,omitempty"`
	InviteStatus inviteStatus `json:"invite_status,omitempty"`
}

func (d *kfDesk) list(now time.Time, base string, id func(string) any) []kfListed {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []kfListed{}
	for _, k := range d.accounts {
		l := kfListed{Account: k.Account, ID: id(k.ID), Nick: k.Nickname, WX: k.WX}
		if k.HeadImg != "" {
			l.HeadImgURL = base + k.HeadImg
		}
		if k.WX == "" {
			l.InviteWX, l.InviteExpire, l.InviteStatus = k.InviteWX, k.InviteExpire, k.invitation(now)
		}
		out = append(out, l)
	}
	return out
}

// A kfOnline is one account of getonlinekflist.
type kfOnline struct {
	Account  string `json:"kf_account"`
	Status   int    `json:"status"`
	ID       any    `json:"kf_id"`
	Accepted int    `json:"accepted_case"` // sessions
}

func (d *kfDesk) online(id func(string) any) []kfOnline {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []kfOnline{}
	for _, k := range d.accounts {
		if k.WX != "" && k.Status != 0 {
			out = append(out, kfOnline{Account: k.Account, Status: k.Status, ID: id(k.ID)})
		}
	}
	return out
}

// largestHeadImg is the limit of customservice/kfaccount/uploadheadimg.
const largestHeadImg = 5 << 20

// checkHeadImg decides whether data can be the picture of a kf account.
func checkHeadImg(data []byte) int {
	switch format := fileFormat(data); {
	case len(data) == 0:
		return 44001
	case format != "jpg" && format != "png":
		return 40005
	case len(data) > largestHeadImg:
		return 40009
	}
	return 0
}

func (d *kfDesk) setHeadImg(l *library, now time.Time, name string, data []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, code := d.find(name)
	if code == 0 {
		code = checkHeadImg(data)
	}
	if code == 0 {
		k.HeadImg = l.keepPicture(now, fileFormat(data), data).Path
	}
	return code
}

// put replaces the accounts by those of a state document; get returns them for one.
func (d *kfDesk) put(accounts []kfAccount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accounts = nil
	for _, k := range accounts {
		if n, err := strconv.Atoi(k.ID); err == nil {
			d.lastID = max(d.lastID, n)
		}
	}
	for _, k := range accounts {
		if k.ID == "" {
			k.ID = d.nextID()
		}
		d.accounts = append(d.accounts, &k)
	}
}

func (d *kfDesk) get() []kfAccount {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []kfAccount{}
	for _, k := range d.accounts {
		out = append(out, *k)
	}
	return out
}

var kfRoutes = []route{
	{path: "/customservice/kfaccount/add", method: http.MethodPost, handle: addKF},
	{path: "/customservice/kfaccount/update", method: http.MethodPost, handle: updateKF},
	{path: "/customservice/kfaccount/del", handle: deleteKF},
	{path: "/customservice/kfaccount/inviteworker", method: http.MethodPost, handle: inviteWorker},
	{path: "/customservice/kfaccount/uploadheadimg", method: http.MethodPost, maxBody: largestUpload, tooLarge: 45001, handle: uploadHeadImg},
	{path: "/cgi-bin/customservice/getkflist", method: http.MethodGet, handle: listKF},
	{path: "/cgi-bin/customservice/getonlinekflist", method: http.MethodGet, handle: listOnlineKF},
}

// kfRequest is the body of every call about one kf account. A password (MD5), as
// old libraries send it, is passed over.
type kfRequest struct {
	Account  string `json:"kf_account"`
	Nickname string `json:"nickname"`
	InviteWX string `json:"invite_wx"`
}

func addKF(c *call) reply {
	var in kfRequest
	code := c.decode(&in)
	if code == 0 {
		code = c.kf.add(in.Account, in.Nickname)
	}
	return refuse(code)
}

func updateKF(c *call) reply {
	var in kfRequest
	code := c.decode(&in)
	if code == 0 {
		code = c.kf.update(in.Account, in.Nickname)
	}
	return refuse(code)
}

// deleteKF takes the account from the body of a POST, as the page of today says,
// or from the query of a GET, as it did.
func deleteKF(c *call) reply {
	in := kfRequest{Account: c.query.Get("kf_account")}
	if c.method == http.MethodPost && in.Account == "" {
		if code := c.decode(&in); code != 0 {
			return refuse(code)
		}
	}
	return refuse(c.kf.del(in.Account))
}

func inviteWorker(c *call) reply {
	var in kfRequest
	code := c.decode(&in)
	if code == 0 {
		code = c.kf.invite(c.now, in.Account, in.InviteWX)
	}
	return refuse(code)
}

func uploadHeadImg(c *call) reply {
	form := c.form("media")
	if form.code != 0 {
		return refuse(form.code)
	}
	return refuse(c.kf.setHeadImg(c.library, c.now, c.query.Get("kf_account"), form.data))
}

func listKF(c *call) reply {
	return answer(map[string]any{"kf_list": c.kf.list(c.now, c.base, c.kfID)})
}

func listOnlineKF(c *call) reply {
	return answer(map[string]any{"kf_online_list": c.kf.online(c.kfID)})
}
