package kefu

import "time"

// A Trigger is what a follower did that permits the account to write to them
// for a while. The strings are those of the rule tables, the gateway's API and
// its feed.
type Trigger string

const (
	UserMessage Trigger = "user_message" // wrote a message (not by tapping a msgmenu)
	Menu        Trigger = "menu"         // tapped a click or scan entry of the account's menu, or a msgmenu
	Follow      Trigger = "follow"       // followed the account
	Scan        Trigger = "scan"         // scanned the account's QR code, already a follower
	Payment     Trigger = "payment"      // paid; WeChat does not push this one
	Rights      Trigger = "rights"       // complained under consumer rights (维权); only in legacy rules
)

// Unfollow is what ends every permission. It opens nothing, so it is in no rule
// table; events carry it beside the six triggers.
const Unfollow Trigger = "unfollow"

// Triggers are the six that can open a window, in the order of the rule tables.
var triggers = []Trigger{UserMessage, Menu, Follow, Scan, Payment, Rights}

// Triggers returns the six triggers that can open a window, in the order of the
// rule tables.
func Triggers() []Trigger { return append([]Trigger(nil), triggers...) }

// Unlimited is the Max of an allowance without a limit.
const Unlimited = -1

// An Allowance is what a trigger permits: up to Max messages within For of it.
// The zero Allowance permits nothing.
type Allowance struct {
	Max int           // messages, or Unlimited
	For time.Duration // life of the window, from the trigger's CreateTime
}
