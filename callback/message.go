package callback

import (
	"github.com/kefu-go/kefu"
)

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

func (d document) place(in ...string) Place {
	at := func(name string) []string { return append(in[:len(in):len(in)], name) }
	return Place{d.float(at("Location_X")...), d.float(at("Location_Y")...), int(d.int(at("Scale")...)), d.text(at("Label")...)}
}
