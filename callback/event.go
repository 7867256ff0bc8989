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

func (d document) event(h Header) Event {
	name := strings.ToLower(h.Event)
	for _, read := range [...]func(document, Header, string) Event{document.followerEvent, document.jobEvent, document.cardEvent, document.consentEvent} {
		if e := read(d, h, name); e != nil {
			return e
		}
	}
	return Unknown{h}
}
