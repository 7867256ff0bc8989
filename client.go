package kefu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A Client calls the WeChat API for one account. Only Tokens is required; set
// the fields before the first call. It is safe for concurrent use.
type Client struct {
	Tokens  TokenSource
	BaseURL string       // default [DefaultBaseURL]
	HTTP    *http.Client // its Transport and Timeout are used; default: our own, [DefaultTimeout]

	Rules   *Rules // limits to check messages against; default: those of [DefaultProfile]
	NoCheck bool   // true: send without checking, and let WeChat refuse

	once sync.Once
	end  *endpoint
	err  error
}

// A Response is WeChat's answer to a send.
type Response struct {
	ErrCode int    `json:"errcode"`
	ErrMsg  string `json:"errmsg"`
	RID     string `json:"rid,omitempty"` // taken from ErrMsg
	// MsgID and Code are in answers of some other calls and of older
	// documents; custom/send returns neither.
	MsgID    string      `json:"msgid,omitempty"`
	Code     string      `json:"code,omitempty"`
	Warnings []Violation `json:"warnings,omitempty"` // limits about which sources differ
}

func (r Response) String() string {
	s := "errcode=" + strconv.Itoa(r.ErrCode) + " errmsg=" + strconv.Quote(r.ErrMsg)
	if r.MsgID != "" {
		s += " msgid=" + r.MsgID
	}
	if r.Code != "" {
		s += " code=" + r.Code
	}
	return s
}

// Send delivers m to WeChat. A nil error means that WeChat accepted it (errcode
// 0), not that the follower saw it: there is no receipt.
//
// A message that WeChat would certainly refuse is not posted: the error is an
// [*InvalidError]. A refusal is an [*Error] with its class, such as
// [ErrWindowClosed] or [ErrAllowanceSpent]. A [*TransportError] is either
// [ErrNotDelivered] or [ErrUnknownOutcome]; after the latter a second Send may
// reach the follower twice, for WeChat has no idempotency key.
//
// Send never repeats a post, with one exception: after 40001, 40014 or 42001,
// which refuse the token before the message is looked at, it posts once more
// with a refreshed token, if Tokens can give one.
//
// Source: developers.weixin.qq.com/doc/service/api/customer/message/api_sendcustommessage
func (c *Client) Send(ctx context.Context, m Message) (Response, error) {
	var warned []Violation
	room := new(sendRoom)
	codec := &room.codec
	codec.place = room.place[:0]
	if !c.NoCheck {
		rules := c.Rules
		if rules == nil {
			rules = defaultRules()
		}
		var refused []Violation
		if refused, warned = m.check(codec, rules); refused != nil {
			return Response{}, &InvalidError{refused}
		}
	}
	res, err := c.SendJSON(ctx, m.write(codec, room.body[:0]))
	res.Warnings = warned
	return res, err
}

// A sendRoom is the memory of one Send, in one piece. It is not used again: the
// transport may still read the body when Send has returned.
type sendRoom struct {
	codec codec
	place [64]byte
	body  [768]byte
}

var defaultRules = sync.OnceValue(func() *Rules { r, _ := RulesFor(""); return &r })

const sendPath = "/cgi-bin/message/custom/send"

// SendJSON posts body to custom/send as it is, unchecked: WeChat judges it.
// Otherwise it is like [Client.Send].
func (c *Client) SendJSON(ctx context.Context, body []byte) (Response, error) {
	if body == nil {
		body = []byte{}
	}
	answer, err := c.call(ctx, &request{path: sendPath, body: body, contentType: jsonType})
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Op == opOf(sendPath) {
			return Response{ErrCode: e.Code, ErrMsg: e.Msg, RID: e.RID}, err
		}
		return Response{}, err
	}
	if string(answer) == okAnswer {
		return Response{ErrMsg: "ok"}, nil
	}
	var r struct {
		ErrMsg string          `json:"errmsg"`
		MsgID  json.RawMessage `json:"msgid"`
		Code   json.RawMessage `json:"code"`
	}
	if err := json.Unmarshal(answer, &r); err != nil { // accepted all the same
		return Response{}, nil
	}
	text := func(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
	return Response{ErrMsg: r.ErrMsg, MsgID: text(r.MsgID), Code: text(r.Code)}, nil
}

// Typing shows the follower "typing…" for about 15 s or until the next message.
// It needs a message to or from them in the last 30 s (else 45080), and no
// typing state yet (else 45081). It takes nothing from the allowance.
func (c *Client) Typing(ctx context.Context, openid string) error {
	return c.typing(ctx, openid, "Typing")
}

// CancelTyping ends the state that [Client.Typing] began.
func (c *Client) CancelTyping(ctx context.Context, openid string) error {
	return c.typing(ctx, openid, "CancelTyping")
}

func (c *Client) typing(ctx context.Context, openid, command string) error {
	body := appendString([]byte(`{"touser":`), openid)
	body = append(appendString(append(body, `,"command":`...), command), '}')
	_, err := c.call(ctx, &request{path: "/cgi-bin/message/custom/typing", body: body, contentType: jsonType})
	return err
}

// endpoint is where the client's requests go.
func (c *Client) endpoint() (*endpoint, error) {
	c.once.Do(func() {
		if c.end, c.err = newEndpoint(c.BaseURL, c.HTTP); c.err == nil && c.Tokens == nil {
			c.err = errors.New("kefu: Client without Tokens: set it, for example to CachedToken(StableToken{…})")
		}
	})
	return c.end, c.err
}

