package callback

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// An Event is one push from WeChat: a message that the follower wrote, or
// something that happened. Switch on its type:
//
//	switch e := e.(type) {
//	case callback.TextMessage:
//		… e.Content
//	case callback.SubscribeEvent:
//		… e.Scene
//	}
//
// What this version does not know arrives as [Unknown]. Event names compare
// case-insensitively; numbers that can't be read are 0. A field that is not in
// the struct is in Body.
type Event interface {
	// Head returns what all pushes have.
	Head() Header
	// Trigger returns what the push opens ([kefu.UserMessage], [kefu.Menu],
	// [kefu.Follow] or [kefu.Scan]), [kefu.Unfollow] for what closes, else "".
	Trigger() kefu.Trigger
	// Key is equal for every delivery of the same push and different for any
	// other. WeChat delivers up to three times: drop the keys already seen.
	Key() string
}

// A Header is what all pushes have. As a string and in a log it shows no content
// and a shortened openid.
type Header struct {
	ToUserName   string    // the account's original id, gh_…; not its appid
	FromUserName string    // the follower's openid
	CreateTime   time.Time // by WeChat's clock, in whole seconds; zero if missing
	MsgType      string    // "event" for what is not a message
	Event        string    // name of an event, as WeChat wrote it
	EventKey     string    // of an event: the menu entry's key, URL or path, the scene of a QR code
	MsgID        int64     // MsgId of a message; MsgID of the job in a job event; else 0
	MsgDataID    string    // of the article, if the message was written under one
	Idx          int       // which article of that set, from 1

	body string
}

// Head returns h.
func (h Header) Head() Header { return h }

// Body returns the push as it was received, decrypted: XML or JSON.
func (h Header) Body() []byte { return []byte(h.body) }

// Trigger implements [Event] for everything but a tap on a msgmenu.
func (h Header) Trigger() kefu.Trigger {
	if !h.isEvent() {
		switch h.MsgType {
		case "text", "image", "voice", "video", "shortvideo", "location", "link", "miniprogrampage":
			return kefu.UserMessage
		}
		return ""
	}
	switch strings.ToLower(h.Event) {
	case "subscribe":
		return kefu.Follow
	case "scan":
		return kefu.Scan
	case "click", "scancode_push", "scancode_waitmsg":
		return kefu.Menu
	case "unsubscribe":
		return kefu.Unfollow
	}
	return ""
}

