package gateway

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kefu-go/kefu"
)

// DefaultURL is where `kefu serve` listens unless told otherwise.
const DefaultURL = "http://127.0.0.1:7600"

// A Client speaks to a gateway. Only Key is required. It is safe for concurrent use
// and never repeats a call; a Send with an idempotency key is safe to repeat.
//
// Errors of the gateway are a [*Problem]; all others mean that it was not reached or
// did not answer, and a call that changes something may or may not have done so.
// They contain no key.
type Client struct {
	BaseURL  string       // default [DefaultURL]
	Key      kefu.Secret  // kf_…
	HTTP     *http.Client // default: a client of its own, without a proxy
	Source   Source       // what calls: FromAPI (default), FromCLI, FromConsole or FromBot
	Language string       // of problems, "en" (default) or "zh"
}

// SendOptions are what a Send may have besides its request.
type SendOptions struct {
	// Wait is how long to wait for the message's end, up to 60 s: it comes back
	// final or unknown, at once if it was parked, else as it is then.
	Wait time.Duration
	// IdempotencyKey makes a repeat of the same request answer the first one's
	// message instead of making another, for 7 days. Up to 255 bytes.
	IdempotencyKey string
}

// Send asks the gateway to keep and deliver a message. A nil error means that it is
// kept; what became of it is in its State.
func (c *Client) Send(ctx context.Context, r Request, o SendOptions) (Message, error) {
	return c.message(ctx, request{method: "POST", path: "/v1/messages", in: r, wait: o.Wait, key: o.IdempotencyKey})
}

// Batch sends up to 1,000 requests at once. The results are in their order, each
// what Send would have got; an error is of the whole.
func (c *Client) Batch(ctx context.Context, requests []Request) ([]BatchResult, error) {
	out, err := call[BatchResults](ctx, c, request{method: "POST", path: "/v1/messages/batch", in: Batch{requests}})
	return out.Results, err
}

// Message returns a message as it is now.
func (c *Client) Message(ctx context.Context, id string) (Message, error) {
	return c.message(ctx, request{method: "GET", path: path("messages", id)})
}

// Messages returns a page of messages, newest first. cursor is "" or the Next of the
// page before; limit is up to 1,000, 0 for 50.
func (c *Client) Messages(ctx context.Context, f MessageFilter, cursor string, limit int) (Page[Message], error) {
	q := url.Values{"account": f.Accounts}
	set(q, "openid", f.OpenID)
	set(q, "state", string(f.State))
	if f.ErrCode != 0 {
		q.Set("errcode", strconv.Itoa(f.ErrCode))
	}
	for name, t := range map[string]time.Time{"since": f.From, "until": f.To} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, v := range f.Metadata {
		q.Set("metadata."+name, v)
	}
	return call[Page[Message]](ctx, c, request{method: "GET", path: "/v1/messages", query: paged(q, cursor, limit)})
}

// Attempts returns the attempts to deliver a message, oldest first.
func (c *Client) Attempts(ctx context.Context, id string) ([]Attempt, error) {
	page, err := call[Page[Attempt]](ctx, c, request{method: "GET", path: path("messages", id, "attempts")})
	return page.Items, err
}

// Cancel ends a message that is queued or parked. Else the error is a [*Problem]
// with Code [NotCancelable] and the Message.
func (c *Client) Cancel(ctx context.Context, id string) (Message, error) {
	return c.message(ctx, request{method: "POST", path: path("messages", id, "cancel")})
}

// Retry makes a new message of one that failed, expired, was canceled or is unknown.
// Without an idempotency key it returns an earlier one's message as long as that is
// not final.
func (c *Client) Retry(ctx context.Context, id string, o SendOptions) (Message, error) {
	return c.message(ctx, request{method: "POST", path: path("messages", id, "retry"), wait: o.Wait, key: o.IdempotencyKey})
}

