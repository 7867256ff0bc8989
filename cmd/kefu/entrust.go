package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// An entrusting is what a message that goes through the gateway may have besides.
type entrusting struct {
	entrance
	gateway.Request
	notBefore, expiresAt moment
	metadata             string
	split                bool
	options              gateway.SendOptions
}

// maxWait is the longest that the gateway lets a caller wait.
const maxWait = time.Minute

func (e *entrusting) flags(p *program, cmd *cobra.Command) {
	fs := cmd.PersistentFlags()
	e.entrance.flags(p, fs)
	fs.DurationVar(&e.options.Wait, "wait", 0, "wait until it has ended, up to 60s; the exit code says how")
	fs.Lookup("wait").NoOptDefVal = maxWait.String()
	fs.StringVar(&e.options.IdempotencyKey, "idempotency-key", "", "makes a repeat of this command answer the same message, for 7 days")
	fs.StringVar((*string)(&e.WhenClosed), "when-closed", "", "if the window is closed: park, fail or try (default: the account's)")
	fs.StringVar((*string)(&e.OnUnknown), "on-unknown", "", "if nobody can tell whether it arrived: hold (default), or resend: once more after 30 to 60s, it may arrive twice")
	fs.BoolVar(&e.split, "split", false, "send a text that is too long in parts; each takes one of the follower's messages")
	fs.StringVar((*string)(&e.Priority), "priority", "", "human, normal (default) or bulk")
	fs.Var(&e.notBefore, "not-before", "send it then, not earlier: RFC 3339, or a duration from now")
	fs.Var(&e.expiresAt, "expires-at", "give it up then (default: after 48h)")
	fs.StringVar(&e.metadata, "metadata", "", `yours to find it again, a JSON object: {"order":"17"}`)
}

// The flags that mean nothing without, or with, a gateway.
var (
	onlyDirect  = []string{"api-base", "no-check", "profile", "tries"}
	onlyGateway = []string{"gateway", "key", "wait", "idempotency-key", "when-closed", "on-unknown", "priority", "split", "not-before", "expires-at", "metadata"}
)

// oneWay refuses flags of the way that is not gone.
func oneWay(cmd *cobra.Command, direct bool) error {
	wrong, en, zh := onlyDirect, "--%s needs --direct: the gateway decides it by itself", "--%s 需要 --direct：经网关时由网关决定"
	if direct {
		wrong, en, zh = onlyGateway, "--%s means nothing with --direct, which goes without a gateway", "--direct 不经网关，--%s 不起作用"
	}
	for _, name := range wrong {
		if f := cmd.Flag(name); f != nil && f.Changed {
			return usagef(en, zh, name)
		}
	}
	return nil
}

// entrust hands WeChat's own JSON to the gateway and says what became of it.
func (s *sending) entrust(ctx context.Context, c *caller, message []byte) error {
	e := &s.entrusting
	r := e.Request
	r.Account, r.Message, r.NotBefore, r.ExpiresAt = s.appid, message, e.notBefore.at(), e.expiresAt.at()
	if e.split {
		r.LongText = gateway.Split
	}
	if e.metadata != "" {
		if r.Metadata = json.RawMessage(e.metadata); !json.Valid(r.Metadata) {
			return usagef("--metadata is not JSON", "--metadata 不是 JSON").then(`for example --metadata '{"order":"17"}'`, `例如 --metadata '{"order":"17"}'`)
		}
	}
	if e.options.Wait < 0 || e.options.Wait > maxWait {
		return usagef("--wait is %v; it is up to 60s", "--wait 是 %v；最长 60s", e.options.Wait)
	}
	m, err := c.Send(ctx, r, e.options)
	if err != nil {
		return c.explained(err)
	}
	return s.program.reportMessage(m, e.options.Wait > 0, s.asJSON)
}

// reportMessage prints a message that was kept. If it was waited for, its end is
// the error.
func (p *program) reportMessage(m gateway.Message, waited, asJSON bool) error {
	for _, w := range m.Warnings {
		p.say("warning: %[1]s %[2]s (source: %[4]s)", "警告：%[1]s %[3]s（来源：%[4]s）", w.Location, w.Message, w.Zh, w.Source)
	}
	var err error
	if asJSON {
		err = p.json(m)
	} else if _, err = fmt.Fprintf(p.stdout, "%s %s\n", inert(m.ID), inert(string(m.State))); err == nil && !waited && withheld(m) {
		p.say("it is kept, and goes when the follower acts", "已收下，等粉丝下次互动时送出")
	}
	if err != nil {
		f := failf("the gateway has kept %s, but its answer can't be written", "网关已收下 %s，但无法输出它的应答", m.ID).
			then("don't send it again; see: kefu messages show "+m.ID, "不要再发一次；见 kefu messages show "+m.ID)
		f.cause = err
		return f
	}
	if !waited {
		return nil
	}
	return ending(m)
}

// withheld reports whether m waits for the follower, or will as soon as its turn comes.
func withheld(m gateway.Message) bool {
	return m.State == gateway.Parked ||
		m.State == gateway.Queued && m.WhenClosed == gateway.Park && m.Window != nil && m.Window.State == gateway.WindowClosed
}

// ending is how the program ends after a message that was waited for.
func ending(m gateway.Message) error {
	var o gateway.Outcome
	if m.Outcome != nil {
		o = *m.Outcome
	}
	var f *failure
	switch m.State {
	case gateway.Sent:
		return nil
	case gateway.Failed:
		if o.ErrCode != 0 && o.Reason == "" { // with a reason it was withheld, and never reached WeChat
			return &kefu.Error{Op: "message/custom/send", Code: o.ErrCode, Msg: inert(o.ErrMsg), RID: inert(o.RID)}
		}
		return failf("%s failed: %s", "%s 发送失败：%s", m.ID, inert(o.Reason)).then(inert(o.Advice), inert(o.Advice))
	case gateway.Unknown:
		f = failf("nobody can tell whether WeChat accepted %s", "不知道微信是否收下了 %s", m.ID).
			then("look with the follower, then: kefu messages resolve "+m.ID+" sent (or failed)", "向粉丝核实，然后 kefu messages resolve "+m.ID+" sent（或 failed）")
		f.code = exitUnknown
	case gateway.Parked:
		f = failf("%s is parked: the follower's window does not let it out now", "%s 已暂存：粉丝的窗口现在不放行", m.ID).
			then("it goes when the follower acts; see: kefu window "+m.OpenID, "粉丝下次互动时送出；见 kefu window "+m.OpenID)
	case gateway.Expired, gateway.Canceled:
		f = failf("%s is %s and was not sent", "%s 已是 %s，没有发送", m.ID, m.State)
	default:
		f = failf("%s is still %s", "%s 仍是 %s", m.ID, m.State).then("see: kefu messages show "+m.ID, "见 kefu messages show "+m.ID)
	}
	return f
}

// readStdin reads what is piped in, up to what the gateway takes.
func (p *program) readStdin() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(p.stdin, mostStdin+1))
	switch {
	case err != nil:
		return nil, &failure{code: exitFailed, what: text{"can't read stdin", "无法读取标准输入"}, cause: err}
	case len(body) > mostStdin:
		return nil, failf("stdin has more than %d bytes", "标准输入超过 %d 字节", mostStdin)
	}
	return body, nil
}