// withToken runs exchange with a token, and once more with a refreshed one if
// WeChat refuses the first.
func withToken[T any](ctx context.Context, c *Client, r *request, exchange func(context.Context, *endpoint, *request) (T, error)) (T, error) {
	var none T
	end, err := c.endpoint()
	if err != nil {
		return none, &TransportError{Op: r.op(), Err: err, class: ErrNotDelivered}
	}
	tok, err := c.Tokens.Token(ctx)
	if err != nil {
		return none, noToken(r.op(), err)
	}
	r.token = tok.Value
	got, err := exchange(ctx, end, r)
	var refusal *Error
	if err == nil || !refusesToken(err, &refusal) {
		return got, err
	}
	refresher, ok := c.Tokens.(Refresher)
	if !ok {
		return none, err
	}
	if hears, ok := refresher.(interface{ Refused(Token, *Error) }); ok {
		hears.Refused(tok, refusal)
	}
	fresh, failed := refresher.Refresh(ctx, tok)
	if failed != nil {
		return none, fmt.Errorf("%w; and no new token: %w", err, noToken(r.op(), failed))
	}
	if fresh.Value == tok.Value {
		return none, err
	}
	return exchange(ctx, end, &request{path: r.path, query: r.query, token: fresh.Value, body: r.body, contentType: r.contentType, patience: r.patience})
}

// refusesToken reports whether err refuses the token before anything else was
// looked at.
func refusesToken(err error, e **Error) bool {
	return errors.As(err, e) && ((*e).Code == 40001 || (*e).Code == 40014 || (*e).Code == 42001)
}

// noToken says that a call did not start for want of a token: certainly not
// delivered, whatever became of the token call. Only a refusal that is about the account
// keeps its class, since it meets every call: a wrong set-up, or too many calls.
func noToken(op string, err error) error {
	switch ClassOf(err) {
	case ErrAccountConfig, ErrRateLimited:
		return fmt.Errorf("%s: no access token: %w", op, err)
	}
	var t *TransportError
	if errors.As(err, &t) {
		err = fmt.Errorf("%s: %w", t.Op, t.Err)
	}
	return &TransportError{Op: op, Err: fmt.Errorf("no access token: %w", err), class: ErrNotDelivered}
}

// call makes one call with JSON as its answer, and decides what became of it.
func (c *Client) call(ctx context.Context, r *request) ([]byte, error) {
	return withToken(ctx, c, r, decided)
}

func decided(ctx context.Context, end *endpoint, r *request) ([]byte, error) {
	answer, status, err := end.answer(ctx, r)
	if err == nil {
		err = outcome(r, status, answer)
	}
	return answer, err
}

// outcome decides what an answer means, in the order of the contract: a numeric
// errcode counts whatever the HTTP status; without one, 3xx and 4xx (but 408) are
// certain refusals; a missing errcode means success on every call but custom/send;
// all else, an errcode that is no number too, is unknown.
func outcome(r *request, status int, answer []byte) error {
	if string(answer) == okAnswer {
		return nil
	}
	code, errmsg, state := readErrcode(answer)
	switch {
	case state == coded && code == 0:
		return nil
	case state == coded:
		return newError(r.op(), code, r.blank(errmsg))
	case status >= 300 && status < 500 && status != http.StatusRequestTimeout:
		return &TransportError{Op: r.op(), Status: status, class: ErrNotDelivered, Err: r.foreign(status, answer)}
	case state == uncoded && status == http.StatusOK && r.path != sendPath:
		return nil
	}
	return &TransportError{Op: r.op(), Status: status, class: ErrUnknownOutcome, Err: r.foreign(status, answer)}
}

// foreign describes an answer that is not WeChat's. Of an answer to a token call
// nothing is shown: there may be a token in it.
func (r *request) foreign(status int, answer []byte) error {
	if r.token == "" {
		return fmt.Errorf("HTTP %d and %d bytes without errcode", status, len(answer))
	}
	return fmt.Errorf("HTTP %d without errcode: %q", status, r.blank(excerpt(answer)))
}

type answerState byte

const (
	foreign answerState = iota // not a JSON object, or with an errcode that is no number
	uncoded                    // a JSON object without errcode
	coded
)

// okAnswer is, to the byte, how WeChat says yes; it is recognised without
// decoding.
const okAnswer = `{"errcode":0,"errmsg":"ok"}`

// readErrcode finds the errcode of an answer.
func readErrcode(answer []byte) (code int, errmsg string, state answerState) {
	var object map[string]json.RawMessage
	if json.Unmarshal(answer, &object) != nil || object == nil {
		return 0, "", foreign
	}
	raw, ok := object["errcode"]
	if !ok {
		return 0, "", uncoded
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		return 0, "", foreign
	}
	_ = json.Unmarshal(object["errmsg"], &errmsg) // absent or not text: ""
	return int(n), errmsg, coded
}

// post calls path with in as its JSON and reads the answer into a Res.
func post[Res any](ctx context.Context, c *Client, path string, in any) (Res, error) {
	var out Res
	body, err := marshal(in)
	if err != nil {
		return out, fmt.Errorf("%s: %w", opOf(path), err)
	}
	answer, err := c.call(ctx, &request{path: path, body: body, contentType: jsonType})
	return decodeAnswer[Res](path, answer, err)
}

func decodeAnswer[Res any](path string, answer []byte, err error) (Res, error) {
	var out Res
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, &TransportError{Op: opOf(path), Status: http.StatusOK, class: ErrUnknownOutcome, Err: fmt.Errorf("an answer of another shape: %w", err)}
	}
	return out, nil
}

// LogValue shows a client without its secrets.
func (c *Client) LogValue() slog.Value { return slog.StringValue("kefu.Client " + c.BaseURL) }
