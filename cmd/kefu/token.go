package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A tokenDoor is where the token commands go: a gateway and one of its accounts.
type tokenDoor struct {
	entrance
	appid string
}

func (p *program) tokenCommand() *cobra.Command {
	d := new(tokenDoor)
	show := p.tokenShowCommand(d)
	cmd := &cobra.Command{
		Use: "token", Short: "The access token of an account · 公众号的 access_token",
		Long: "Show how the access token of an account is, hand one over, renew it, or list who did what to it.\n" +
			"查看公众号的 access_token 状态，导入、更换，或列出谁动过它。",
		Example: "  kefu token\n  kefu token import --expires-in 7000 < token.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return p.subcommand(cmd, args)
			}
			return nil
		},
		RunE: show.RunE,
	}
	d.flags(p, cmd.PersistentFlags())
	cmd.PersistentFlags().StringVar(&d.appid, "account", "", "appid; may be left out if there is only one")
	cmd.AddCommand(show, p.tokenImportCommand(d), p.tokenRenewCommand(d), p.tokenAuditCommand(d), p.tokenSourceCommand(d))
	return cmd
}

// enter finds the gateway and the account.
func (d *tokenDoor) enter(cmd *cobra.Command, p *program) (*caller, string, error) {
	c, err := d.open(cmd.Context(), p)
	if err != nil {
		return nil, "", err
	}
	appid, err := c.theAccount(cmd.Context(), d.appid)
	return c, appid, err
}

func (p *program) tokenShowCommand(d *tokenDoor) *cobra.Command {
	var reveal, asJSON bool
	cmd := &cobra.Command{
		Use: "show", Short: "Show how the token is, without the token · 查看状态（不显示 token 本身）",
		Example: "  kefu token show --json\n  kefu token show --reveal", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, appid, err := d.enter(cmd, p)
			if err != nil {
				return err
			}
			if reveal {
				t, err := c.RevealToken(cmd.Context(), appid)
				if err != nil {
					return c.explained(err)
				}
				if asJSON {
					return p.json(t)
				}
				p.say("it lives for %d s more; that you asked is on record (kefu token audit)", "还有 %d 秒有效；这次查看已记录（kefu token audit）", t.ExpiresIn)
				_, err = fmt.Fprintln(p.stdout, t.AccessToken)
				return err
			}
			s, err := c.Token(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(s)
			}
			return p.showToken(s)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&reveal, "reveal", false, "print the token itself; needs an admin key, and is put on record")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) showToken(s gateway.TokenStatus) error {
	return table(p.stdout, func(row func(...any)) {
		row("account", s.Account)
		row("source", s.Source)
		state := string(s.State)
		if s.ExpiresAt != nil {
			state += ", until " + stamp(*s.ExpiresAt)
		}
		row("state", state)
		if f := s.From; f != nil {
			row("from", string(f.Action)+" "+stamp(f.At)+" by "+f.By+parenthesis(f.Why))
		}
		row("fetches today", budgetLine(s.Fetches))
		row("forced today", budgetLine(s.Forced))
		contested := "no"
		if s.Contested != nil {
			contested = "another system ended it " + stamp(*s.Contested)
		}
		row("contested", contested)
		if s.NextAt != nil {
			row("next fetch", "not before "+stamp(*s.NextAt))
		}
		if s.Because != "" {
			row("because", s.Because)
		}
	})
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func budgetLine(b gateway.Budget) string {
	return fmt.Sprintf("%d of %d; none after %d", b.Used, b.Max, b.Stop)
}

func (p *program) tokenImportCommand(d *tokenDoor) *cobra.Command {
	var seconds int64
	var asJSON bool
	cmd := &cobra.Command{
		Use: "import", Short: "Hand over a token that was fetched elsewhere, on stdin · 从标准输入导入别处取得的 token",
		Long: "Hand over a token that was fetched elsewhere: the running system's, so that taking over ends nothing, or each new one\n" +
			"of an account whose tokens come from outside (kefu token source supplied). It is read from stdin, as WeChat's own\n" +
			"answer {\"access_token\":…,\"expires_in\":…}, or bare with --expires-in; a command line can be seen by others.\n" +
			"导入别处取得的 access_token：接管时不踢掉正在运行的系统，或用于由外部提供 token 的公众号。",
		Example: "  kefu token import < answer.json\n  kefu token import --expires-in 7000 < token.txt", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := p.readStdin()
			if err != nil {
				return err
			}
			r, err := parseToken(b, seconds)
			if err != nil {
				return err
			}
			c, appid, err := d.enter(cmd, p)
			if err != nil {
				return err
			}
			s, err := c.SupplyToken(cmd.Context(), appid, r)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(s)
			}
			return p.showToken(s)
		},
	}
	fs := cmd.Flags()
	fs.Int64Var(&seconds, "expires-in", 0, "seconds that it lives from now, up to 86400")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// parseToken reads WeChat's answer, or a bare token. What is wrong is said without
