package callback

import (
	"strings"
)

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

// followerEvent reads an event of a follower, a menu or a session; nil if name is none of those.
func (d document) followerEvent(h Header, name string) Event {
	switch name {
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
	}
	return nil
}
