package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

const (
	// MaxAnswer is how many bytes of a response are read as an answer.
	MaxAnswer    = 64 << 10
	mostMessages = 10 // of one answer
)

// ParseAnswer reads the body of a response with a status of 2xx. What is not JSON, and
// JSON without a member of an answer, is none: nil. An error says what is wrong with
// what was meant as one.
func ParseAnswer(contentType string, body []byte) (*gateway.Answer, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	body = bytes.TrimSpace(body)
	if len(body) == 0 || kind != "application/json" && (len(body) > MaxAnswer || body[0] != '{') {
		return nil, nil // "OK", a page: no answer was meant
	}
	if len(body) > MaxAnswer {
		return nil, fmt.Errorf("the response is larger than %d bytes", MaxAnswer)
	}
	if !utf8.Valid(body) {
		return nil, errors.New("the response is not UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, errors.New("the response is not a JSON object")
	}
	if members["messages"] == nil && members["typing"] == nil && members["handover"] == nil {
		return nil, nil
	}
	a := new(gateway.Answer)
	for name, into := range map[string]any{"messages": &a.Messages, "typing": &a.Typing, "handover": &a.Handover} {
		if raw := members[name]; raw != nil {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("%s has the wrong form", name)
			}
		}
	}
	if len(a.Messages) > mostMessages {
		return nil, fmt.Errorf("%d messages; an answer has up to %d", len(a.Messages), mostMessages)
	}
	if a.Handover != "" && !slices.Contains(gateway.Handlers(), a.Handover) {
		return nil, fmt.Errorf("handover is %.40q; it is bot, agent, kf or none", string(a.Handover))
	}
	if len(a.Messages) == 0 && !a.Typing && a.Handover == "" {
		return nil, nil
	}
	return a, nil
}

// Request makes of a message in an answer the request that goes to the follower:
// WeChat's own JSON, or a request of the API that has it as its message. touser is the
// follower, whatever it says; ai marks it as said by an AI.
func Request(message json.RawMessage, account, openid string, ai bool) (gateway.Request, error) {
	var r gateway.Request
	var members map[string]json.RawMessage
	if err := json.Unmarshal(message, &members); err != nil || members == nil {
		return r, errors.New("it is not an object")
	}
	r.Message = message
	if members["message"] != nil && members["msgtype"] == nil {
		d := json.NewDecoder(bytes.NewReader(message))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			return r, errors.New(strings.TrimPrefix(err.Error(), "json: "))
		}
		if r.Account != "" && r.Account != account {
			return r, errors.New("its account is another than the event's")
		}
	}
	r.Account, r.IdempotencyKey = account, ""
	var m kefu.Message
	if err := m.UnmarshalJSON(r.Message); err != nil {
		return r, err
	}
	m.To, m.AI = openid, m.AI || ai
	var err error
	r.Message, err = m.MarshalJSON()
	return r, err
}

// AnswerKey is the idempotency key of a message in an answer: the same webhook answered
// again makes no second message.
func AnswerKey(webhookID string, index int) string {
	return fmt.Sprintf("webhook %s %d", webhookID, index)
}