// CancelAll cancels the messages of a selection, at most 1,000 in one call: as long as
// the answer has a Next, call it again with that Cursor.
func (c *Client) CancelAll(ctx context.Context, s Selection) (Selected, error) {
	return call[Selected](ctx, c, request{method: "POST", path: "/v1/messages/cancel", in: s})
}

// RetryAll repeats the messages of a selection as CancelAll cancels them. One that was
// repeated before is not repeated again, so that the call may be.
func (c *Client) RetryAll(ctx context.Context, s Selection) (Selected, error) {
	return call[Selected](ctx, c, request{method: "POST", path: "/v1/messages/retry", in: s})
}

// Resolve says what became of an unknown message: as is [Sent] or [Failed].
func (c *Client) Resolve(ctx context.Context, id string, as State) (Message, error) {
	return c.message(ctx, request{method: "POST", path: path("messages", id, "resolve"), in: Resolution{as}})
}

// AddAsset keeps a file for messages: its bytes as they are. The same bytes are the
// same asset. account may be "" if the key has only one. A file that WeChat takes
// nowhere is a [*Problem] with Code [InvalidAsset].
func (c *Client) AddAsset(ctx context.Context, account string, file io.Reader) (Asset, error) {
	q := url.Values{}
	set(q, "account", account)
	return call[Asset](ctx, c, request{method: "POST", path: "/v1/assets", query: q, raw: file, longer: assetTime})
}

// Asset returns what is known of an asset.
func (c *Client) Asset(ctx context.Context, id string) (Asset, error) {
	return call[Asset](ctx, c, request{method: "GET", path: path("assets", id), query: url.Values{"meta": {"1"}}})
}

// Assets returns a page of assets, the latest first, from cursor on ("": from the
// beginning); limit 1 to 1,000, 0: 50. No accounts: of all that the key is for. Problem:
// unknown-account, invalid-request.
func (c *Client) Assets(ctx context.Context, accounts []string, cursor string, limit int) (Page[Asset], error) {
	q := paged(url.Values{"account": accounts}, cursor, limit)
	return call[Page[Asset]](ctx, c, request{method: "GET", path: "/v1/assets", query: q})
}

// DeleteAsset forgets an asset. As long as messages that wait need it, it is a [*Problem]
// with Code [AssetNeeded], which names them. account may be "" if the key has only one.
func (c *Client) DeleteAsset(ctx context.Context, account, id string) error {
	q := url.Values{}
	set(q, "account", account)
	_, err := call[none](ctx, c, request{method: "DELETE", path: path("assets", id), query: q})
	return err
}

// AssetURL returns the asset with the address at which WeChat serves the picture for
// good, for [kefu.Article].PicURL say. It is uploaded the first time.
func (c *Client) AssetURL(ctx context.Context, account, id string) (Asset, error) {
	q := url.Values{"as": {"url"}}
	set(q, "account", account)
	return call[Asset](ctx, c, request{method: "GET", path: path("assets", id), query: q, longer: assetTime})
}

