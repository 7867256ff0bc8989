package kefutest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
)

// What each failure looks like to the SDK, and whether the follower got the message.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name    string
		failure Failure
		class   kefu.Class // "": sent
		arrived int
	}{
		{"refused", ErrCode(45015), kefu.ErrWindowClosed, 0},
		{"busy", ErrCode(-1), kefu.ErrBusy, 0},
		{"the whole account too fast", ErrCode(45011), kefu.ErrRateLimited, 0},
		{"a code that nobody knows", ErrCode(99999), kefu.ErrUnknownCode, 0},
		{"request dropped", DropRequest, kefu.ErrUnknownOutcome, 0},
		{"answer dropped", DropReply, kefu.ErrUnknownOutcome, 1},
		{"502", Fault{Status: 502}, kefu.ErrUnknownOutcome, 0},
		{"429", Fault{Status: 429}, kefu.ErrNotDelivered, 0},
		{"204: no answer in an answer", Fault{Status: 204}, kefu.ErrUnknownOutcome, 0},
		{"late, and waited for", Fault{Delay: Duration(time.Second)}, "", 1},
		{"too late", Fault{Delay: Duration(time.Minute)}, kefu.ErrUnknownOutcome, 1},
		{"late refusal", Fault{Delay: Duration(time.Second), ErrCode: 45047}, kefu.ErrAllowanceSpent, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := New()
				defer w.Close()
				w.UserSends("oUser1")
				w.Fail(tt.failure)
				client := w.Client()
				hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}
				_, err := client.Send(t.Context(), hello)
				if got := kefu.ClassOf(err); got != tt.class || len(w.Sent()) != tt.arrived {
					t.Errorf("%v, %d arrived, want class %q and %d", err, len(w.Sent()), tt.class, tt.arrived)
				}
				if left := w.Window("oUser1").Remaining; left != 5-tt.arrived {
					t.Errorf("%d left of the allowance", left)
				}
				if _, err := client.Send(t.Context(), hello); err != nil {
					t.Errorf("the next: %v", err)
				}
			})
		})
	}
}

// A refusal in words of its own, as WeChat's are with the request's id behind them.
func TestFaultInItsOwnWords(t *testing.T) {
	w := New()
	defer w.Close()
	w.UserSends("oUser1")
	w.Fail(Fault{ErrCode: 45099, ErrMsg: "<b>\n\"too\" odd"})
	_, err := w.Client().Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}})
	var refused *kefu.Error
	if !errors.As(err, &refused) || refused.Code != 45099 || !strings.HasPrefix(refused.Msg, "<b>\n\"too\" odd rid: ") {
		t.Errorf("%v", err)
	}
}

// Which calls a fault strikes.
func TestWhichCallsFail(t *testing.T) {
	strikes := func(f Fault, to ...string) (struck []int) {
		x := newWire(t)
		f.ErrCode = 45009
		x.w.Fail(f)
		for i, openid := range to {
			if x.sendText(openid) == 45009 {
				struck = append(struck, i+1)
			}
		}
		return struck
	}
	nine := slices.Repeat([]string{"oA"}, 9)
	for _, tt := range []struct {
		name  string
		fault Fault
		to    []string
		want  []int
	}{
		{"the next by itself", Fault{}, nine, []int{1}},
		{"the next two", Fault{Next: 2}, nine, []int{1, 2}},
		{"every third", Fault{Every: 3}, nine, []int{3, 6, 9}},
		{"every third, twice", Fault{Every: 3, Next: 2}, nine, []int{3, 6}},
		{"always", Fault{Probability: 1}, nine[:3], []int{1, 2, 3}},
		{"to one follower", Fault{To: "oB"}, []string{"oA", "oB", "oB"}, []int{2}},
		{"every second to one follower", Fault{To: "oB", Every: 2}, []string{"oB", "oA", "oB", "oA", "oB", "oB"}, []int{3, 6}},
		{"another call", Fault{Path: "message/custom/typing"}, nine, nil},
		{"all below a path", Fault{Path: "/cgi-bin/message/*", Next: 2}, nine, []int{1, 2}},
		{"all calls", Fault{Path: "*", Next: 2}, nine, []int{1, 2}},
	} {
		if got := strikes(tt.fault, tt.to...); !slices.Equal(got, tt.want) {
			t.Errorf("%s: struck %v, want %v", tt.name, got, tt.want)
		}
	}
	thousand := slices.Repeat([]string{"oA"}, 1000)
	first := strikes(Fault{Probability: 0.1, Seed: 7}, thousand...)
	if again := strikes(Fault{Probability: 0.1, Seed: 7}, thousand...); !slices.Equal(first, again) {
		t.Error("the same seed strikes other calls")
	}
	if other := strikes(Fault{Probability: 0.1, Seed: 8}, thousand...); slices.Equal(first, other) {
		t.Error("another seed strikes the same calls")
	}
	if n := len(first); n < 60 || n > 140 {
		t.Errorf("%d of 1000 struck with probability 0.1", n)
	}
}

