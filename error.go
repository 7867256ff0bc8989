package kefu

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// A Class groups refusals by what to do about them. Each is an error, so that
//
//	errors.Is(err, kefu.ErrWindowClosed)
//
// asks "what now?", while errors.As with [*Error] tells what exactly WeChat said.
type Class string

// The classes. Their advice is in rules/classes.tsv; see [Class.Advice].
const (
	ErrToken                Class = "token"                 // the access token is dead
	ErrBusy                 Class = "busy"                  // WeChat is busy: some more tries
	ErrRateLimited          Class = "rate-limited"          // slow the whole account
	ErrQuotaExhausted       Class = "quota-exhausted"       // an account's daily or monthly quota
	ErrAllowanceSpent       Class = "allowance-spent"       // this follower's messages are used up
	ErrWindowClosed         Class = "window-closed"         // the follower must act first
	ErrRecipientUnreachable Class = "recipient-unreachable" // not a follower, blocked, refuses
	ErrMediaInvalid         Class = "media-invalid"         // unknown, expired or unfit media
	ErrBadRequest           Class = "bad-request"           // the same request will be refused again
	ErrAccountConfig        Class = "account-config"        // the account's set-up: stop and tell a person
	ErrNotDelivered         Class = "not-delivered"         // certainly did not reach WeChat
	ErrUnknownCode          Class = "unknown-code"          // an errcode this version does not know
	// ErrUnknownOutcome: the request left and no answer tells what became of it.
	// For Send it means that the follower may or may not have the message.
	ErrUnknownOutcome Class = "unknown"
)

func (c Class) Error() string { return string(c) }

// Advice says in "zh" or "en" (the default) what to do about an error of c.
func (c Class) Advice(lang string) string {
	row := explanations().classes[c]
	if lang == "zh" {
		return row["advice_zh"]
	}
	return row["advice_en"]
}

// An Error is a refusal by WeChat: an answer with a non-zero errcode. It unwraps
// to its [Class]. It never contains a secret.
type Error struct {
	Op   string // the API path, "message/custom/send"
	Code int    // errcode
	Msg  string // errmsg, verbatim
	RID  string // the request id in errmsg, if any; WeChat keeps it for 7 days
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: errcode %d (%s): %s", e.Op, e.Code, e.Class(), e.Msg)
}

// Class returns the class of e. It depends on the call too: 40001 is a dead
// token from a business call, and a wrong secret from the token call.
func (e *Error) Class() Class { return lookUp(e.Op, e.Code).Class }

// Unwrap returns the class of e, for errors.Is.
func (e *Error) Unwrap() error { return e.Class() }

// Explain says what e means and what to do.
func (e *Error) Explain() Explanation { return lookUp(e.Op, e.Code) }

// A TransportError is a call without an answer that tells its outcome. It
// unwraps to [ErrNotDelivered] when the request certainly did not take effect
// (no connection was made, or WeChat's front refused it with a 3xx, or with a 4xx
// other than 408), else to [ErrUnknownOutcome], and to its cause.
type TransportError struct {
	Op     string
	Status int   // HTTP status of the answer, 0 without one
	Err    error // the cause; URLs, and with them the token, are removed
	class  Class
}