// repeating it.
func parseToken(b []byte, seconds int64) (r gateway.TokenRequest, err error) {
	b = bytes.TrimSpace(b)
	if bytes.HasPrefix(b, []byte("{")) {
		if json.Unmarshal(b, &r) != nil || r.AccessToken == "" {
			return r, usagef(`stdin is not of the form {"access_token":"…","expires_in":7200}`, `标准输入的格式应为 {"access_token":"…","expires_in":7200}`)
		}
	} else {
		r.AccessToken = kefu.Secret(b)
	}
	if seconds != 0 {
		r.ExpiresIn = seconds
	}
	switch {
	case r.AccessToken == "":
		return r, usagef("there is no token on stdin", "标准输入里没有 token").then("kefu token import --expires-in 7000 < token.txt", "kefu token import --expires-in 7000 < token.txt")
	case r.ExpiresIn == 0:
		return r, usagef("it is not said how long the token lives", "没有说明 token 还有多久有效").then("add --expires-in SECONDS", "加上 --expires-in 秒数")
	}
	return r, nil
}

func (p *program) tokenRenewCommand(d *tokenDoor) *cobra.Command {
	return &cobra.Command{
		Use: "renew", Short: "Void the token at once and get another, for one that has leaked · 立即作废并更换（泄露时用）",
		Example: "  kefu token renew", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, appid, err := d.enter(cmd, p)
			if err != nil {
				return err
			}
			s, err := c.RenewToken(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			return p.showToken(s)
		},
	}
}

func (p *program) tokenAuditCommand(d *tokenDoor) *cobra.Command {
	var g paging
	cmd := &cobra.Command{
		Use: "audit", Short: "List who did what to the token, newest first · 列出谁动过 token",
		Example: "  kefu token audit --limit 20", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, appid, err := d.enter(cmd, p)
			if err != nil {
				return err
			}
			page, err := c.TokenEvents(cmd.Context(), appid, g.cursor, g.limit)
			if err != nil {
				return c.explained(err)
			}
			return show(p, g, page, func(row func(...any)) {
				row("AT", "ACTION", "WHY", "BY", "OUTCOME", "EXPIRES")
				for _, e := range page.Items {
					expires, outcome := "", e.Outcome
					if e.ExpiresAt != nil {
						expires = stamp(*e.ExpiresAt)
					}
					if e.ErrCode != 0 {
						outcome += " " + strconv.Itoa(e.ErrCode)
					}
					row(e.At.UTC().Format(time.RFC3339), e.Action, e.Why, e.By, outcome, expires)
				}
			})
		},
	}
	g.flags(cmd.Flags())
	return cmd
}

func (p *program) tokenSourceCommand(d *tokenDoor) *cobra.Command {
	return &cobra.Command{
		Use: "source own|supplied", Short: "Let the gateway fetch tokens, or wait for those from outside · 由网关获取，或由外部提供",
		Example: "  kefu token source supplied", Args: arguments("own|supplied"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{gateway.OwnTokens, gateway.SuppliedTokens}, args[0]) {
				return usagef("%q is no source of tokens", "%q 不是 token 的来源", args[0]).then("there are own and supplied", "可选：own、supplied")
			}
			c, appid, err := d.enter(cmd, p)
			if err != nil {
				return err
			}
			a, err := c.Account(cmd.Context(), appid)
			if err == nil {
				a.TokenSource = args[0]
				_, err = c.PutAccount(cmd.Context(), a)
			}
			if err != nil {
				return c.explained(err)
			}
			if args[0] == gateway.SuppliedTokens {
				p.say("%s waits for a token whenever it has none that works: kefu token import", "%s 没有可用的 token 时将等待：kefu token import", appid)
			}
			return nil
		},
	}
}
