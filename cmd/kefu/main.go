// Command kefu sends WeChat Official Account customer-service messages (客服消息):
// it runs the gateway that keeps and delivers them, speaks to it from a shell, and
// simulates a WeChat to send them to.
//
//	kefu demo                                a simulated WeChat with a gateway
//	kefu serve                               the gateway
//	kefu send text "你好" --to oUser1        one message
//	kefu help                                        all commands
//
// What it prints on stdout is data; what it says to people goes to stderr. It
// exits with 0 when done, 1 when it failed, 2 after wrong usage, 3 when WeChat
// refused, 4 when nobody can tell whether WeChat accepted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			env[name] = value
		}
	}
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	return p.run(ctx, args)
}

// A program is one run of kefu: where it reads and writes, and what surrounds it.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            map[string]string // empty variables are left out
	// meddle lets a test put itself before a server of the demo ("sim", "gateway"
	// or "callback"), to see that a fault there is noticed. nil: nobody does.
	meddle func(server string, h http.Handler) http.Handler
}

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3 // by WeChat
	exitUnknown = 4 // whether WeChat accepted
)

func (p *program) run(ctx context.Context, args []string) int {
	root, started := p.command(), false
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if started = true; !strings.HasPrefix(cmd.Name(), "__") { // not while completing
			p.warnOfUnknownVariables()
		}
	}
	root.SetArgs(append([]string{}, args...))
	cmd, err := root.ExecuteContextC(ctx)
	var f *failure
	if err != nil && !started && !errors.As(err, &f) { // flags and arguments that cobra refused
		hint := "see: " + cmd.CommandPath() + " --help"
		err = &failure{code: exitUsage, what: flagFault(err.Error()), next: text{hint, "见：" + cmd.CommandPath() + " --help"}}
	}
	return p.complain(err)
}

var badValue = regexp.MustCompile(`^invalid argument (".*") for "(.*)" flag: (strconv\.Parse(\w+)|time: )`)

// flagFault says in our words what package flag says of a value in those of strconv.
func flagFault(s string) text {
	m := badValue.FindStringSubmatch(s)
	if m == nil {
		return same(s)
	}
	want := text{"a number", "一个数字"}
	switch {
	case m[4] == "Bool":
		want = text{"true or false", "true 或 false"}
	case m[4] == "":
		want = text{"a duration such as 30s", "时长，例如 30s"}
	}
	return text{m[2] + " takes " + want.en + ", not " + m[1], m[2] + " 应为" + want.zh + "，不是 " + m[1]}
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "kefu",
		Short:         "WeChat customer-service messages · 微信客服消息",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          p.subcommand,
		Run:           func(*cobra.Command, []string) {},
		Example:       "  kefu demo\n  kefu serve\n  kefu send text \"你好\" --to oUser1",
	}
	info, _ := debug.ReadBuildInfo() // nil without one
	root.Version = versionOf(info).String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.CompletionOptions.DisableDefaultCmd = true // ours is shorter
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND]", Short: "What a command does and how · 帮助", Example: "  kefu help send image",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return p.subcommand(root, args)
			}
			return cmd.Help()
		},
	})
	root.AddCommand(p.demoCommand(), p.serveCommand(), p.simCommand(), p.caCommand(), p.sendCommand(), p.mediaCommand(), p.triggerCommand(),
		p.messagesCommand(), p.conversationsCommand(), p.windowCommand(), p.tailCommand(), p.accountCommand(), p.tokenCommand(), p.keyCommand(), p.agentCommand(),
		p.webhookCommand(), p.listenCommand(), p.botCommand(), p.dbCommand(),
		p.errcodeCommand(), p.rulesCommand(), p.versionCommand(), p.completionCommand())
	return root
}

// subcommand refuses a command that is only the parent of others.
func (p *program) subcommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if len(args) == 0 {
		return usagef("%s needs a command", "%s 需要一个命令", cmd.CommandPath()).then("there are "+strings.Join(names, ", "), "可选："+strings.Join(names, "、"))
	}
	cmd.SuggestionsMinimumDistance = 2
	err := usagef("there is no command %[2]q in %[1]s", "%[1]s 没有命令 %[2]q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return err.then("did you mean "+strings.Join(near, " or ")+"?", "是不是 "+strings.Join(near, "、")+"？")
	}
	return err.then("there is "+strings.Join(names, ", "), "可选："+strings.Join(names, "、"))
}

