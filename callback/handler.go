// Package callback receives what WeChat pushes to an Official Account's server:
// the messages that followers write and the events around them (消息与事件推送).
//
//	http.Handle("/callback", &callback.Handler{
//		AppID: "wx…", Token: token, AESKey: key,
//		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
//			if m, ok := e.(callback.TextMessage); ok {
//				return callback.Text{Content: "You said: " + m.Content}, nil
//			}
//			return nil, nil
//		},
//	})
//
// A request goes one way: [Handler] checks its signature, its age and that it is
// protected as the account is set up ([Mode]), decrypts it ([Crypt]), parses it to
// an [Event] and calls Receive; a [Reply] goes back as the push came, XML or JSON,
// encrypted or not.
//
// WeChat waits 5 s and delivers up to three times, in no promised order. Keep the
// event under its Key, answer nil, and write to the follower later with
// [kefu.Client]: an event's Trigger says what it permits. Or answer at once with a
// Reply, which uses no allowance.
package callback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

// A Mode is how the bodies of an account's callbacks are protected, as chosen on
// its console page.
type Mode string

const (
	// Plain (明文): the body is neither encrypted nor covered by the signature,
	// which signs only the time and a nonce. Whoever sees one request can send any
	// body with it for MaxSkew. Use it only for tests, or inside a closed network.
	Plain Mode = "plain"
	// Compat (兼容): the body comes in clear and encrypted. Only the encrypted part
	// is used, so this is as safe as Secure against forgery, not against reading.
	Compat Mode = "compat"
	// Secure (安全): encrypted and signed.
	Secure Mode = "secure"
)

// DefaultMaxSkew is how old or new a request's timestamp may be.
const DefaultMaxSkew = 10 * time.Minute

// A Handler receives the callbacks of one account: it checks, decrypts and parses
// each push, gives it to Receive and answers. Use it as a struct literal and don't
// change it afterwards. It is safe for concurrent use.
//
// A request that is replayed within MaxSkew passes, as WeChat's own repeats must.
// Drop what was seen before by [Event.Key], kept at least twice MaxSkew.
//
// Answers: 200; 400 for a body that can't be read; 403 for a request that is not
// WeChat's, not for this account, too old, or not protected as Mode says; 405; 413
// above 256 KiB; 500 if Receive fails or the handler's fields are wrong (see Check).
type Handler struct {
	AppID  string      // not needed in plain mode
	Token  kefu.Secret // required, whatever the mode: without it anyone could sign
	AESKey kefu.Secret // EncodingAESKey, 43 characters
	// OldAESKey is accepted besides AESKey while the console changes from one to
	// the other. An answer is encrypted as its push was.
	OldAESKey kefu.Secret
	// Mode is pinned: no request is accepted with less protection, whatever its
	// query says. Default: Secure with an AESKey, else Plain.
	Mode Mode
	// Receive is called for each push, also for repeats, concurrently and in no
	// promised order. Its context ends when WeChat gives up, after about 5 s. A nil
	// Reply answers "success". After an error WeChat posts the push again, three
	// times in all: return one if the event could not be kept.
	Receive func(ctx context.Context, e Event) (Reply, error)
	MaxSkew time.Duration    // default [DefaultMaxSkew]
	Now     func() time.Time // default [time.Now]
	Log     *slog.Logger     // default [slog.Default]; sees no content, no secret, no whole openid

	once  sync.Once
	mode  Mode     // never ""
	keys  []*Crypt // AESKey, OldAESKey; none in plain mode
	wrong error    // what is wrong with the fields
}

// Check reports what is wrong with the fields of h. Call it at start: until they
// are right, each request is answered with 500.
func (h *Handler) Check() error {
	h.once.Do(func() { h.wrong = h.setUp() })
	return h.wrong
}

func (h *Handler) setUp() error {
	if h.mode = h.Mode; h.mode == "" {
		h.mode = Plain
		if h.AESKey != "" || h.OldAESKey != "" {
			h.mode = Secure
		}
	}
	switch {
	case h.Token == "":
		return errors.New("callback: Token is empty: anyone could sign callbacks; take it from the account's console page")
	case h.Receive == nil:
		return errors.New("callback: Receive is nil: pushes would be lost")
	case h.mode == Plain:
		return nil
	case h.mode != Compat && h.mode != Secure:
		return fmt.Errorf("callback: no Mode %q; there are plain, compat and secure", string(h.mode))
	}
	for _, key := range []kefu.Secret{h.AESKey, h.OldAESKey} {
		if len(h.keys) > 0 && key == "" {
			break
		}
		c, err := NewCrypt(h.AppID, h.Token, key)
		if err != nil {
			return err
		}
		h.keys = append(h.keys, c)
	}
	return nil
}

// Format prints no more than whose h is: fmt would show what its fields hold.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprint(f, "callback.Handler ", h.AppID) }

// A refusal is why a request is not taken, and the status that says so.
type refusal struct {
	status int
	reason string // shown to whoever asked
	cause  error  // for the log alone, or nil
}

func (r *refusal) Error() string { return r.reason }

