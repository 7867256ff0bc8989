package main

import (
	"cmp"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// parseAccount reads APPID:SECRET[:TOKEN[:AESKEY]]. Its error does not repeat what
// was given: there are secrets in it.
func parseAccount(where, s string) (kefutest.Account, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 4 || parts[0] == "" || parts[1] == "" {
		return kefutest.Account{}, usagef("%s is not of the form APPID:SECRET[:TOKEN[:AESKEY]]", "%s 的格式应为 APPID:SECRET[:TOKEN[:AESKEY]]", where)
	}
	parts = append(parts, "", "")
	return kefutest.Account{AppID: parts[0], Secret: kefu.Secret(parts[1]), Token: kefu.Secret(parts[2]), AESKey: kefu.Secret(parts[3])}, nil
}

// A direct way leads to WeChat's API without a gateway between.
type direct struct {
	yes     bool
	apiBase string
	appid   string
}

func (d *direct) flags(p *program, fs *pflag.FlagSet) {
	fs.BoolVar(&d.yes, "direct", false, "call WeChat itself, without a gateway")
	addressFlag(fs, &d.apiBase, "api-base", cmp.Or(p.env["KEFU_API_BASE"], kefu.DefaultBaseURL), "where WeChat's API is (KEFU_API_BASE)")
	fs.StringVar(&d.appid, "account", "", "appid of the account (default: the only one; with --direct that of KEFU_ACCOUNT)")
}

// client returns a client for the account in KEFU_ACCOUNT. A simulator on this
// machine is called as its own demo account unless another is named.
func (d *direct) client(p *program) (*kefu.Client, error) {
	if !isAddress(d.apiBase) {
		return nil, usagef("--api-base %s is not an address", "--api-base %s 不是地址", hostOf(d.apiBase)).
			then("for example "+kefu.DefaultBaseURL+" or http://"+defaultSim, "例如 "+kefu.DefaultBaseURL+" 或 http://"+defaultSim)
	}
	account := kefutest.DefaultAccount
	switch given := p.env["KEFU_ACCOUNT"]; {
	case given != "":
		var err error
		if account, err = parseAccount("KEFU_ACCOUNT", given); err != nil {
			return nil, err
		}
	case !onLoopback(d.apiBase):
		return nil, usagef("there is no account to send from", "没有指定公众号").
			then("export KEFU_ACCOUNT=APPID:SECRET (not as a flag: others on this machine can read those)",
				"export KEFU_ACCOUNT=APPID:SECRET（不用命令行参数：本机其他人能看到）")
	}
	if d.appid != "" && d.appid != account.AppID {
		return nil, usagef("--account is %s, but the secret in KEFU_ACCOUNT is of %s", "--account 是 %s，而 KEFU_ACCOUNT 中的密钥属于 %s", d.appid, account.AppID)
	}
	return &kefu.Client{
		Tokens:  kefu.CachedToken(kefu.StableToken{AppID: account.AppID, Secret: account.Secret, BaseURL: d.apiBase}),
		BaseURL: d.apiBase,
	}, nil
}

// hostOf is an address to show: its path, query and user may hold secrets.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	if strings.ContainsAny(address, "@?#") {
		return "what was given"
	}
	return address
}

// isAddress reports whether a server may be called there.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// addressFlag is a flag with an address, whose help shows no secret in its default.
func addressFlag(fs *pflag.FlagSet, to *string, name, otherwise, usage string) {
	fs.StringVar(to, name, otherwise, usage)
	fs.Lookup(name).DefValue = hostOf(otherwise)
}

func onLoopback(base string) bool {
	u, err := url.Parse(base)
	return err == nil && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
