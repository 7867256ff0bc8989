package callback

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

// consentEvent reads an event of permissions and subscriptions; nil if name is none of those.
func (d document) consentEvent(h Header, name string) Event {
	switch name {
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
	return nil
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