// arguments wants exactly one argument for each name.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		got := text{fmt.Sprintf("there are %d", len(args)), fmt.Sprintf("实有 %d 个参数", len(args))}
		switch len(args) {
		case 0:
			got = text{"there is nothing", "没有给参数"}
		case 1:
			got.en = "there is one argument"
		}
		want := text{strings.Join(names, " "), "需要 " + strings.Join(names, " ")}
		if len(names) == 0 {
			want = text{"no arguments", "不需要参数"}
		}
		return (&failure{code: exitUsage, what: text{
			fmt.Sprintf("%s takes %s; %s", cmd.CommandPath(), want.en, got.en),
			fmt.Sprintf("%s %s，%s", cmd.CommandPath(), want.zh, got.zh),
		}}).
			then("for example:\n"+cmd.Example, "例如：\n"+cmd.Example)
	}
}

// fromEnvironment sets flags that were not given from the variables of their names,
// KEFU_PUBLIC_ADDR for --public-addr: the named ones, or all that have a variable.
func (p *program) fromEnvironment(fs *pflag.FlagSet, names ...string) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		variable := "KEFU_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := p.env[variable]
		if err != nil || f.Changed || value == "" || variables[variable] == "" || len(names) > 0 && !slices.Contains(names, f.Name) {
			return
		}
		if wrong := fs.Set(f.Name, value); wrong != nil {
			said := flagFault(strings.ReplaceAll(wrong.Error(), "--"+f.Name, variable))
			hint := "see: kefu serve --help"
			err = &failure{code: exitUsage, what: said, next: text{hint, "见：kefu serve --help"}}
		}
	})
	return err
}

// variables are the environment that kefu reads, and what for.
var variables = map[string]string{
	"KEFU_ACCOUNT":         "APPID:SECRET of the account to send from",
	"KEFU_API_BASE":        "where WeChat's API is",
	"KEFU_API_KEY":         "key of the gateway: for serve, one that is valid besides the stored ones",
	"KEFU_ADDR":            "where the gateway listens",
	"KEFU_ALLOW_PRIVATE":   "true: its calls of others may go to this machine and private networks",
	"KEFU_ASSET_ROOM":      "MiB of files that an account may have",
	"KEFU_CA":              "certificate of the local CA",
	"KEFU_DB":              "where the gateway keeps messages",
	"KEFU_OPENAI_KEY":      "key of the model's server, for kefu bot",
	"KEFU_OPENAI_KEY_FILE": "file with KEFU_OPENAI_KEY",
	"KEFU_KEEP":            "how long it keeps those that are finished",
	"KEFU_KEEP_SIZE":       "size above which the oldest of them go",
	"KEFU_URL":             "where the gateway is",
	"KEFU_PROXY_ADDR":      "where the gateway is a proxy for HTTPS_PROXY",
	"KEFU_PUBLIC_ADDR":     "where the gateway serves callbacks alone",
	"KEFU_TLS_ADDR":        "where the gateway has the certificate of api.weixin.qq.com",
	"KEFU_TUNNEL_OTHERS":   "true: its proxy tunnels other hosts",
	"KEFU_TRUSTED_PROXY":   "networks of the reverse proxies before the gateway",
	"KEFU_SECRET_KEY":      "seals the gateway's secrets",
	"KEFU_SECRET_KEY_FILE": "file with KEFU_SECRET_KEY",
	"KEFU_WEBHOOK_SECRET":  "signs what kefu listen forwards",
	"KEFU_SIM":             "where the simulator is",
	"KEFU_SIM_KEY":         "key of the simulator's control plane",
	"KEFU_LANG":            "zh or en",
}

// warnOfUnknownVariables names what is probably a slip; a value may be a secret.
func (p *program) warnOfUnknownVariables() {
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		if strings.HasPrefix(name, "KEFU_") && variables[name] == "" {
			known := strings.Join(slices.Sorted(maps.Keys(variables)), ", ")
			p.say("warning: kefu reads no variable %s; it reads %s", "警告：kefu 不读取变量 %s；它读取 %s", name, known)
		}
	}
}
