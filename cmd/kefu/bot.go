package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/examples/bot"
	"github.com/kefu-go/kefu/gateway"
)

// botName is the name of the webhook that a bot makes for itself.
const botName = "kefu bot"

func (p *program) botCommand() *cobra.Command {
	e := new(entrance)
	var b bot.Bot
	var o botOptions
	cmd := &cobra.Command{
		Use: "bot", Short: "Answer followers with a language model · 用大模型回复粉丝",
		Long: "Answer followers with a language model: any server that speaks OpenAI's chat completions.\n" +
			"用大模型回复粉丝：任何兼容 OpenAI chat completions 的服务都可以。\n\n" +
			"The bot is a webhook that it makes at the gateway and deletes at its end; the gateway must be one that calls this machine\n" +
			"(kefu demo, or kefu serve --allow-private), or --url says how the bot is reached. With KEFU_WEBHOOK_SECRET it makes none: it serves\n" +
			"the webhook that was made with kefu webhook add --typing --timeout 30s.\n" +
			"机器人启动时在网关登记一个 webhook，退出时删除；网关须能访问它。设置 KEFU_WEBHOOK_SECRET 时不登记。\n\n" +
			"Environment: KEFU_OPENAI_KEY or KEFU_OPENAI_KEY_FILE, the key of the model's server; KEFU_WEBHOOK_SECRET.",
		Example: "  kefu bot --openai-base http://127.0.0.1:11434/v1 --model qwen3:8b\n" +
			"  kefu bot --openai-base https://api.deepseek.com/v1 --model deepseek-chat",
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.Log = slog.New(slog.NewTextHandler(p.stderr, nil))
			if err := o.check(p, &b); err != nil {
				return err
			}
			return p.runBot(cmd.Context(), e, o, &b)
		},
	}
	fs := cmd.Flags()
	e.flags(p, fs)
	addressFlag(fs, &b.BaseURL, "openai-base", "", "of the model's API, such as http://127.0.0.1:11434/v1")
	fs.StringVar(&b.Model, "model", "", "its name there")
	fs.StringVar(&o.promptFile, "prompt-file", "", "what the model is told first (default: to answer briefly, as your customer service)")
	fs.DurationVar(&b.Think, "think", 25*time.Second, "how long an answer may take, up to 29s")
	fs.StringVar((*string)(&b.HandTo), "hand-to", string(gateway.ByAgent), `who gets followers that ask for a person: agent (the console), or kf (WeChat's own customer service)`)
	fs.IntVar(&b.Low, "low", 1, "what of a follower's allowance brings a person in place of an answer; -1: none")
	fs.StringVar(&o.addr, "addr", anyPort, "where the bot listens; port 0 picks one")
	addressFlag(fs, &o.url, "url", "", "what the gateway calls, if that is not where the bot listens")
	fs.StringArrayVar(&o.accounts, "account", nil, "appid whose followers it answers; may be repeated (default: all)")
	return cmd
}

// botOptions are what surrounds a bot.
type botOptions struct {
	addr, url  string
	promptFile string
	accounts   []string
}

// mostPrompt is far more than a model is told well.
const mostPrompt = 64 << 10

// check fills b from files and the environment, and refuses what can't work.
func (o *botOptions) check(p *program, b *bot.Bot) error {
	u, err := url.Parse(b.BaseURL)
	if err != nil || !isAddress(b.BaseURL) || u.RawQuery != "" || u.Fragment != "" {
		return usagef("--openai-base is not the address of an API: %q", "--openai-base 不是接口地址：%q", hostOf(b.BaseURL)).
			then("for example --openai-base http://127.0.0.1:11434/v1", "例如 --openai-base http://127.0.0.1:11434/v1")
	}
	switch {
	case b.Model == "":
		return usagef("no model is named", "没有指定模型").then("for example --model qwen3:8b", "例如 --model qwen3:8b")
	case b.Think < time.Second || b.Think > 29*time.Second:
		return usagef("--think is %v; it is from 1s to 29s", "--think 是 %v；应为 1s 至 29s", b.Think)
	case b.HandTo != gateway.ByAgent && b.HandTo != gateway.ByKf:
		return usagef("--hand-to is %q; it is agent or kf", "--hand-to 是 %q；应为 agent 或 kf", string(b.HandTo))
	case b.Low == 0 || b.Low < -1 || b.Low > 100:
		return usagef("--low is %d; it is from 1 to 100, or -1", "--low 是 %d；应为 1 至 100，或 -1", b.Low)
	case o.url != "" && !isAddress(o.url):
		return usagef("--url %q is not an address", "--url %q 不是地址", hostOf(o.url))
	}
	if o.promptFile != "" {
		text, err := readSmall(o.promptFile, mostPrompt)
		if err != nil {
			return err
		}
		b.Prompt = text
	}
	b.Key = kefu.Secret(p.env["KEFU_OPENAI_KEY"])
	if file := p.env["KEFU_OPENAI_KEY_FILE"]; file != "" {
		text, err := readSmall(file, 4<<10)
		if err != nil {
			return err
		}
		b.Key = kefu.Secret(strings.TrimSpace(text))
	}
	if strings.ContainsFunc(b.Key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("the key of the model's server has spaces or other signs that no key has", "模型服务的密钥含有空格等非法字符")
	}
	if b.Key != "" && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		p.say("warning: the key goes to %s in clear; https is better", "警告：密钥将以明文发往 %s；建议使用 https", hostOf(b.BaseURL))
	}
	return nil
}