// AssetBytes returns the bytes of an asset; close them. ctx is of the reading, too.
func (c *Client) AssetBytes(ctx context.Context, id string) (io.ReadCloser, error) {
	res, err := c.do(ctx, request{method: "GET", path: path("assets", id), accept: "*/*"})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Trigger tells of something that opens a window, or closes it.
func (c *Client) Trigger(ctx context.Context, r TriggerRequest) (Triggered, error) {
	return call[Triggered](ctx, c, request{method: "POST", path: "/v1/triggers", in: r})
}

// Window tells whether a follower may be written to.
func (c *Client) Window(ctx context.Context, account, openid string) (Window, error) {
	return call[Window](ctx, c, request{method: "GET", path: path("conversations", account, openid, "window")})
}

// Typing shows "typing…" to a follower, or ends it.
func (c *Client) Typing(ctx context.Context, account, openid string, on bool) error {
	_, err := call[none](ctx, c, request{method: "POST", path: path("conversations", account, openid, "typing"), in: TypingRequest{&on}})
	return err
}

// CallWeChat makes one call of WeChat's API with the account's access token, or has a
// simulated WeChat answer it.
func (c *Client) CallWeChat(ctx context.Context, account string, r RawCall) (RawAnswer, error) {
	return call[RawAnswer](ctx, c, request{method: "POST", path: path("accounts", account, "wechat"), in: r})
}

// Conversations returns a page of conversations, the latest first; no accounts: of
// all that the key is for.
func (c *Client) Conversations(ctx context.Context, accounts []string, cursor string, limit int) (Page[Conversation], error) {
	q := paged(url.Values{"account": accounts}, cursor, limit)
	return call[Page[Conversation]](ctx, c, request{method: "GET", path: "/v1/conversations", query: q})
}

// Conversation returns the one with a follower.
func (c *Client) Conversation(ctx context.Context, account, openid string) (Conversation, error) {
	return call[Conversation](ctx, c, request{method: "GET", path: path("conversations", account, openid)})
}

// Timeline returns a page of what was said, newest first.
func (c *Client) Timeline(ctx context.Context, account, openid, cursor string, limit int) (Page[TimelineEntry], error) {
	return call[Page[TimelineEntry]](ctx, c, request{
		method: "GET", path: path("conversations", account, openid, "timeline"), query: paged(url.Values{}, cursor, limit),
	})
}

// Handover says who answers a follower from now on.
func (c *Client) Handover(ctx context.Context, account, openid string, h Handover) (Handling, error) {
	return call[Handling](ctx, c, request{method: "POST", path: path("conversations", account, openid, "handover"), in: h})
}

// Webhooks returns the webhooks, without their secrets.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	page, err := call[Page[Webhook]](ctx, c, request{method: "GET", path: "/v1/webhooks"})
	return page.Items, err
}

// Webhook returns a webhook, without its secret.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	return call[Webhook](ctx, c, request{method: "GET", path: path("webhooks", id)})
}

// AddWebhook makes a webhook. Its secret is in the answer, this once.
func (c *Client) AddWebhook(ctx context.Context, r WebhookRequest) (Webhook, error) {
	return call[Webhook](ctx, c, request{method: "POST", path: "/v1/webhooks", in: r})
}

// PutWebhook replaces the settings of a webhook; its secret and its place in the feed
// stay. revision is the [Webhook].Revision that it must have, "": any; another one is a
// [*Problem] with Code [PreconditionFailed].
func (c *Client) PutWebhook(ctx context.Context, id, revision string, r WebhookRequest) (Webhook, error) {
	return call[Webhook](ctx, c, request{method: "PUT", path: path("webhooks", id), in: r, match: revision})
}

// DeleteWebhook ends a webhook and forgets its attempts.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: "DELETE", path: path("webhooks", id)})
	return err
}

// RotateWebhook makes a new secret, which is in the answer, this once. The old one
// signs besides it for the overlap.
func (c *Client) RotateWebhook(ctx context.Context, id string, r RotateRequest) (Webhook, error) {
	return call[Webhook](ctx, c, request{method: "POST", path: path("webhooks", id, "rotate"), in: r})
}

// TestWebhook posts an event of the type webhook.test, once, and returns what came of
// it.
func (c *Client) TestWebhook(ctx context.Context, id string) (WebhookAttempt, error) {
	return call[WebhookAttempt](ctx, c, request{method: "POST", path: path("webhooks", id, "test"), longer: maxWebhookTime})
}

// maxWebhookTime is the longest that a webhook may take to answer.
const maxWebhookTime = 30 * time.Second

// ReplayWebhook has entries of the feed delivered once more.
func (c *Client) ReplayWebhook(ctx context.Context, id string, r ReplayRequest) (Replay, error) {
	return call[Replay](ctx, c, request{method: "POST", path: path("webhooks", id, "replay"), in: r})
}

