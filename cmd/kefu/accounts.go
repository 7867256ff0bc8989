package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

func (p *program) accountCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "account", Short: "The official accounts of the gateway · 网关的公众号",
		Example: "  kefu account list", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.accountAddCommand(e), p.accountListCommand(e), p.accountShowCommand(e), p.accountCheckCommand(e), p.accountRulesCommand(e), p.accountSetCommand(e),
		p.accountPauseCommand(e), p.accountResumeCommand(e))
	return cmd
}

func (p *program) accountAddCommand(e *entrance) *cobra.Command {
	var a gateway.Account
	var asJSON bool
	cmd := &cobra.Command{
		Use: "add [-]", Short: "Add the account in KEFU_ACCOUNT, or on stdin · 添加公众号",
		Long: "Add an account, APPID:SECRET[:TOKEN[:AESKEY]], from KEFU_ACCOUNT, or from stdin with -.\n" +
			"从 KEFU_ACCOUNT（或用 - 从标准输入）添加公众号；不用命令行参数，因为本机其他人能看到。",
		Example: "  kefu account add --name shop\n  kefu account add - < account.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return nil
			}
			return arguments()(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			from, given := "KEFU_ACCOUNT", p.env["KEFU_ACCOUNT"]
			if len(args) == 1 {
				b, err := p.readStdin()
				if err != nil {
					return err
				}
				from, given = "stdin", strings.TrimSpace(string(b))
			}
			if given == "" {
				return usagef("there is no account to add", "没有要添加的公众号").
					then("export KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]] (not as a flag: others on this machine can read those)",
						"export KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]]（不用命令行参数：本机其他人能看到）")
			}
			parsed, err := parseAccount(from, given)
			if err != nil {
				return err
			}
			a.AppID, a.Secret, a.Token, a.AESKey = parsed.AppID, parsed.Secret, parsed.Token, parsed.AESKey
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			made, err := c.AddAccount(cmd.Context(), a)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(made)
			}
			p.say("callbacks go to %s/callback/%s (%s mode)", "回调地址 %s/callback/%s（%s 模式）", c.BaseURL, made.AppID, made.Mode)
			_, err = fmt.Fprintln(p.stdout, made.AppID)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&a.Name, "name", "", "for people")
	fs.StringVar((*string)(&a.Mode), "mode", "", "of callbacks: "+string(callback.Plain)+", "+string(callback.Compat)+" or "+string(callback.Secure)+" (default: secure with an AESKEY)")
	fs.StringVar(&a.Profile, "profile", "", "rules: "+strings.Join(kefu.Profiles(), ", "))
	fs.StringVar(&a.Callbacks, "callbacks", "", `"here" (default), or "elsewhere" if the gateway does not get them`)
	fs.StringVar(&a.CallbackForward, "callback-forward", "", "a callback of yours that gets each push once it is kept, and may answer passively")
	fs.BoolVar(&asJSON, "json", false, "print the account as JSON")
	return cmd
}

