package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kefu-go/kefu/gateway"
)

// A route is one call of the API. What openapi.json says of it is made from here.
type route struct {
	method, path string
	access       access
	do           func(*Server, *call) (status int, body any, err error) // status 0: it has answered itself
	doc
}

// A doc is what the description says beside the types.
type doc struct {
	says   string         // what it does, in one line
	params string         // names in params, of the query or the header; nothing else is taken in the query
	in     any            // a value of the body's type; nil: no body is read
	raw    string         // media types of a body that is not JSON
	out    map[int]any    // a value of the answer's type by status; nil: no body
	codes  string         // of problems, besides those that every route has
	media  string         // of the answer, if not JSON
	others map[string]any // other media types of the answer
	audit  string         // what is put on record of a call that took effect; "": nothing
}

// An access is the roles that may make a call; the empty one is nobody. Roles that
// are not named are refused.
type access []gateway.Role

var (
	public  = access{""} // also without a key
	readers = access{gateway.Admin, gateway.Send, gateway.Read, gateway.Leads, gateway.Answers, gateway.Views}
	senders = access{gateway.Admin, gateway.Send, gateway.Leads, gateway.Answers}
	owners  = access{gateway.Admin, gateway.Send, gateway.Leads} // of what is kept for all
	leaders = access{gateway.Admin, gateway.Leads}
	admins  = access{gateway.Admin}
	people  = access{gateway.Admin, gateway.Leads, gateway.Answers, gateway.Views} // with a session
)