// WebhookAttempts returns a page of the attempts to deliver to a webhook, newest first.
func (c *Client) WebhookAttempts(ctx context.Context, id, cursor string, limit int) (Page[WebhookAttempt], error) {
	return call[Page[WebhookAttempt]](ctx, c, request{method: "GET", path: path("webhooks", id, "attempts"), query: paged(url.Values{}, cursor, limit)})
}

// Export copies all that is kept of a follower to w: a line of JSON, an [Exported],
// each. It needs an admin key. After an error what w got is not the whole.
func (c *Client) Export(ctx context.Context, account, openid string, w io.Writer) error {
	r := request{method: "GET", path: path("conversations", account, openid, "export")}
	res, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return c.failed(r, err)
	}
	return nil
}

// Erase deletes all that is kept of a follower, for good. It needs an admin key.
// What waits is canceled; what is on its way is waited for.
func (c *Client) Erase(ctx context.Context, account, openid string) (Erased, error) {
	return call[Erased](ctx, c, request{method: "DELETE", path: path("conversations", account, openid), longer: eraseWait})
}

// eraseWait is how much longer than other calls an erasure may take.
const eraseWait = 10 * time.Minute

// Erasures returns what was erased, the latest first, at most limit (1 to 1,000).
func (c *Client) Erasures(ctx context.Context, limit int) ([]Erased, error) {
	page, err := call[Page[Erased]](ctx, c, request{method: "GET", path: "/v1/erasures", query: paged(url.Values{}, "", limit)})
	return page.Items, err
}

// Accounts returns the accounts that the key is for.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	page, err := call[Page[Account]](ctx, c, request{method: "GET", path: "/v1/accounts"})
	return page.Items, err
}

// Account returns an account, without its secrets.
func (c *Client) Account(ctx context.Context, appid string) (Account, error) {
	return call[Account](ctx, c, request{method: "GET", path: path("accounts", appid)})
}

// AddAccount makes an account. It is a [*Problem] with Code [AccountExists] if there
// is one.
func (c *Client) AddAccount(ctx context.Context, a Account) (Account, error) {
	return call[Account](ctx, c, request{method: "POST", path: "/v1/accounts", in: written(a)})
}

// PutAccount makes or replaces an account; secrets that are empty stay as they are. One
// that has a Revision, as those that were read have, is replaced only if nobody has
// changed it since; else the error is a [*Problem] with Code [PreconditionFailed].
func (c *Client) PutAccount(ctx context.Context, a Account) (Account, error) {
	return call[Account](ctx, c, request{method: "PUT", path: path("accounts", a.AppID), in: written(a), match: a.Revision})
}

// DeleteAccount forgets an account; its messages stay.
func (c *Client) DeleteAccount(ctx context.Context, appid string) error {
	_, err := call[none](ctx, c, request{method: "DELETE", path: path("accounts", appid)})
	return err
}

// CheckAccount asks WeChat whether an account's set-up is right.
func (c *Client) CheckAccount(ctx context.Context, appid string) (AccountCheck, error) {
	return call[AccountCheck](ctx, c, request{method: "POST", path: path("accounts", appid, "check")})
}

// Token tells how an account's access token is, without the token.
func (c *Client) Token(ctx context.Context, appid string) (TokenStatus, error) {
	return call[TokenStatus](ctx, c, request{method: "GET", path: path("accounts", appid, "token")})
}

// SupplyToken hands an access token over that was fetched elsewhere, in place of the
// one there is: each of an account with [SuppliedTokens], or the one that a system
// which is replaced still has.
func (c *Client) SupplyToken(ctx context.Context, appid string, r TokenRequest) (TokenStatus, error) {
	in := struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}{r.AccessToken.Reveal(), r.ExpiresIn}
	return call[TokenStatus](ctx, c, request{method: "PUT", path: path("accounts", appid, "token"), in: in})
}

// RevealToken returns an account's access token. It is on record who asked.
func (c *Client) RevealToken(ctx context.Context, appid string) (RevealedToken, error) {
	return call[RevealedToken](ctx, c, request{method: "POST", path: path("accounts", appid, "token", "reveal")})
}

