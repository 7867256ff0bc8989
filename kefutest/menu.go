package kefutest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Button is a part of the menu at the foot of the chat: one that does something
// when it is tapped, or one that opens Sub. Its JSON is WeChat's, and so are its limits:
// 3 buttons, 5 under each; a Name of 16 bytes, of 60 under another; a Key of 128 bytes, a
// URL of 1,024. Source:
// https://developers.weixin.qq.com/doc/offiaccount/Custom_Menus/Creating_Custom-Defined_Menu.html
type Button struct {
	Name string `json:"name"`
	// Type is "click", "view", "scancode_push", "scancode_waitmsg", "miniprogram" or
	// another of [ButtonTypes]; none with Sub. The phone page does what the first four
	// do, and says of the others what WeChat would open.
	Type     string   `json:"type,omitempty"`
	Key      string   `json:"key,omitempty"`      // EventKey of the event
	URL      string   `json:"url,omitempty"`      // of view, miniprogram
	AppID    string   `json:"appid,omitempty"`    // of miniprogram
	PagePath string   `json:"pagepath,omitempty"` // of miniprogram
	MediaID  string   `json:"media_id,omitempty"` // of media_id, view_limited
	Article  string   `json:"article_id,omitempty"`
	Sub      []Button `json:"sub_button,omitempty"`
}

// ButtonTypes returns the types of buttons that WeChat has.
func ButtonTypes() []string {
	return []string{"click", "view", "scancode_push", "scancode_waitmsg", "miniprogram", "pic_sysphoto", "pic_photo_or_album",
		"pic_weixin", "location_select", "media_id", "view_limited", "article_id", "article_view_limited"}
}

// What a menu may have; lengths in bytes. See [Button].
const (
	mostButtons     = 3
	mostSubButtons  = 5
	longestName     = 16 // bytes
	longestSubName  = 60
	longestEventKey = 128
	longestMenuURL  = 1024
)

// checkMenu returns the errcode of a menu that WeChat refuses. An empty one is one
// that is not there.
func checkMenu(buttons []Button) (errcode int) {
	if len(buttons) > mostButtons {
		return 40016
	}
	for _, b := range buttons {
		switch {
		case b.Name == "" || len(b.Name) > longestName:
			return 40018
		case len(b.Sub) > mostSubButtons:
			return 40023
		case len(b.Sub) > 0:
			for _, sub := range b.Sub {
				switch code := sub.check(); {
				case sub.Name == "" || len(sub.Name) > longestSubName:
					return 40018
				case len(sub.Sub) > 0:
					return 40023
				case code != 0:
					return code
				}
			}
		default:
			if code := b.check(); code != 0 {
				return code
			}
		}
	}
	return 0
}

// check is of a button that does something.
func (b *Button) check() (errcode int) {
	link, err := url.Parse(b.URL)
	switch {
	case !slices.Contains(ButtonTypes(), b.Type):
		return 40017
	case len(b.Key) > longestEventKey, b.Key == "" && (b.Type == "click" || b.Type == "location_select" || strings.HasPrefix(b.Type, "scancode_") || strings.HasPrefix(b.Type, "pic_")):
		return 40019
	case len(b.URL) > longestMenuURL, (b.Type == "view" || b.Type == "miniprogram") && (err != nil || link.Host == "" || link.Scheme != "http" && link.Scheme != "https"):
		return 40020
	}
	return 0
}

// copyMenu shares nothing with the original.
func copyMenu(buttons []Button) []Button {
	buttons = slices.Clone(buttons)
	for i := range buttons {
		buttons[i].Sub = slices.Clone(buttons[i].Sub)
	}
	return buttons
}

var menuRoutes = []route{
	{path: "/cgi-bin/menu/create", method: http.MethodPost, daily: 1000, handle: createMenu},
	{path: "/cgi-bin/menu/get", method: http.MethodGet, daily: 10_000, handle: getMenu},
	{path: "/cgi-bin/menu/delete", method: http.MethodGet, daily: 1000, handle: deleteMenu},
}

func createMenu(c *call) reply {
	var in struct {
		Button []Button `json:"button"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	if len(in.Button) == 0 {
		return refuse(40016)
	}
	if code := checkMenu(in.Button); code != 0 {
		return refuse(code)
	}
	for _, b := range slices.Concat(in.Button, slices.Concat(subsOf(in.Button)...)) {
		if b.Type == "miniprogram" && !c.AcceptAnyID && !slices.Contains(c.MiniPrograms, b.AppID) {
			return refuse(45064)
		}
	}
	c.Menu = in.Button
	c.sim.tell(event{Type: "account", Account: c.AppID})
	return ok
}

func subsOf(buttons []Button) (subs [][]Button) {
	for _, b := range buttons {
		subs = append(subs, b.Sub)
	}
	return subs
}

func getMenu(c *call) reply {
	if len(c.Menu) == 0 {
		return refuse(46003)
	}
	type menu struct {
		Button []Button `json:"button"`
	}
	return answer(struct {
		Menu menu `json:"menu"`
	}{menu{c.Menu}})
}

func deleteMenu(c *call) reply {
	c.Menu = nil
	c.sim.tell(event{Type: "account", Account: c.AppID})
	return ok
}
