// Package kefu sends customer-service messages (客服消息) from a WeChat Official
// Account.
//
//	client := &kefu.Client{Tokens: kefu.CachedToken(kefu.StableToken{AppID: id, Secret: secret})}
//	res, err := client.Send(ctx, kefu.Message{To: openid, Body: kefu.Text{Content: "你好"}})
//
// WeChat delivers such a message only while the follower has permitted it by
// acting first: writing, tapping a menu, following, scanning. Each [Trigger] opens
// a window with an [Allowance], today 5 messages in 48 hours or 3 in one minute;
// the numbers are in the rule tables, see [RulesFor]. To test a program without
// WeChat, use package kefutest; to receive what followers do, package callback.
//
// # Outcomes
//
// A nil error means that WeChat accepted the message; there are no receipts. A
// refusal is an [*Error] with WeChat's errcode, errmsg and request id, and it
// unwraps to a [Class] that says what to do:
//
//	switch {
//	case errors.Is(err, kefu.ErrWindowClosed): // wait until the follower acts
//	case errors.Is(err, kefu.ErrUnknownOutcome): // may have arrived: do not repeat blindly
//	}
//
// WeChat has no idempotency key. So that nothing is sent twice silently, the
// package tells what was certainly not delivered from what is unknown
// ([CertainlyNotDelivered]), and [Client.Send] never repeats a post unless the
// access token was refused. [Sender] repeats where that is safe.
//
// # Limits
//
// Messages are checked before they leave, in bytes, against rules/limits.tsv:
// what WeChat certainly refuses is not sent ([*InvalidError]); where its documents
// disagree the message is sent and the [Response] carries a warning. Set
// Client.NoCheck to leave the judgement to WeChat.
//
// # Secrets
//
// AppSecrets and access tokens are of type [Secret] and never appear in errors,
// logs or printed values. The package sends over its own transport: no proxy from
// the environment, no redirects, connections closed after 10 idle seconds.
package kefu
