package main

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// An entrance is the way to a gateway.
type entrance struct {
	url string
	key string
}

func (e *entrance) flags(p *program, fs *pflag.FlagSet) {
	addressFlag(fs, &e.url, "gateway", cmp.Or(p.env["KEFU_URL"], gateway.DefaultURL), "where the gateway is (KEFU_URL)")
	fs.StringVar(&e.key, "key", "", "key of the gateway (better: KEFU_API_KEY; default: the key file of a gateway on this machine)")
}

// caller is a gateway as the commands call it: what goes wrong is said in both
// languages, with what to do next.
type caller struct {
	*gateway.Client
	keyFile string // where the key was found; "" if it was given
}

func (e *entrance) open(ctx context.Context, p *program) (*caller, error) {
	u, err := url.Parse(e.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("%q is not the address of a gateway", "%q 不是网关的地址", hostOf(e.url)).then("for example "+gateway.DefaultURL, "例如 "+gateway.DefaultURL)
	}
	c := &caller{Client: &gateway.Client{BaseURL: e.url, Source: gateway.FromCLI, Language: p.lang()}}
	if given := cmp.Or(e.key, p.env["KEFU_API_KEY"]); given != "" {
		c.Key = kefu.Secret(given)
		return c, nil
	}
	if isLoopback(u.Hostname()) { // a key found here is for nobody else
		found := findKeys(p.keyFiles(u.Port()))
		for i, k := range found {
			c.keyFile, c.Key = k.file, k.key
			var problem *gateway.Problem
			if i == len(found)-1 {
				break // whatever is wrong with it, its use will tell
			}
			if _, err := c.Accounts(ctx); !errors.As(err, &problem) || problem.Code != gateway.Unauthorized {
				break
			}
		}
	}
	if c.Key == "" {
		return nil, usagef("there is no key for the gateway at %s", "没有 %s 网关的 API 密钥", hostOf(e.url)).
			then("start one here with kefu serve or kefu demo, or: export KEFU_API_KEY=kf_…", "在这里启动 kefu serve 或 kefu demo，或 export KEFU_API_KEY=kf_…")
	}
	return c, nil
}

// opened is a command's run once the gateway is open.
func (e *entrance) opened(p *program, run func(*cobra.Command, *caller, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := e.open(cmd.Context(), p)
		if err != nil {
			return err
		}
		return run(cmd, c, args)
	}
}

// keyFiles are where a gateway on this machine may have left its key, the likeliest
// first: where the one on that port says, or beside its database.
func (p *program) keyFiles(port string) []string {
	return []string{readPointer(pointerOf(port)), keyFileOf(cmp.Or(p.env["KEFU_DB"], defaultDB))}
}

// A foundKey is a key and the file that had it.
type foundKey struct {
	file string
	key  kefu.Secret
}

// findKeys returns the keys in files that only this user can read.
func findKeys(files []string) (found []foundKey) {
	for _, f := range files {
		key := kefu.Secret(strings.TrimSpace(readPrivate(f, 1<<10)))
		if strings.HasPrefix(key.Reveal(), "kf_") && !slices.ContainsFunc(found, func(k foundKey) bool { return k.key == key }) {
			found = append(found, foundKey{f, key})
		}
	}
	return found
}

// theAccount is appid, or the only account there is.
func (c *caller) theAccount(ctx context.Context, appid string) (string, error) {
	if appid != "" {
		return appid, nil
	}
	all, err := c.Accounts(ctx)
	switch {
	case err != nil:
		return "", c.explained(err)
	case len(all) == 0:
		return "", failf("the gateway has no account yet", "网关里还没有公众号").then("KEFU_ACCOUNT=APPID:SECRET kefu account add", "KEFU_ACCOUNT=APPID:SECRET kefu account add")
	case len(all) > 1:
		return "", usagef("the gateway has %d accounts", "网关里有 %d 个公众号", len(all)).then("say which: --account APPID (see: kefu account list)", "用 --account APPID 指定（见 kefu account list）")
	}
	return all[0].AppID, nil
}

// explained is err with what to do about it.
func (c *caller) explained(err error) error {
	var problem *gateway.Problem
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if !errors.As(err, &problem) {
		f := failf("no gateway answers at %s", "%s 没有网关应答", hostOf(c.BaseURL)).
			then("start one with kefu serve (or kefu demo), or name its address with --gateway or KEFU_URL; what was asked may have been done only if the connection broke off meanwhile",
				"用 kefu serve（或 kefu demo）启动一个，或用 --gateway、KEFU_URL 指定地址；只有连接中途断开时，请求才可能已经执行")
		given := strings.TrimRight(c.BaseURL, "/")
		f.cause = errors.New(strings.ReplaceAll(err.Error(), given, hostOf(given)))
		return f
	}
	f := &failure{code: exitFailed, what: same(inert(problem.Title)), cause: err}
	lines := []string{problem.Detail}
	for _, e := range problem.Errors {
		lines = append(lines, e.Location+": "+e.Message)
	}
	lines = append(lines, problem.Advice)
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, ".。")
	}
	f.cause = errors.New(inert(strings.Join(nonEmpty(lines), "; ")))
	switch problem.Code {
	case gateway.Unauthorized:
		if c.keyFile != "" {
			return f.then("the key was taken from "+c.keyFile+"; is it of another gateway? else: export KEFU_API_KEY=kf_…",
				"密钥取自 "+c.keyFile+"；它可能属于另一个网关；否则 export KEFU_API_KEY=kf_…")
		}
		return f.then("check --key or KEFU_API_KEY; the first key is in the file that kefu serve named (<db>.key, or kefu.key with PostgreSQL)", "检查 --key 或 KEFU_API_KEY；第一个密钥在 kefu serve 启动时给出的文件里（<db>.key；使用 PostgreSQL 时为 kefu.key）")
	case gateway.Refused:
		f.code = exitRefused
	case gateway.Unreachable:
		f.code = exitUnknown
	case gateway.Overloaded:
		return f.then("nothing was kept: try again in a moment", "没有留下任何东西：稍后再试")
	}
	return f
}

func nonEmpty(all []string) (some []string) {
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// stamp is a moment as people read it: in UTC, to the second.
// stamp is a time as lists show it; nothing for none.
func stamp(t gateway.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// A moment is a flag of the form RFC 3339, or a duration from now: 90s, -2h.
type moment struct{ time.Time }

func (m *moment) Type() string { return "TIME" }

func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

func (m *moment) Set(s string) (err error) {
	if d, err := time.ParseDuration(s); err == nil {
		m.Time = time.Now().Add(d)
		return nil
	}
	if m.Time, err = time.Parse(time.RFC3339, s); err != nil {
		return errors.New("it is neither RFC 3339, such as 2026-01-31T08:00:00Z, nor a duration from now, such as 90s")
	}
	return nil
}

// at is nil for no moment.
func (m moment) at() *gateway.Time {
	if m.IsZero() {
		return nil
	}
	t := gateway.At(m.Time)
	return &t
}
