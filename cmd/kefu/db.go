package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/internal/store"
)

func (p *program) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "db", Short: "The database of a gateway that is stopped · 已停止的网关的数据库",
		Example: "  kefu db move --from sqlite:kefu.db --to postgres://kefu@db/kefu", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	cmd.AddCommand(p.dbMoveCommand())
	return cmd
}

func (p *program) dbMoveCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use: "move", Short: "Carry everything from SQLite to PostgreSQL · 把全部数据从 SQLite 搬到 PostgreSQL",
		Long: "Carry everything from SQLite to an empty PostgreSQL database: the gateway must be stopped. All or nothing: every table is read back\n" +
			"and compared before the move counts, and the SQLite file stays as it is.\n" +
			"把全部数据从 SQLite 搬到空的 PostgreSQL 数据库：先停止网关。要么全部搬完，要么什么都没变：每张表都读回核对后才算数，SQLite 文件保持原样。\n\n" +
			"Environment: KEFU_SECRET_KEY or KEFU_SECRET_KEY_FILE, else the file beside the SQLite file; the gateway needs the same key afterwards.\n" +
			"The password may be in the address, in PGPASSWORD or in ~/.pgpass.",
		Example: "  kefu db move --from sqlite:kefu.db --to postgres://kefu@db/kefu", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("to") {
				to = p.env["KEFU_DB"]
			}
			file, ok := strings.CutPrefix(from, "sqlite:")
			if !ok || file == "" || !isPostgres(to) {
				return usagef("it does not say from where to where", "没有说明从哪里搬到哪里").
					then("kefu db move --from sqlite:FILE --to postgres://USER@HOST/NAME", "kefu db move --from sqlite:文件名 --to postgres://用户@主机/库名")
			}
			key, err := p.sealingKey()
			if err != nil {
				return err
			}
			moved, err := store.Transfer(cmd.Context(), from, to, key, p.progress())
			if err != nil {
				f := failf("nothing was moved", "什么都没有搬动")
				f.cause = err
				return f
			}
			if err := p.json(struct {
				Tables int   `json:"tables"`
				Rows   int64 `json:"rows"`
				Mended int64 `json:"mended,omitempty"`
			}{moved.Tables, moved.Rows, moved.Mended}); err != nil {
				return err
			}
			p.say("%d rows of %d tables are in %s, read back and found equal", "%d 行（%d 张表）已在 %s，读回核对一致", moved.Rows, moved.Tables, store.Describe(to))
			if moved.Mended > 0 {
				p.say("%d texts had bytes that PostgreSQL can't keep; U+FFFD stands for them", "%d 处文本含有 PostgreSQL 无法保存的字节，已替换为 U+FFFD", moved.Mended)
			}
			if key == "" {
				p.say("start the gateway with the same key: KEFU_SECRET_KEY_FILE=%s.secret KEFU_DB=postgres://… kefu serve; its API keys stay as they are",
					"用同一把加密密钥启动网关：KEFU_SECRET_KEY_FILE=%s.secret KEFU_DB=postgres://… kefu serve；API 密钥照旧可用", file)
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&from, "from", "", "sqlite:FILE of a gateway that is stopped")
	fs.StringVar(&to, "to", "", "postgres://USER@HOST/NAME, an empty database (default: KEFU_DB)")
	return cmd
}

// progress shows a line that is written over and over, on a terminal alone.
func (p *program) progress() func(store.Progress) {
	f, ok := p.stderr.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	var shown time.Time
	return func(at store.Progress) {
		if now := time.Now(); at.Rows == at.Of || now.Sub(shown) > 200*time.Millisecond {
			shown = now
			end := ""
			if at.Rows == at.Of {
				end = "\n"
			}
			_, _ = f.WriteString("\r\x1b[K" + at.String() + end) // what can't be shown is not missed
		}
	}
}