func (p *program) accountListCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List accounts, without their secrets · 列出公众号（不含密钥）",
		Example: "  kefu account list --json", Args: arguments(),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, _ []string) error {
			all, err := c.Accounts(cmd.Context())
			if err != nil {
				return c.explained(err)
			}
			return show(p, paging{asJSON: asJSON}, gateway.Page[gateway.Account]{Items: all}, func(row func(...any)) {
				row("APPID", "PROFILE", "MODE", "STATE", "CALLBACKS", "NAME")
				for _, a := range all {
					row(a.AppID, a.Profile, a.Mode, standingOf(a), a.Callbacks, inert(a.Name))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) accountCheckCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check [APPID]", Short: "Ask WeChat whether appid and secret are right · 向微信核对 appid 与密钥",
		Long: "Ask WeChat whether appid and secret are right. An account that was paused because WeChat refused it is resumed if they are.\n" +
			"向微信核对 appid 与密钥。因微信拒绝而暂停的公众号，核对通过后自动恢复。",
		Example: "  kefu account check", Args: oneOrNone("APPID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			appid, err := c.theAccount(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			check, err := c.CheckAccount(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			switch {
			case asJSON:
				err = p.json(check)
			case check.OK:
				_, err = fmt.Fprintf(p.stdout, "%s: ok\n", appid)
			}
			switch {
			case err != nil || check.OK:
				return err
			case check.Problem != nil && check.Problem.ErrCode != 0:
				return &kefu.Error{Op: "stable_token", Code: check.Problem.ErrCode, Msg: inert(check.Problem.ErrMsg), RID: inert(check.Problem.RID)}
			case check.Problem != nil:
				return c.explained(check.Problem)
			}
			return failf("the gateway does not say why", "网关没有说明原因")
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// oneOrNone takes one argument or none.
func oneOrNone(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return arguments(name)(cmd, args)
	}
}

func (p *program) accountRulesCommand(e *entrance) *cobra.Command {
	var profile string
	var cells []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "rules [APPID]", Short: "Show an account's windows and allowances, or change them · 查看或修改公众号的窗口与条数",
		Example: "  kefu account rules\n  kefu account rules wx0123456789abcdef --profile legacy_2021 --set user_message=20/48h", Args: oneOrNone("APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			own, err := parseCells(cells)
			if err != nil {
				return err
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			appid, err := c.theAccount(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			a, err := c.Account(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			if profile != "" || len(own) > 0 {
				if profile != "" {
					a.Profile = profile
				}
				if a.Rules == nil {
					a.Rules = map[kefu.Trigger]gateway.Allowance{}
				}
				for t, cell := range own {
					a.Rules[t] = cell
					if cell.Seconds == 0 { // back to the profile's
						delete(a.Rules, t)
					}
				}
				if a, err = c.PutAccount(cmd.Context(), a); err != nil {
					return c.explained(err)
				}
			}
			rules, err := rulesOf(a)
			if err != nil {
				return err
			}
			if asJSON {
				return p.json(rules)
			}
			fmt.Fprintf(p.stdout, "%s\n", a.Profile)
			return table(p.stdout, func(row func(...any)) {
				for _, t := range kefu.Triggers() {
					if cell, ok := rules.Rules[t]; ok {
						most := "no limit"
						if cell.Max != nil {
							most = strconv.Itoa(*cell.Max)
						}
						row(t, most, short(time.Duration(cell.Seconds)*time.Second))
					}
				}
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&profile, "profile", "", "from now on: "+strings.Join(kefu.Profiles(), ", "))
	fs.StringArrayVar(&cells, "set", nil, "override a cell, TRIGGER=MAX/TIME (no limit: TRIGGER=-/TIME; back to the profile: TRIGGER=); may be repeated")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// accountRules are the rules in force for an account.
type accountRules struct {
	AppID   string                             `json:"appid"`
	Profile string                             `json:"profile"`
	Rules   map[kefu.Trigger]gateway.Allowance `json:"rules"`
	Own     []kefu.Trigger                     `json:"overridden"`
}

func rulesOf(a gateway.Account) (accountRules, error) {
	out := accountRules{AppID: a.AppID, Profile: a.Profile, Rules: map[kefu.Trigger]gateway.Allowance{}, Own: []kefu.Trigger{}}
	r, err := kefu.RulesFor(a.Profile)
	if err != nil {
		return out, failf("the gateway has a profile that this kefu does not know: %s", "网关的规则集 %s 是这个 kefu 不认识的", inert(a.Profile))
	}
	for t, cell := range r.Allowances {
		own := gateway.Allowance{Seconds: int(cell.For / time.Second)}
		if cell.Max != kefu.Unlimited {
			own.Max = &cell.Max
		}
		out.Rules[t] = own
	}
	maps.Copy(out.Rules, a.Rules)
	out.Own = append(out.Own, slices.Sorted(maps.Keys(a.Rules))...)
	return out, nil
}

// parseCells reads TRIGGER=MAX/TIME.
func parseCells(cells []string) (map[kefu.Trigger]gateway.Allowance, error) {
	own := map[kefu.Trigger]gateway.Allowance{}
	for _, s := range cells {
		name, cell, ok := strings.Cut(s, "=")
		bad := usagef("--set %q is not of the form TRIGGER=MAX/TIME", "--set %q 的格式应为 触发=条数/时间", s).
			then("for example --set user_message=20/48h", "例如 --set user_message=20/48h")
		if !ok || !slices.Contains(kefu.Triggers(), kefu.Trigger(name)) {
			return nil, bad
		}
		if cell == "" {
			own[kefu.Trigger(name)] = gateway.Allowance{}
			continue
		}
		most, span, ok := strings.Cut(cell, "/")
		life, err := time.ParseDuration(span)
		if !ok || err != nil || life < time.Second {
			return nil, bad
		}
		a := gateway.Allowance{Seconds: int(life / time.Second)}
		if most != "-" {
			n, err := strconv.Atoi(most)
			if err != nil || n < 0 {
				return nil, bad
			}
			a.Max = &n
		}
		own[kefu.Trigger(name)] = a
	}
	return own, nil
}