func (e *TransportError) Error() string {
	if e.class == ErrNotDelivered {
		return fmt.Sprintf("%s: not delivered: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s: outcome unknown: %v", e.Op, e.Err)
}

// Class returns [ErrNotDelivered] or [ErrUnknownOutcome].
func (e *TransportError) Class() Class { return e.class }

// Unwrap returns the class and the cause.
func (e *TransportError) Unwrap() []error { return []error{e.class, e.Err} }

// ClassOf returns the class of any error of this package, or "" if err has none.
func ClassOf(err error) Class {
	var c Class
	errors.As(err, &c)
	return c
}

// CertainlyNotDelivered reports whether err proves that WeChat did not accept
// the message: it refused it, or never got it, or it was not sent. It is false
// for a nil error and for an unknown outcome. Busy (-1) counts as a refusal: WeChat
// asks for another try, and few have arrived twice.
func CertainlyNotDelivered(err error) bool {
	c := ClassOf(err)
	return c != "" && c != ErrUnknownOutcome
}

// An Explanation is what the tables say about an errcode.
type Explanation struct {
	Code               int
	Class              Class
	Zh, En             string // what it means
	AdviceZh, AdviceEn string // what to do next
	Known              bool   // false for a code that is in no table
}

// Meaning is what it means in Chinese ("zh"), or else in English.
func (x Explanation) Meaning(lang string) string {
	if lang == "zh" {
		return x.Zh
	}
	return x.En
}

// Advice is what to do next, in Chinese ("zh"), or else in English.
func (x Explanation) Advice(lang string) string {
	if lang == "zh" {
		return x.AdviceZh
	}
	return x.AdviceEn
}

// Explain looks an errcode up. op is the API path without "/cgi-bin/", such as
// "message/custom/send" or "token"; "" means any business call.
func Explain(op string, code int) Explanation { return lookUp(op, code) }

// Codes returns every errcode of the table, in its order, as for a business call.
func Codes() []Explanation {
	t := explanations()
	out := make([]Explanation, len(t.order))
	for i, code := range t.order {
		out[i] = lookUp("", code)
	}
	return out
}

type codeKey struct {
	code  int
	token bool // on the calls that give a token
}

type explanationTables struct {
	order   []int
	codes   map[codeKey]map[string]string
	advice  map[codeKey]map[string]string
	classes map[Class]map[string]string
}

var explanations = sync.OnceValue(func() explanationTables {
	t := explanationTables{
		codes:   map[codeKey]map[string]string{},
		advice:  map[codeKey]map[string]string{},
		classes: map[Class]map[string]string{},
	}
	for row := range rows("errcodes") {
		k := codeKey{number(row["code"]), row["op"] == "token"}
		if !k.token {
			t.order = append(t.order, k.code)
		}
		t.codes[k] = row
	}
	for row := range rows("advice") {
		t.advice[codeKey{number(row["code"]), row["op"] == "token"}] = row
	}
	for row := range rows("classes") {
		t.classes[Class(row["class"])] = row
	}
	return t
})

func lookUp(op string, code int) Explanation {
	t := explanations()
	row, k := t.codes[codeKey{code, isTokenOp(op)}], codeKey{code, isTokenOp(op)}
	if row == nil {
		k.token = false
		row = t.codes[k]
	}
	if row == nil {
		c := t.classes[ErrUnknownCode]
		return Explanation{Code: code, Class: ErrUnknownCode, Zh: c["zh"], En: c["en"], AdviceZh: c["advice_zh"], AdviceEn: c["advice_en"]}
	}
	x := Explanation{Code: code, Class: Class(row["class"]), Zh: row["zh"], En: row["en"], Known: true}
	if code == 0 {
		x.Class = ""
		return x
	}
	c := t.classes[x.Class]
	x.AdviceZh, x.AdviceEn = c["advice_zh"], c["advice_en"]
	if a := t.advice[k]; a != nil {
		x.AdviceZh, x.AdviceEn = a["zh"], a["en"]
	}
	return x
}

func isTokenOp(op string) bool { return op == "token" || op == "stable_token" }

// newError makes the error of a refusal. WeChat ends errmsg with
// " rid: 8-8-8 hex digits"; older calls with " hint: [...]", which stays in Msg.
func newError(op string, code int, msg string) *Error {
	e := &Error{Op: op, Code: code, Msg: msg}
	if i := strings.LastIndex(msg, "rid: "); i >= 0 {
		if rid := strings.TrimSpace(msg[i+len("rid: "):]); isRID(rid) {
			e.RID = rid
		}
	}
	return e
}

func isRID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 3 {
		return false
	}
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 16, 64); err != nil {
			return false
		}
	}
	return true
}