func TestFaultOfOneAccount(t *testing.T) {
	other := Account{AppID: "wxother", Secret: "00000000000000000000000000000001"}
	w := New(Account{}, other)
	defer w.Close()
	w.Account("wxother").Fail(ErrCode(-1))
	w.UserSends("oUser1")
	if _, err := w.Client().Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "x"}}); err != nil {
		t.Errorf("the fault of another account struck: %v", err)
	}
}

func TestMend(t *testing.T) {
	x := newWire(t)
	mend := x.w.Fail(Fault{ErrCode: -1, Every: 1})
	if code := x.sendText("oUser1"); code != -1 {
		t.Fatalf("errcode %d", code)
	}
	mend()
	mend()
	if code := x.sendText("oUser1"); code != 45015 {
		t.Errorf("mended: errcode %d", code)
	}
}

func TestImpossibleFaults(t *testing.T) {
	w := New()
	defer w.Close()
	for name, f := range map[string]Fault{
		"nothing goes wrong": {},
		"words of nothing":   {ErrMsg: "no", Drop: DropReply},
		"two ways":           {ErrCode: -1, Drop: DropReply},
		"no such drop":       {Drop: "sometimes"},
		"no such status":     {Status: 42},
		"no such call":       {Path: "/cgi-bin/nothing", ErrCode: -1},
		"every and chance":   {Every: 2, Probability: 0.5, ErrCode: -1},
		"chance above 1":     {Probability: 2, ErrCode: -1},
		"negative":           {Next: -1, ErrCode: -1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			w.Fail(f)
		}()
	}
}

// Tokens can fail as well: the SDK refreshes one that died early.
func TestTokenFaults(t *testing.T) {
	w := New()
	defer w.Close()
	w.UserSends("oUser1")
	client := w.Client()
	hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}
	w.ExpireTokens()
	w.Fail(Fault{Path: "stable_token", Status: 503})
	if _, err := client.Send(t.Context(), hello); !errors.Is(err, kefu.ErrNotDelivered) {
		t.Errorf("no token: %v, want not delivered", err)
	}
	fresh := w.Client()
	if _, err := fresh.Send(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	w.ExpireTokens()
	if _, err := fresh.Send(t.Context(), hello); err != nil {
		t.Errorf("a dead token should be refreshed: %v", err)
	}
}

// A cut connection over a socket is cut as one in process is.
func TestDropsOverASocket(t *testing.T) {
	w := NewServer()
	defer w.Close()
	w.UserSends("oUser1")
	client := w.Client()
	for i, drop := range []Drop{DropRequest, DropReply} {
		w.Fail(drop)
		if _, err := client.Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "x"}}); !errors.Is(err, kefu.ErrUnknownOutcome) {
			t.Errorf("%s: %v", drop, err)
		}
		if n := len(w.Sent()); n != i {
			t.Errorf("%s: %d arrived, want %d", drop, n, i)
		}
	}
}

func TestCutInProcessIsUnexpectedEOF(t *testing.T) {
	w := New()
	defer w.Close()
	w.UserSends("oUser1")
	w.Fail(DropReply)
	_, err := w.Client().Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "x"}})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// The log of calls shows what struck them, and no secret.
func TestRequests(t *testing.T) {
	w := New()
	defer w.Close()
	w.UserSends("oUser1")
	w.Fail(DropReply)
	client := w.Client()
	hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}
	client.Send(t.Context(), hello)
	client.Send(t.Context(), hello)
	got := w.Requests()
	if len(got) != 3 || got[0].Path != "/cgi-bin/stable_token" || got[1].Fault == nil || got[1].Status != 0 || got[2].Status != 200 || got[2].OpenID != "oUser1" {
		t.Fatalf("%+v", got)
	}
	for _, r := range got {
		if text := fmt.Sprintf("%+v %s", r, encode(&r)); strings.Contains(text, secret) || strings.Contains(text, w.account.stable.value) {
			t.Errorf("a secret in %s", text)
		}
	}
	if !strings.Contains(got[0].Body, appid) || got[0].Query != "" || !strings.Contains(got[2].Query, "access_token=[secret]") {
		t.Errorf("%+v", got)
	}
	wire := &wire{t: t, w: w, token: ""}
	leaky := w.account.stable.value
	wire.post(nil, "/cgi-bin/message/custom/send"+leaky, `{"\u0073ecret":"`+secret+`","access_token":"`+leaky+`"}`)
	wire.post(nil, "/cgi-bin/message/custom/send?access%5Ftoken="+leaky+"&Secret=%26"+secret, `{}`)
	for _, r := range w.Requests() {
		if text := string(encode(&r)); strings.Contains(text, secret) || strings.Contains(text, leaky) {
			t.Errorf("a secret in %s", text)
		}
	}
	for range 1100 {
		client.Typing(t.Context(), "oNobody")
	}
	if got := w.Requests(); len(got) != mostRequests || got[999].Path != "/cgi-bin/message/custom/typing" || got[0].ErrCode != 45015 {
		t.Errorf("%d kept", len(got))
	}
}
