package main

import "github.com/spf13/cobra"

func (p *program) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print the completion script for a shell · 输出命令补全脚本",
		Example: "  source <(kefu completion bash)", ValidArgs: shells, Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return usagef("say for which shell", "没有说是哪种 shell").then("there are bash, zsh, fish, powershell: kefu completion bash", "可选：bash、zsh、fish、powershell，例如 kefu completion bash")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.stdout)
			case "fish":
				return root.GenFishCompletion(p.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(p.stdout)
			}
			return usagef("there is no completion for %q", "没有 %q 的补全脚本", args[0]).then("there are bash, zsh, fish, powershell", "可选：bash、zsh、fish、powershell")
		},
	}
}