// routes is every call of the API, on one page.
func routes() []route {
	type (
		out      = map[int]any
		message  = gateway.Message
		messages = gateway.Page[gateway.Message]
		account  = gateway.Account
		key      = gateway.Key
		webhook  = gateway.Webhook
	)
	return append([]route{
		{"POST", "/v1/messages", senders, (*Server).postMessage, doc{
			says: "Keep a message and deliver it", params: "wait Idempotency-Key Kefu-Source", in: gateway.Request{}, out: out{202: message{}, 200: message{}},
			codes: "invalid-json invalid-message invalid-request not-yet-supported idempotency-mismatch too-large unsupported-media-type unknown-account window-closed allowance-spent"}},
		{"POST", "/v1/messages/batch", senders, (*Server).postBatch, doc{
			says: "Keep up to 1,000 messages; each stands for itself", params: "Kefu-Source", in: gateway.Batch{}, out: out{200: gateway.BatchResults{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type"}},
		{"GET", "/v1/messages", readers, (*Server).listMessages, doc{
			says: "List messages, newest first", params: "account openid state errcode since until metadata.* cursor limit", out: out{200: messages{}}, codes: "invalid-request unknown-account"}},
		{"GET", "/v1/messages/{id}", readers, (*Server).getMessage, doc{says: "Show a message", out: out{200: message{}}, codes: "not-found"}},
		{"GET", "/v1/messages/{id}/attempts", readers, (*Server).listAttempts, doc{
			says: "List the attempts to deliver a message, oldest first", out: out{200: gateway.Page[gateway.Attempt]{}}, codes: "not-found"}},
		{"GET", "/v1/messages/{id}/pictures/{n}", readers, (*Server).getPicture, doc{
			says: "Get a picture that a message names by URL: of news the nth article's, counted from 1; of other kinds there is 1", out: out{200: nil}, others: pictureAnswers(), codes: "not-found"}},
		{"POST", "/v1/messages/cancel", senders, (*Server).cancelMessages, doc{
			says: "Cancel the messages of a selection, up to 1,000 in one call", audit: "message.cancel", in: gateway.Selection{}, out: out{200: gateway.Selected{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},
		{"POST", "/v1/messages/retry", senders, (*Server).retryMessages, doc{
			says: "Repeat the messages of a selection, each once, up to 1,000 in one call", audit: "message.retry", params: "Kefu-Source", in: gateway.Selection{}, out: out{200: gateway.Selected{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},
		{"POST", "/v1/messages/{id}/cancel", senders, (*Server).cancelMessage, doc{
			says: "Cancel a message that is queued or parked", audit: "message.cancel", out: out{200: message{}}, codes: "not-found not-cancelable"}},
		{"POST", "/v1/messages/{id}/retry", senders, (*Server).retryMessage, doc{
			says: "Make a new message of one that failed, expired, was canceled or is unknown", audit: "message.retry", params: "wait Idempotency-Key Kefu-Source", out: out{202: message{}, 200: message{}},
			codes: "not-found not-retryable invalid-request idempotency-mismatch unknown-account window-closed allowance-spent"}},
		{"POST", "/v1/messages/{id}/resolve", senders, (*Server).resolveMessage, doc{
			says: "Say what became of an unknown message", audit: "message.resolve", in: gateway.Resolution{}, out: out{200: message{}},
			codes: "not-found not-resolvable invalid-json invalid-request too-large unsupported-media-type"}},

		{"POST", "/v1/assets", senders, (*Server).postAsset, doc{
			says: "Keep a file for messages: its bytes as they are, or the first file of a form; the same bytes are the same asset", params: "account",
			raw: "application/octet-stream multipart/form-data", out: out{201: gateway.Asset{}}, codes: "invalid-asset too-large unsupported-media-type unknown-account storage-full"}},
		{"GET", "/v1/assets", owners, (*Server).listAssets, doc{
			says: "List assets, the latest first", params: "account cursor limit", out: out{200: gateway.Page[gateway.Asset]{}}, codes: "invalid-request unknown-account"}},
		{"GET", "/v1/assets/{id}", readers, (*Server).getAsset, doc{
			says: "Get the bytes of an asset; with meta=1 or Accept: application/json what is known of it, with as=url a picture's address at WeChat", params: "account as meta",
			out: out{200: gateway.Asset{}}, others: assetAnswers(), codes: "not-found unknown-account invalid-asset wechat-refused wechat-unreachable"}},
		{"DELETE", "/v1/assets/{id}", owners, (*Server).deleteAsset, doc{
			says: "Forget an asset; refused while a message that waits needs it", audit: "asset.delete", params: "account", out: out{204: nil}, codes: "not-found unknown-account invalid-request asset-needed"}},

		{"POST", "/v1/triggers", senders, (*Server).postTrigger, doc{
			says: "Tell of a trigger that WeChat doesn't push, or that was seen elsewhere", in: gateway.TriggerRequest{}, out: out{202: gateway.Triggered{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},

		{"GET", "/v1/conversations", readers, (*Server).listConversations, doc{
			says: "List conversations, the latest first", params: "account cursor limit", out: out{200: gateway.Page[gateway.Conversation]{}}, codes: "invalid-request unknown-account"}},
		{"GET", "/v1/conversations/{account}/{openid}", readers, (*Server).getConversation, doc{
			says: "Show a conversation", out: out{200: gateway.Conversation{}}, codes: "unknown-account not-found"}},
		{"GET", "/v1/conversations/{account}/{openid}/timeline", readers, (*Server).listTimeline, doc{
			says: "List what was said, newest first", params: "cursor limit", out: out{200: gateway.Page[gateway.TimelineEntry]{}}, codes: "invalid-request unknown-account not-found"}},
		{"GET", "/v1/conversations/{account}/{openid}/window", readers, (*Server).getWindow, doc{
			says: "Show whether a follower may be written to", out: out{200: gateway.Window{}}, codes: "unknown-account"}},
		{"GET", "/v1/conversations/{account}/{openid}/export", admins, (*Server).exportConversation, doc{
			says: "Export all that is kept of a follower, oldest first: a line of JSON each; the last may be missing if the answer breaks off", out: out{200: gateway.Exported{}}, media: "application/x-ndjson", codes: "unknown-account not-found"}},
		{"DELETE", "/v1/conversations/{account}/{openid}", admins, (*Server).eraseConversation, doc{
			says: "Erase all that is kept of a follower; what waits is canceled", audit: "conversation.erase", out: out{200: gateway.Erased{}}, codes: "unknown-account"}},
		{"GET", "/v1/erasures", admins, (*Server).listErasures, doc{
			says: "List erasures, the latest first: after a backup was restored, whose conversations have to be erased again", params: "limit", out: out{200: gateway.Page[gateway.Erased]{}}, codes: "invalid-request"}},
		{"POST", "/v1/conversations/{account}/{openid}/typing", senders, (*Server).postTyping, doc{
			says: "Show the follower that somebody types, or no longer", in: gateway.TypingRequest{}, out: out{204: nil},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account wechat-refused wechat-unreachable"}},

		{"POST", "/v1/conversations/{account}/{openid}/handover", senders, (*Server).postHandover, doc{
			says: "Say who answers the follower from now on: bot, agent, kf or none", in: gateway.Handover{}, out: out{200: gateway.Handling{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},

		{"GET", "/v1/events/head", readers, (*Server).getHead, doc{
			says: "Show the cursor of the newest entry: load what there is, then follow from here", out: out{200: gateway.Head{}}}},
		{"GET", "/v1/events", readers, (*Server).getEvents, doc{
			says: "Follow the feed: a stream if text/event-stream is accepted (from now on, unless there is a cursor), else a page (from the beginning)", params: "cursor Last-Event-ID limit account openid type beat",
			out: out{200: gateway.Page[gateway.FeedEntry]{}}, others: map[string]any{"text/event-stream": ""}, codes: "invalid-request unknown-account cursor-gone"}},

		{"GET", "/v1/callbacks", readers, (*Server).listCallbacks, doc{
			says: "List what followers wrote and did, newest first; a page may be empty though there is a next", params: "account openid cursor limit",
			out: out{200: gateway.Page[gateway.FeedEntry]{}}, codes: "invalid-request unknown-account"}},
		{"GET", "/v1/health/series", readers, (*Server).getSeries, doc{
			says: "Count what happened over the last hours, in steps: of 5 minutes up to 6 hours, else of an hour", params: "hours account",
			out: out{200: gateway.Series{}}, codes: "invalid-request unknown-account"}},

		{"GET", "/v1/accounts", readers, (*Server).listAccounts, doc{says: "List accounts", out: out{200: gateway.Page[account]{}}}},
		{"POST", "/v1/accounts", admins, (*Server).postAccount, doc{
			says: "Add an account", audit: "account.add", in: accountRequest{}, out: out{201: account{}}, codes: "invalid-json invalid-request not-yet-supported too-large unsupported-media-type account-exists"}},
		{"GET", "/v1/accounts/{account}", readers, (*Server).getAccount, doc{says: "Show an account", out: out{200: account{}}, codes: "unknown-account"}},
		{"PUT", "/v1/accounts/{account}", admins, (*Server).putAccount, doc{
			says: "Make or replace an account; secrets that are left out stay", audit: "account.put", params: "If-Match", in: accountRequest{}, out: out{200: account{}, 201: account{}},
			codes: "invalid-json invalid-request not-yet-supported too-large unsupported-media-type unknown-account precondition-failed"}},
		{"DELETE", "/v1/accounts/{account}", admins, (*Server).deleteAccount, doc{says: "Forget an account; its messages stay", audit: "account.delete", out: out{204: nil}, codes: "unknown-account"}},
		{"POST", "/v1/accounts/{account}/check", admins, (*Server).checkAccount, doc{
			says: "Ask WeChat whether the account's set-up is right; resumes one that was paused because it was not", out: out{200: gateway.AccountCheck{}}, codes: "unknown-account"}},
		{"POST", "/v1/accounts/{account}/pause", admins, (*Server).pauseAccount, doc{
			says: "Have nothing of the account posted; messages and callbacks are kept all the same", audit: "account.pause", in: gateway.PauseRequest{}, out: out{200: account{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},
		{"POST", "/v1/accounts/{account}/resume", admins, (*Server).resumeAccount, doc{
			says: "End whatever keeps the account's messages from leaving: a pause, a quota that was used up, a slow-down", audit: "account.resume", out: out{200: account{}}, codes: "unknown-account"}},

		{"GET", "/v1/accounts/{account}/rules", readers, (*Server).listRules, doc{
			says: "List what each trigger permits for an account, and where that was read", out: out{200: gateway.Page[gateway.Rule]{}}, codes: "unknown-account"}},
		{"GET", "/v1/accounts/{account}/token", readers, (*Server).getToken, doc{
			says: "Show how an account's access token is, without the token", out: out{200: gateway.TokenStatus{}}, codes: "unknown-account"}},
		{"PUT", "/v1/accounts/{account}/token", admins, (*Server).putToken, doc{
			says: "Hand an access token over that was fetched elsewhere", audit: "token.put", in: gateway.TokenRequest{}, out: out{200: gateway.TokenStatus{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account"}},
		{"POST", "/v1/accounts/{account}/token/reveal", admins, (*Server).revealToken, doc{
			says: "Show an account's access token; it is on record who asked", audit: "token.reveal", out: out{200: gateway.RevealedToken{}}, codes: "unknown-account no-token wechat-refused wechat-unreachable"}},
		{"POST", "/v1/accounts/{account}/token/renew", admins, (*Server).renewToken, doc{
			says: "Void an account's access token at once and get another: for one that has leaked", audit: "token.renew", out: out{200: gateway.TokenStatus{}},
			codes: "unknown-account no-token wechat-refused wechat-unreachable"}},
		{"GET", "/v1/accounts/{account}/token/events", admins, (*Server).listTokenEvents, doc{
			says: "List who did what to an account's access token, newest first", params: "cursor limit", out: out{200: gateway.Page[gateway.TokenEvent]{}}, codes: "unknown-account invalid-request"}},

		{"POST", "/v1/accounts/{account}/wechat", leaders, (*Server).postRaw, doc{
			says: "Make one call of WeChat's API with the account's token, or have a simulated WeChat answer it; leads: of messages, media and workers alone", in: gateway.RawCall{}, out: out{200: gateway.RawAnswer{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type unknown-account not-found no-token wechat-refused wechat-unreachable"}},

		{"GET", "/v1/keys", admins, (*Server).listKeys, doc{says: "List keys, without their text", out: out{200: gateway.Page[key]{}}}},
		{"POST", "/v1/keys", admins, (*Server).postKey, doc{
			says: "Make a key; its text is shown this once", audit: "key.add", in: gateway.KeyRequest{}, out: out{201: key{}}, codes: "invalid-json invalid-request too-large unsupported-media-type"}},
		{"DELETE", "/v1/keys/{id}", admins, (*Server).deleteKey, doc{says: "Revoke a key", audit: "key.revoke", out: out{204: nil}, codes: "not-found"}},

		{"GET", "/v1/webhooks", admins, (*Server).listWebhooks, doc{says: "List webhooks, without their secrets", out: out{200: gateway.Page[webhook]{}}}},
		{"POST", "/v1/webhooks", admins, (*Server).postWebhook, doc{
			says: "Add a webhook; its secret is shown this once", audit: "webhook.add", in: gateway.WebhookRequest{}, out: out{201: webhook{}}, codes: "invalid-json invalid-request too-large unsupported-media-type"}},
		{"GET", "/v1/webhooks/{id}", admins, (*Server).getWebhook, doc{says: "Show a webhook", out: out{200: webhook{}}, codes: "not-found"}},
		{"PUT", "/v1/webhooks/{id}", admins, (*Server).putWebhook, doc{
			says: "Replace the settings of a webhook; its secret and its place in the feed stay", audit: "webhook.put", params: "If-Match", in: gateway.WebhookRequest{}, out: out{200: webhook{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type not-found precondition-failed"}},
		{"DELETE", "/v1/webhooks/{id}", admins, (*Server).deleteWebhook, doc{says: "End a webhook and forget its attempts", audit: "webhook.delete", out: out{204: nil}, codes: "not-found"}},
		{"POST", "/v1/webhooks/{id}/rotate", admins, (*Server).rotateWebhook, doc{
			says: "Make a new secret, shown this once; the old one signs besides it for a while", audit: "webhook.rotate", in: gateway.RotateRequest{}, out: out{200: webhook{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type not-found"}},
		{"POST", "/v1/webhooks/{id}/test", admins, (*Server).testWebhook, doc{
			says: "Post an event of the type webhook.test once, and tell what came of it", out: out{200: gateway.WebhookAttempt{}}, codes: "not-found"}},
		{"POST", "/v1/webhooks/{id}/replay", admins, (*Server).replayWebhook, doc{
			says: "Deliver entries of the feed once more: one, a range, or all since a time", audit: "webhook.replay", in: gateway.ReplayRequest{}, out: out{202: gateway.Replay{}},
			codes: "invalid-json invalid-request too-large unsupported-media-type not-found cursor-gone"}},
		{"GET", "/v1/webhooks/{id}/attempts", admins, (*Server).listWebhookAttempts, doc{
			says: "List the attempts to deliver to a webhook, newest first; they are kept for 30 days. A page may be empty though there is a next", params: "cursor limit",
			out: out{200: gateway.Page[gateway.WebhookAttempt]{}}, codes: "invalid-request not-found"}},

		{"GET", "/healthz", public, (*Server).getHealth, doc{says: "Tell that the process lives, and with a key what an operator should know", out: out{200: gateway.Health{}}}},
		{"GET", "/readyz", public, (*Server).getReady, doc{says: "Tell whether messages are taken, and with a key why not and what an operator should know", out: out{200: gateway.Health{}, 503: gateway.Health{}}}},
		{"GET", "/openapi.json", public, (*Server).getOpenAPI, doc{says: "Show this description", out: out{200: map[string]any{}}}},
		{"GET", "/docs", public, (*Server).getReference, doc{says: "Show this description as a page", out: out{200: ""}, media: "text/html"}},
	}, slices.Concat(deskRoutes(), callbackRoutes())...)
}

// callbackRoutes are what WeChat calls.
func callbackRoutes() []route {
	plain := map[int]any{200: "", 400: "", 403: "", 413: "", 500: ""} // as callback.Handler answers
	return []route{
		{"GET", "/callback/{appid}", public, (*Server).callback, doc{
			says: "WeChat's check of the address", params: "*", out: plain, media: "text/plain", codes: "not-found"}},
		{"POST", "/callback/{appid}", public, (*Server).callback, doc{
			says: "WeChat's pushes, answered success or with a passive reply when they are kept", params: "*", out: plain, media: "text/plain",
			others: map[string]any{"text/xml": "", "application/json": map[string]any{}}, codes: "not-found"}},
	}
}

// A param is a member of the query or the header.
type param struct {
	name, in, says string
	value          any // of the type that openapi.json names
}

var params = []param{
	{"wait", "query", "answer when the message has ended or was parked, at most after this time: 10s, up to 60s", ""},
	{"Idempotency-Key", "header", "makes a repeat of the call answer the message of the first, for 7 days; up to 255 bytes", ""},
	{"If-Match", "header", "the revision that is to be replaced, in quotation marks: 412 if somebody has changed it since; default: whatever there is", ""},
	{"Kefu-Source", "header", "what is calling: api (default), cli, console or bot", ""},
	{"account", "query", "appid; may be repeated", ""},
	{"openid", "query", "of the follower", ""},
	{"state", "query", "of the message", gateway.State("")},
	{"errcode", "query", "of the message's outcome", 0},
	{"since", "query", "accepted at or after, RFC 3339", gateway.Time{}},
	{"until", "query", "accepted before, RFC 3339", gateway.Time{}},
	{"metadata.*", "query", "metadata.order=17: a member of the metadata has this value", ""},
	{"cursor", "query", "next of the page before", ""},
	{"limit", "query", "entries on the page, up to 1,000; default 50", 0},
	{"as", "query", "url: answer with a picture's address, which never ends; it is uploaded the first time", ""},
	{"meta", "query", "1: answer with what is known of it", ""},
	{"type", "query", "of the entry; may be repeated", ""},
	{"beat", "query", "seconds between the signs of life of a stream, 0.5 to 60; default 15", 0.5},
	{"hours", "query", "how far back, 1 to 168; default 24", 0},
	{"q", "query", "a text of 2 to 100 characters", ""},
	{"Last-Event-ID", "header", "the id of the last entry of the stream that was seen; counts before cursor", ""},
}

// takes reports whether the route knows the name in a query.
func (d doc) takes(name string) bool {
	if group, _, ok := strings.Cut(name, "."); ok {
		name = group + ".*"
	}
	names := strings.Fields(d.params)
	return slices.Contains(names, name) || slices.Contains(names, "*")
}

// register makes a mux of the routes that answers problems for whatever is not one.
func (s *Server) register(all []route) *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range all {
		mux.Handle(rt.method+" "+rt.path, s.serve(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, allowed := range methods {
		if slices.Contains(allowed, "GET") {
			allowed = append(allowed, "HEAD")
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		wrong := s.serve(route{access: public, doc: doc{params: "*"}, do: func(_ *Server, c *call) (int, any, error) {
			c.w.Header().Set("Allow", allow)
			return 0, nil, refuse(gateway.MethodNotAllowed, c.Method, allow)
		}})
		// Each by name: a pattern without a method would conflict with /v1/messages/{id}.
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
			if !slices.Contains(allowed, method) {
				mux.Handle(method+" "+path, wrong)
			}
		}
	}
	if s.Console != nil {
		console := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Console.ServeHTTP(unhurriedly(w), r) })
		mux.Handle("GET /console", console)
		mux.Handle("GET /console/", console)
	}
	mux.Handle("/", s.serve(route{access: public, doc: doc{params: "*"}, do: func(*Server, *call) (int, any, error) {
		return 0, nil, refuse(gateway.NotFound).because("no-route")
	}}))
	return mux
}