// readSmall is a file with at most that many bytes.
func readSmall(name string, most int64) (string, error) {
	info, err := os.Stat(name)
	var text []byte
	if err == nil && info.Size() > most {
		return "", failf("%s is larger than %d bytes", "%s 超过 %d 字节", name, most)
	} else if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		f := failf("%s can't be read", "无法读取 %s", name)
		f.cause = err
		return "", f
	}
	return string(text), nil
}

// runBot serves b until ctx ends.
func (p *program) runBot(ctx context.Context, e *entrance, o botOptions, b *bot.Bot) (err error) {
	l, err := listen("--addr", o.addr)
	if err != nil {
		return err
	}
	defer l.Close()
	at := urlOf(l)
	hook := gateway.Webhook{}
	if given := kefu.Secret(p.env["KEFU_WEBHOOK_SECRET"]); given != "" {
		if _, err := gateway.SignWebhook("", time.Now(), nil, given); err != nil {
			return usagef("KEFU_WEBHOOK_SECRET is none: it is whsec_ and 24 to 64 bytes in base64", "KEFU_WEBHOOK_SECRET 格式不对：应为 whsec_ 加 24 至 64 字节的 base64")
		}
		b.Secret = given
	} else {
		c, err := e.open(ctx, p)
		if err != nil {
			return err
		}
		if o.url == "" {
			o.url = at + "/"
		}
		if hook, err = c.addBot(ctx, o); err != nil {
			return err
		}
		b.Secret = kefu.Secret(hook.Secret)
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = errors.Join(err, c.explained(c.DeleteWebhook(ctx, hook.ID)))
		}()
	}
	server := p.serve(l, b)
	defer server.Close()
	if err := p.json(struct {
		Bot     string `json:"bot"`
		Webhook string `json:"webhook,omitempty"`
	}{at, hook.ID}); err != nil {
		return err
	}
	p.say("the bot answers with %s at %s; Ctrl-C ends it", "机器人使用 %s（%s）回复；Ctrl-C 结束", inert(b.Model), hostOf(b.BaseURL))
	<-ctx.Done()
	return nil
}

// addBot makes the webhook of a bot, in place of one that a bot at the same address has
// left behind.
func (c *caller) addBot(ctx context.Context, o botOptions) (gateway.Webhook, error) {
	all, err := c.Webhooks(ctx)
	if err != nil {
		return gateway.Webhook{}, c.explained(err)
	}
	for _, w := range all {
		if w.Name == botName && w.URL == o.url {
			if err := c.DeleteWebhook(ctx, w.ID); err != nil {
				return w, c.explained(err)
			}
		}
	}
	w, err := c.AddWebhook(ctx, gateway.WebhookRequest{
		URL: o.url, Name: botName, Accounts: o.accounts, Types: []string{"follower.message"}, Typing: true, Timeout: 30, Concurrency: 16,
		DisableAfter: 3600, // one that was killed stays behind
	})
	var problem *gateway.Problem
	if errors.As(err, &problem) && problem.Code == gateway.InvalidRequest && onLoopback(o.url) {
		f := failf("the gateway calls no address such as %s", "网关不访问 %s 这样的地址", hostOf(o.url)).
			then("start it with kefu serve --allow-private, or say with --url how it reaches the bot", "用 kefu serve --allow-private 启动网关，或用 --url 指定网关访问机器人的地址")
		f.cause = c.explained(err)
		return w, f
	}
	return w, c.explained(err)
}
