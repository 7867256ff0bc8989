// Package kefutest is a WeChat to test against. It behaves: access tokens expire and
// overlap, windows open and close, allowances run out, media die after three days,
// callbacks are signed, pushed and pushed again, and all of it goes wrong on demand.
//
//	wechat := kefutest.New() // in process; NewServer listens on a loopback port
//	defer wechat.Close()
//	wechat.UserSends("oUser1") // opens a window, pushes a signed callback
//	client := wechat.Client()  // a *kefu.Client wired to it
//	wechat.Fail(kefutest.DropReply) // the next message is accepted, its answer lost
//	_, err := client.Send(ctx, kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}})
//	// errors.Is(err, kefu.ErrUnknownOutcome), and len(wechat.Sent("oUser1")) == 1
//
// # Accounts
//
// Without a word there is one, [DefaultAccount]. Give others to [New] or in a [Config];
// the first is filled up from the default. The fields of [Account] are all that can be
// set: where callbacks go and in which mode, the rules, penalties, quotas, and what is
// to happen where WeChat's documents are silent. [WeChat.SetState] changes them later.
//
// Messages are checked on their own terms: the package shares the rule tables with
// package kefu, and none of its decisions.
//
// # Time
//
// Windows, tokens, media, quotas and CreateTime follow the simulator's clock: the real
// time, which [WeChat.Advance] moves. Timeouts, of callbacks and of what is held back
// on purpose, take real time. In a testing/synctest bubble all of it is instant; make
// the WeChat inside, with New:
//
//	synctest.Test(t, func(t *testing.T) {
//		wechat := kefutest.New()
//		defer wechat.Close()
//		wechat.UserSends("oUser1")
//		time.Sleep(48 * time.Hour) // now the window is closed
//	})
//
// # Followers
//
// The verbs are what followers do: [WeChat.UserSends], [WeChat.Follows],
// [WeChat.Unfollows], [WeChat.Clicks], [WeChat.Scans], [WeChat.Pays], and
// [WeChat.Does] for the rest. Each returns when its callback was answered or given up.
// What the account said to them: [WeChat.Sent], [WeChat.WaitSent], [WeChat.Chat].
//
// # Failures
//
// [WeChat.Fail] takes a [Fault], which says which calls fail and how, or in short an
// [ErrCode] or a [Drop] for the next message.
//
// # The API and the control plane
//
// WeChat's paths are at the root, exactly. A phone per follower is at "/". For programs
// in other languages the verbs are calls under /_sim/; "?account=APPID" chooses the
// account, the first by default:
//
//	POST   /_sim/followers/{openid}/{action}  what a follower does, see Actions; the fields of Details as JSON → {"event","window","deliveries"}
//	GET    /_sim/followers, /_sim/followers/{openid}   windows, and the last line of the chat
//	GET    /_sim/messages?to=…                customer-service messages that arrived, oldest first; to may be repeated
//	GET    /_sim/messages/wait?to=…&count=1&timeout=10s   the same, once there are that many → and "complete"
//	GET    /_sim/chat?to=…                    both directions: {"id","dir":"in|out|passive|system","at","kind","message","kf","state","preview"?}
//	GET    /_sim/events                       changes as they happen (SSE): {"type":"chat|follower|clock|request|fault|account|state","account","openid"}
//	GET    /_sim/media/{id}                   the bytes under a media id, or a Range of them
//	POST   /_sim/media?type=image             a file of a follower's (image, voice or video), its bytes as they are; for media_id of an action
//	GET    /_sim/requests                     the last 1,000 calls of the API, without secrets
//	POST   /_sim/requests/{id}/replay         the same call again, or with another {"body":"…"}, under a token of the simulator's own
//	GET    /_sim/clock, POST {"advance":"48h"} or {"set":"2026-01-02T15:04:05Z"}
//	GET    /_sim/faults, POST (a Fault), DELETE, DELETE /_sim/faults/{id}
//	GET    /_sim/state, PUT                   see WeChat.SetState; PUT answers with the members it did not know
//	POST   /_sim/reset                        all accounts and the clock; with ?account=, that one
//	POST   /_sim/verify                       the callback's URL check
//	GET    /_sim/accounts
//
// Lists are {"items":[…],"next":""}. Ids are strings. A refusal is {"status","title","detail"}. The
// control plane answers to loopback addresses and to no page of another origin, and
// wants Content-Type: application/json with a body; see [Config.ControlKey].
//
// # Where it differs from WeChat (2026-11-23)
//
//   - The order of checks is ours; WeChat documents none.
//   - How windows of several triggers combine is a setting, [Account.Mixing]: nobody
//     outside knows.
//   - A follower exists from their first action on. One who unfollowed and acts again
//     follows again, without an event.
//   - An openid that was never seen gets 45015 if it looks like one of WeChat's ("o…"),
//     else 40003.
//   - Payments and complaints reach WeChat Pay's own addresses, which are not here:
//     [WeChat.Pays] opens the window and pushes nothing.
//   - Sessions with workers, menus for some followers only, templates and mass messages are
//     not here.
package kefutest