// errSealed is the one answer to an encrypted part that is signed and can't be
// used, whatever the cause: told apart, causes decrypt captured pushes for whoever
// knows the Token and not the key (a padding oracle).
const errSealed = "the encrypted part can't be read with this account's EncodingAESKey and appid"

var (
	errForged  = &refusal{http.StatusForbidden, "the signature is missing or wrong; is this the account's Token?", nil}
	errSkew    = &refusal{http.StatusForbidden, "the timestamp is too far from this machine's time", nil}
	errNoCrypt = &refusal{http.StatusForbidden, "the body is not encrypted, and this account takes no other; is its console page set to plain mode?", nil}
	errTooBig  = &refusal{http.StatusRequestEntityTooLarge, "the body is larger than a callback may be", nil}
)

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log := h.Log
	if log == nil {
		log = slog.Default()
	}
	if err := h.Check(); err != nil {
		log.ErrorContext(r.Context(), "callback is not set up", "err", err)
		http.Error(w, "this callback is not set up; its log says why", http.StatusInternalServerError)
		return
	}
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	a, err := h.serve(r, now())
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		log.WarnContext(r.Context(), "callback refused", "status", refused.status, "reason", refused.reason, "cause", refused.cause, "mode", string(h.mode))
		if refused.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, POST")
		}
		http.Error(w, refused.reason, refused.status)
		return
	case err != nil:
		log.ErrorContext(r.Context(), "callback not received: WeChat will post it again", "err", err)
		http.Error(w, "not received; post it again", http.StatusInternalServerError)
		return
	case a.wrong != nil:
		log.ErrorContext(r.Context(), "callback received, but its reply can't be sent", "err", a.wrong)
	}
	w.Header().Set("Content-Type", a.contentType+"; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // echostr is the caller's text
	w.Write(a.body)
}

// An accepted request's answer.
type accepted struct {
	body        []byte
	contentType string
	wrong       error // with the reply, which was left out
}

func (h *Handler) serve(r *http.Request, now time.Time) (accepted, error) {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodGet: // the URL check; its echostr is never encrypted
		if err := h.verify(q, "signature", now); err != nil {
			return accepted{}, err
		}
		return accepted{body: []byte(q.Get("echostr")), contentType: "text/plain"}, nil
	case http.MethodPost:
	default:
		return accepted{}, &refusal{http.StatusMethodNotAllowed, "WeChat calls this address with GET and POST", nil}
	}
	received, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case len(received) > maxBody:
		return accepted{}, errTooBig
	case err != nil:
		return accepted{}, &refusal{http.StatusBadRequest, "the body broke off", nil}
	}
	body := string(received)
	e, key, err := h.open(q, body, now)
	if err != nil {
		return accepted{}, err
	}
	reply, err := h.Receive(r.Context(), e)
	if err != nil {
		return accepted{}, fmt.Errorf("%v: %w", e.Head(), err)
	}
	success := accepted{body: []byte("success"), contentType: "text/plain"}
	if reply == nil {
		return success, nil
	}
	asJSON := isJSON(body)
	out, err := answer(e.Head(), reply, now, asJSON)
	if err == nil && key != nil {
		out, err = key.seal(out, q.Get("nonce"), now, asJSON)
	}
	switch {
	case err != nil:
		success.wrong = err
		return success, nil
	case asJSON:
		return accepted{body: out, contentType: "application/json"}, nil
	}
	return accepted{body: out, contentType: "text/xml"}, nil
}

// open checks, decrypts and parses a push. The key is the one that it was
// encrypted with, nil in plain mode.
func (h *Handler) open(q url.Values, body string, now time.Time) (Event, *Crypt, error) {
	if h.mode == Plain {
		if err := h.verify(q, "signature", now); err != nil {
			return nil, nil, err
		}
		e, err := parse(body)
		return e, nil, malformed(err)
	}
	d, err := scan(body)
	if err != nil {
		return nil, nil, malformed(err)
	}
	encrypt := d.text("Encrypt")
	if encrypt == "" {
		return nil, nil, errNoCrypt
	}
	if err := h.verify(q, "msg_signature", now, encrypt); err != nil {
		return nil, nil, err
	}
	var plain []byte
	for _, key := range h.keys {
		if plain, err = key.Decrypt(encrypt); err == nil {
			var e Event
			if e, err = parse(string(plain)); err == nil {
				return e, key, nil
			}
			break
		}
	}
	return nil, nil, &refusal{http.StatusForbidden, errSealed, err}
}

// verify checks the signature of that name and how old it is.
func (h *Handler) verify(q url.Values, signature string, now time.Time, encrypt ...string) error {
	timestamp := q.Get("timestamp")
	parts := append(make([]string, 0, 3), timestamp, q.Get("nonce"))
	if !signed(q.Get(signature), h.Token, append(parts, encrypt...)...) {
		return errForged
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > cmp.Or(h.MaxSkew, DefaultMaxSkew) {
		return errSkew
	}
	return nil
}

func malformed(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{http.StatusBadRequest, err.Error(), nil}
}