// RenewToken voids an account's access token at once and gets another: for one that
// has leaked, 20 a day and 30 s apart.
func (c *Client) RenewToken(ctx context.Context, appid string) (TokenStatus, error) {
	return call[TokenStatus](ctx, c, request{method: "POST", path: path("accounts", appid, "token", "renew")})
}

// TokenEvents returns a page of who did what to an account's access token, newest
// first.
func (c *Client) TokenEvents(ctx context.Context, appid, cursor string, limit int) (Page[TokenEvent], error) {
	return call[Page[TokenEvent]](ctx, c, request{method: "GET", path: path("accounts", appid, "token", "events"), query: paged(url.Values{}, cursor, limit)})
}

// PauseAccount has nothing of the account posted until it is resumed; messages and
// callbacks are kept all the same.
func (c *Client) PauseAccount(ctx context.Context, appid, because string) (Account, error) {
	return call[Account](ctx, c, request{method: "POST", path: path("accounts", appid, "pause"), in: PauseRequest{because}})
}

// ResumeAccount ends whatever keeps the account's messages from leaving: a pause, a
// quota that was used up, a slow-down.
func (c *Client) ResumeAccount(ctx context.Context, appid string) (Account, error) {
	return call[Account](ctx, c, request{method: "POST", path: path("accounts", appid, "resume")})
}

// Keys returns the keys, without their text.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	page, err := call[Page[Key]](ctx, c, request{method: "GET", path: "/v1/keys"})
	return page.Items, err
}

// AddKey makes a key. Its text is in the answer, this once.
func (c *Client) AddKey(ctx context.Context, r KeyRequest) (Key, error) {
	return call[Key](ctx, c, request{method: "POST", path: "/v1/keys", in: r})
}

// Agents lists the people at the console.
func (c *Client) Agents(ctx context.Context) ([]Agent, error) {
	page, err := call[Page[Agent]](ctx, c, request{method: "GET", path: "/v1/agents"})
	return page.Items, err
}

// AddAgent adds one. Problems: conflict if the name is taken, invalid-request.
func (c *Client) AddAgent(ctx context.Context, r AgentRequest) (Agent, error) {
	return call[Agent](ctx, c, request{method: "POST", path: "/v1/agents", in: r})
}

// PutAgent changes what r names of an agent. Problem: not-found.
func (c *Client) PutAgent(ctx context.Context, id string, r AgentRequest) (Agent, error) {
	return call[Agent](ctx, c, request{method: "PUT", path: path("agents", id), in: r})
}

// DeleteAgent forgets an agent; their conversations are nobody's. Problem: not-found.
func (c *Client) DeleteAgent(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: "DELETE", path: path("agents", id)})
	return err
}

// AgentLink makes a link that signs the agent in once: /console#link=Link. Problem:
// not-found.
func (c *Client) AgentLink(ctx context.Context, id string) (AgentLink, error) {
	return call[AgentLink](ctx, c, request{method: "POST", path: path("agents", id, "link")})
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: "DELETE", path: path("keys", id)})
	return err
}

// Ready tells how the gateway is; not being ready is no error. It needs no key; why it is
// not ready, and Notes, it tells with one.
func (c *Client) Ready(ctx context.Context) (Health, error) {
	return call[Health](ctx, c, request{method: "GET", path: "/readyz", also: http.StatusServiceUnavailable})
}

// A writtenAccount is an account with its secrets in clear, on its way to the
// gateway alone.
type writtenAccount struct {
	Account
	Secret string `json:"secret,omitempty"`
	Token  string `json:"token,omitempty"`
	AESKey string `json:"aes_key,omitempty"`
}

func written(a Account) writtenAccount {
	a.Revision = ""
	return writtenAccount{a, a.Secret.Reveal(), a.Token.Reveal(), a.AESKey.Reveal()}
}
