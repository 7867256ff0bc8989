package kefutest

import (
	"net/http"
	"time"
)

// How the typing state behaves. Sources: the page of /message/custom/typing; that it
// lasts 15 s is common knowledge, in no document.
const (
	typingAfter = 30 * time.Second // of the last message to or from the follower
	typingLasts = 15 * time.Second
)

var typingRoutes = []route{
	{path: "/cgi-bin/message/custom/typing", method: http.MethodPost, daily: 500_000, handle: sendTyping},
}

// sendTyping shows "typing…" on the follower's phone. It takes nothing from the
// allowance.
func sendTyping(c *call) reply {
	var in struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	if in.Command != "Typing" && in.Command != "CancelTyping" {
		return refuse(45072)
	}
	f, code := c.recipient(in.ToUser)
	if code != 0 {
		return refuse(code)
	}
	switch {
	case in.Command == "CancelTyping":
		f.typingUntil = time.Time{}
	case f.lastMessage.IsZero() || c.now.Sub(f.lastMessage) >= typingAfter:
		return refuse(45080)
	case c.now.Before(f.typingUntil):
		return refuse(45081)
	default:
		f.typingUntil = c.now.Add(typingLasts)
	}
	c.sim.tell(event{Type: "follower", Account: c.AppID, OpenID: f.openID})
	return ok
}