// Key implements [Event]: a hash of both user names and the MsgId; without a
// MsgId, as all events are, of CreateTime, Event, EventKey and the body besides,
// since two events may share a second. It has 32 hex digits and shows no openid.
func (h Header) Key() string {
	parts := []string{h.ToUserName, h.FromUserName, strconv.FormatInt(h.MsgID, 10)}
	if h.isEvent() || h.MsgID == 0 {
		parts = append(parts, strconv.FormatInt(h.CreateTime.Unix(), 10), h.Event, h.EventKey, h.body)
	}
	var text []byte
	for _, p := range parts {
		text = append(binary.AppendUvarint(text, uint64(len(p))), p...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// String tells the push from others without its content.
func (h Header) String() string {
	kind := h.MsgType
	if h.isEvent() {
		kind += " " + h.Event
	}
	who := h.FromUserName
	if len(who) > 10 {
		who = who[:4] + "…" + who[len(who)-4:]
	}
	return fmt.Sprintf("%.64q from %.16q at %s", kind, who, h.CreateTime.Format(time.RFC3339))
}

// LogValue is String.
func (h Header) LogValue() slog.Value { return slog.StringValue(h.String()) }

func (h Header) isEvent() bool { return h.MsgType == "event" }

// Messages: what the follower wrote. A MediaID is temporary: it can be fetched
// for three days.
type (
	// A TextMessage is text the follower wrote, or the entry they tapped in a
	// msgmenu; MenuID is then that entry's id (bizmsgmenuid).
	//
	// Such a tap is taken for [kefu.Menu]: WeChat's page says that it gives the
	// menu's allowance and not that of a message. Where an account is known to
	// differ, treat an event with a MenuID as [kefu.UserMessage].
	TextMessage struct {
		Header
		Content string
		MenuID  string
	}
	ImageMessage struct {
		Header
		PicURL  string
		MediaID string
	}
	VoiceMessage struct {
		Header
		MediaID     string
		Format      string // amr or speex
		MediaID16K  string // a copy at 16 kHz, from newer clients
		Recognition string // what was said; WeChat has withdrawn it
	}
	// A VideoMessage is a video, or with MsgType "shortvideo" one taken in the chat.
	VideoMessage struct {
		Header
		MediaID      string
		ThumbMediaID string
	}
	// A LocationMessage is a place the follower chose. Compare [LocationEvent].
	LocationMessage struct {
		Header
		Place
	}
	LinkMessage struct {
		Header
		Title       string
		Description string
		URL         string
	}
	// A MiniProgramPageMessage comes to the accounts of mini programs.
	MiniProgramPageMessage struct {
		Header
		Title        string
		AppID        string
		PagePath     string
		ThumbURL     string
		ThumbMediaID string
	}
)

// A Place is a point on the map.
type Place struct {
	Latitude  float64 // Location_X
	Longitude float64 // Location_Y
	Scale     int
	Label     string
}

// Trigger is [kefu.Menu] for a tap on a msgmenu, else [kefu.UserMessage].
func (m TextMessage) Trigger() kefu.Trigger {
	if m.MenuID != "" {
		return kefu.Menu
	}
	return m.Header.Trigger()
}

// Followers, menus and sessions.
type (
	// A SubscribeEvent: the user follows the account. If a QR code led to it,
	// Scene is that code's scene, else "". One event, one trigger: [kefu.Follow];
	// where an account is known to differ, treat one with a Scene as [kefu.Scan].
	SubscribeEvent struct {
		Header
		Scene  string
		Ticket string // exchanges for the QR code's picture
	}
	// An UnsubscribeEvent ends every permission to write.
	UnsubscribeEvent struct{ Header }
	// A ScanEvent: a follower scanned a QR code of the account.
	ScanEvent struct {
		Header
		Scene  string
		Ticket string
	}
	// A LocationEvent is where the follower's phone is, reported on entering the
	// chat if the follower permits.
	LocationEvent struct {
		Header
		Latitude  float64
		Longitude float64
		Precision float64
	}
	// A ClickEvent: the menu entry of type click with this EventKey was tapped.
	ClickEvent struct{ Header }
	// A ViewEvent: a menu entry led to the URL in EventKey, or with the Event
	// view_miniprogram to that path of a mini program. It opens nothing.
	ViewEvent struct {
		Header
		MenuID string
	}
	// A ScanCodeEvent: a menu entry scanned something; by the Event
	// scancode_waitmsg the follower waits for an answer.
	ScanCodeEvent struct {
		Header
		ScanType   string // qrcode, barcode
		ScanResult string
	}
	// A PicsEvent: pictures were chosen through a menu entry; the Event is
	// pic_sysphoto, pic_photo_or_album or pic_weixin. They follow as messages.
	PicsEvent struct {
		Header
		Count  int
		MD5Sum []string
	}
	// A LocationSelectEvent: a place was chosen through a menu entry. It follows
	// as a message.
	LocationSelectEvent struct {
		Header
		Place
		Poiname string
	}
	// A KfCreateSessionEvent: until the session ends the follower's messages go to
	// this kf account and not to the callback.
	KfCreateSessionEvent struct {
		Header
		KfAccount string
	}
	KfCloseSessionEvent struct {
		Header
		KfAccount string
		CloseType string // asked about, never seen
	}
	KfSwitchSessionEvent struct {
		Header
		FromKfAccount string
		ToKfAccount   string
	}
	// A UserEnterTempSessionEvent: the chat of a mini program was entered.
	UserEnterTempSessionEvent struct {
		Header
		SessionFrom string
	}
)

// Jobs that have ended. MsgID is the job's.
type (
	TemplateSendJobFinishEvent struct {
		Header
		Status string // "success", "failed:user block", "failed: system failed"
	}
	MassSendJobFinishEvent struct {
		Header
		Status      string
		TotalCount  int
		FilterCount int // left after filtering
		SentCount   int
		ErrorCount  int
	}
	// A PublishJobFinishEvent: a draft was published, or not. Its Event is
	// PUBLISHJOBFINISH or, by some sources, FREEPUBLISHJOBFINISH.
	PublishJobFinishEvent struct {
		Header
		PublishID     string
		PublishStatus int    // 0 done, 2 to 6 not
		ArticleID     string // for a message of type mpnewsarticle
		Articles      []PublishedArticle
		FailIdx       []int // which articles were not original
	}
	// A MerchantOrderEvent is an order of the old WeChat shop (微信小店).
	MerchantOrderEvent struct {
		Header
		OrderID     string
		OrderStatus int
		ProductID   string
		SkuInfo     string
	}
)

// A PublishedArticle is one article of a published draft.
type PublishedArticle struct {
	Idx int
	URL string
}

// Cards and coupons (卡券); FromUserName is the holder.
type (
	UserGetCardEvent struct {
		Header
		Card
		IsGiveByFriend      bool
		FriendUserName      string
		OldUserCardCode     string
		OuterID             string
		OuterStr            string
		IsRestoreMemberCard bool
		IsRecommendByFriend bool
	}
	UserGiftingCardEvent struct {
		Header
		Card
		IsReturnBack   bool
		FriendUserName string
		IsChatRoom     bool
	}
	UserDelCardEvent struct {
		Header
		Card
	}
	UserConsumeCardEvent struct {
		Header
		Card
		ConsumeSource string
		LocationName  string
		StaffOpenID   string
		VerifyCode    string
		RemarkAmount  string
		OuterStr      string
	}
	UserViewCardEvent struct {
		Header
		Card
		OuterStr string
	}
	UserPayFromPayCellEvent struct {
		Header
		Card
		TransID     string
		LocationID  string
		Fee         int64 // 分, hundredths of a yuan, as is OriginalFee
		OriginalFee int64
	}
	UserEnterSessionFromCardEvent struct {
		Header
		Card
	}
	CardPassCheckEvent struct {
		Header
		Card
	}
	CardNotPassCheckEvent struct {
		Header
		Card
		RefuseReason string
	}
	UpdateMemberCardEvent struct {
		Header
		Card
		ModifyBonus   int64
		ModifyBalance int64
	}
	CardSkuRemindEvent struct {
		Header
		Card
		Detail string
	}
	CardPayOrderEvent struct {
		Header
		OrderID             string
		Status              string
		CreateOrderTime     time.Time
		PayFinishTime       time.Time
		Desc                string
		FreeCoinCount       int64
		PayCoinCount        int64
		RefundFreeCoinCount int64
		RefundPayCoinCount  int64
		OrderType           string
		Memo                string
		ReceiptInfo         string
	}
	SubmitMembercardUserInfoEvent struct {
		Header
		Card
	}
)

// A Card is a kind of card and, where there is one, the holder's own code.
type Card struct {
	CardID       string
	UserCardCode string
}

// Permissions and subscription notices.
type (
	UserAuthorizationRevokeEvent struct {
		Header
		Authorization
	}
	UserInfoModifiedEvent struct {
		Header
		Authorization
	}
	SubscribeMsgPopupEvent struct {
		Header
		List []SubscribeMsg
	}
	SubscribeMsgChangeEvent struct {
		Header
		List []SubscribeMsg
	}
	SubscribeMsgSentEvent struct {
		Header
		List []SubscribeMsg
	}
)

// An Authorization is what a user took back or changed.
type Authorization struct {
	OpenID     string
	AppID      string
	RevokeInfo string
}

// A SubscribeMsg is what a follower decided about a template, or what became of
// a notice sent by it.
type SubscribeMsg struct {
	TemplateID            string
	SubscribeStatusString string // "accept", "reject"; not of a sent one
	PopupScene            string // of a popup
	MsgID                 string // of a sent one, with what follows
	ErrorCode             int
	ErrorStatus           string
}

// Unknown is a push that this version has no type for. It opens nothing. Its
// content is in Body.
type Unknown struct{ Header }

// Parse reads a decrypted push, XML or JSON, of at most 256 KiB. It checks no
// signature: bodies from outside go through a [Handler].
func Parse(body []byte) (Event, error) { return parse(string(body)) }

func parse(body string) (Event, error) {
	d, err := scan(body)
	if err != nil {
		return nil, err
	}
	h := Header{
		ToUserName:   d.text("ToUserName"),
		FromUserName: d.text("FromUserName"),
		CreateTime:   d.time("CreateTime"),
		MsgType:      d.text("MsgType"),
		MsgID:        d.int("MsgId"),
		body:         body,
	}
	switch {
	case h.MsgType == "" && d.text("Encrypt") != "":
		return nil, errEncrypted
	case h.MsgType == "":
		return nil, errors.New("callback: not a push: it has no MsgType")
	case h.isEvent():
		h.Event, h.EventKey = d.text("Event"), d.text("EventKey")
		return d.event(h), nil
	}
	h.MsgDataID, h.Idx = d.text("MsgDataId"), int(d.int("Idx"))
	return d.message(h), nil
}

var errEncrypted = errors.New("callback: the push is encrypted; it takes the account's AESKey to read it")

func (d document) message(h Header) Event {
	switch h.MsgType {
	case "text":
		return TextMessage{h, d.text("Content"), d.text("bizmsgmenuid")}
	case "image":
		return ImageMessage{h, d.text("PicUrl"), d.text("MediaId")}
	case "voice":
		return VoiceMessage{h, d.text("MediaId"), d.text("Format"), d.text("MediaId16K"), d.text("Recognition")}
	case "video", "shortvideo":
		return VideoMessage{h, d.text("MediaId"), d.text("ThumbMediaId")}
	case "location":
		return LocationMessage{h, d.place()}
	case "link":
		return LinkMessage{h, d.text("Title"), d.text("Description"), d.text("Url")}
	case "miniprogrampage":
		return MiniProgramPageMessage{h, d.text("Title"), d.text("AppId"), d.text("PagePath"), d.text("ThumbUrl"), d.text("ThumbMediaId")}
	}
	return Unknown{h}
}

func (d document) event(h Header) Event {
	card := Card{d.text("CardId"), d.text("UserCardCode")}
	switch strings.ToLower(h.Event) {
	case "subscribe":
		scene, _ := strings.CutPrefix(h.EventKey, "qrscene_")
		return SubscribeEvent{h, scene, d.text("Ticket")}
	case "unsubscribe":
		return UnsubscribeEvent{h}
	case "scan":
		return ScanEvent{h, h.EventKey, d.text("Ticket")}
	case "location":
		return LocationEvent{h, d.float("Latitude"), d.float("Longitude"), d.float("Precision")}
	case "click":
		return ClickEvent{h}
	case "view", "view_miniprogram":
		return ViewEvent{h, d.text("MenuId")}
	case "scancode_push", "scancode_waitmsg":
		return ScanCodeEvent{h, d.text("ScanCodeInfo", "ScanType"), d.text("ScanCodeInfo", "ScanResult")}
	case "pic_sysphoto", "pic_photo_or_album", "pic_weixin":
		e := PicsEvent{Header: h, Count: int(d.int("SendPicsInfo", "Count"))}
		for i := range d.every("PicMd5Sum") {
			e.MD5Sum = append(e.MD5Sum, d[i].text)
		}
		return e
	case "location_select":
		return LocationSelectEvent{h, d.place("SendLocationInfo"), d.text("SendLocationInfo", "Poiname")}

	case "kf_create_session":
		return KfCreateSessionEvent{h, d.text("KfAccount")}
	case "kf_close_session":
		return KfCloseSessionEvent{h, d.text("KfAccount"), d.text("CloseType")}
	case "kf_switch_session":
		return KfSwitchSessionEvent{h, d.text("FromKfAccount"), d.text("ToKfAccount")}
	case "user_enter_tempsession":
		return UserEnterTempSessionEvent{h, d.text("SessionFrom")}

	case "templatesendjobfinish":
		return TemplateSendJobFinishEvent{h, d.text("Status")}
	case "masssendjobfinish":
		return MassSendJobFinishEvent{h, d.text("Status"), int(d.int("TotalCount")), int(d.int("FilterCount")), int(d.int("SentCount")), int(d.int("ErrorCount"))}
	case "publishjobfinish", "freepublishjobfinish":
		const info = "PublishEventInfo"
		e := PublishJobFinishEvent{Header: h, PublishID: d.text(info, "publish_id"), PublishStatus: int(d.int(info, "publish_status")), ArticleID: d.text(info, "article_id")}
		for i := range d.every("article_url") {
			e.Articles = append(e.Articles, PublishedArticle{int(integer(d.child(d[i].parent, "idx"))), d[i].text})
		}
		for i := range d.every("fail_idx") {
			e.FailIdx = append(e.FailIdx, int(integer(d[i].text)))
		}
		return e
	case "merchant_order":
		return MerchantOrderEvent{h, d.text("OrderId"), int(d.int("OrderStatus")), d.text("ProductId"), d.text("SkuInfo")}

	case "user_get_card":
		return UserGetCardEvent{h, card, d.bool("IsGiveByFriend"), d.text("FriendUserName"), d.text("OldUserCardCode"), d.text("OuterId"), d.text("OuterStr"), d.bool("IsRestoreMemberCard"), d.bool("IsRecommendByFriend")}
	case "user_gifting_card":
		return UserGiftingCardEvent{h, card, d.bool("IsReturnBack"), d.text("FriendUserName"), d.bool("IsChatRoom")}
	case "user_del_card":
		return UserDelCardEvent{h, card}
	case "user_consume_card":
		return UserConsumeCardEvent{h, card, d.text("ConsumeSource"), d.text("LocationName"), d.text("StaffOpenId"), d.text("VerifyCode"), d.text("RemarkAmount"), d.text("OuterStr")}
	case "user_view_card":
		return UserViewCardEvent{h, card, d.text("OuterStr")}
	case "user_pay_from_pay_cell":
		return UserPayFromPayCellEvent{h, card, d.text("TransId"), d.text("LocationId"), d.int("Fee"), d.int("OriginalFee")}
	case "user_enter_session_from_card":
		return UserEnterSessionFromCardEvent{h, card}
	case "card_pass_check":
		return CardPassCheckEvent{h, card}
	case "card_not_pass_check":
		return CardNotPassCheckEvent{h, card, d.text("RefuseReason")}
	case "update_member_card":
		return UpdateMemberCardEvent{h, card, d.int("ModifyBonus"), d.int("ModifyBalance")}
	case "card_sku_remind":
		return CardSkuRemindEvent{h, card, d.text("Detail")}
	case "card_pay_order":
		return CardPayOrderEvent{h, d.text("OrderId"), d.text("Status"), d.time("CreateOrderTime"), d.time("PayFinishTime"), d.text("Desc"),
			d.int("FreeCoinCount"), d.int("PayCoinCount"), d.int("RefundFreeCoinCount"), d.int("RefundPayCoinCount"), d.text("OrderType"), d.text("Memo"), d.text("ReceiptInfo")}
	case "submit_membercard_user_info":
		return SubmitMembercardUserInfoEvent{h, card}

	case "user_authorization_revoke":
		return UserAuthorizationRevokeEvent{h, d.authorization()}
	case "user_info_modified":
		return UserInfoModifiedEvent{h, d.authorization()}
	case "subscribe_msg_popup_event":
		return SubscribeMsgPopupEvent{h, d.subscribeMsgs()}
	case "subscribe_msg_change_event":
		return SubscribeMsgChangeEvent{h, d.subscribeMsgs()}
	case "subscribe_msg_sent_event":
		return SubscribeMsgSentEvent{h, d.subscribeMsgs()}
	}
	return Unknown{h}
}

func (d document) place(in ...string) Place {
	at := func(name string) []string { return append(in[:len(in):len(in)], name) }
	return Place{d.float(at("Location_X")...), d.float(at("Location_Y")...), int(d.int(at("Scale")...)), d.text(at("Label")...)}
}

func (d document) authorization() Authorization {
	return Authorization{d.text("OpenID"), d.text("AppID"), d.text("RevokeInfo")}
}

func (d document) subscribeMsgs() (list []SubscribeMsg) {
	for i := range d.every("List") {
		list = append(list, SubscribeMsg{d.child(i, "TemplateId"), d.child(i, "SubscribeStatusString"), d.child(i, "PopupScene"),
			d.child(i, "MsgID"), int(integer(d.child(i, "ErrorCode"))), d.child(i, "ErrorStatus")})
	}
	return list
}
