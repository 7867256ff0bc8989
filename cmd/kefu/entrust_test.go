package main

import (
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// `send --wait` exits with 0 if WeChat has taken the message, 3 if WeChat refused it,
// 4 if nobody can tell, 1 after anything else.
func TestExitAfterWait(t *testing.T) {
	for _, tt := range []struct {
		name    string
		state   gateway.State
		outcome *gateway.Outcome
		code    int
	}{
		{"sent", gateway.Sent, nil, exitDone},
		{"refused by WeChat", gateway.Failed, &gateway.Outcome{ErrCode: 45015, ErrMsg: "response out of time limit"}, exitRefused},
		{"refused by WeChat, without a word", gateway.Failed, &gateway.Outcome{ErrCode: 45015}, exitRefused},
		{"withheld by the gateway", gateway.Failed, &gateway.Outcome{ErrCode: 45015, Reason: "withheld: the window is closed"}, exitFailed},
		{"never reached WeChat", gateway.Failed, &gateway.Outcome{Reason: "no connection"}, exitFailed},
		{"failed without an outcome", gateway.Failed, nil, exitFailed},
		{"unknown", gateway.Unknown, nil, exitUnknown},
		{"parked", gateway.Parked, nil, exitFailed},
		{"expired", gateway.Expired, nil, exitFailed},
		{"canceled", gateway.Canceled, nil, exitFailed},
		{"still queued", gateway.Queued, nil, exitFailed},
	} {
		if got := exitCode(ending(gateway.Message{ID: "msg_1", State: tt.state, Outcome: tt.outcome})); got != tt.code {
			t.Errorf("%s: exit %d, want %d", tt.name, got, tt.code)
		}
	}
}
