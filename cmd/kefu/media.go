package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
)

func (p *program) mediaCommand() *cobra.Command {
	var w mediaWay
	cmd := &cobra.Command{
		Use: "media", Short: "Upload and fetch pictures, voices and videos · 素材的上传与下载",
		Long: "Give files to the gateway, which keeps them as assets and uploads them to WeChat when a message needs them, or with --direct to WeChat itself.\n" +
			"把文件交给网关保存为素材（消息需要时再上传到微信）；加 --direct 则直接上传到微信。",
		Example: "  kefu media upload photo.jpg\n  kefu media upload photo.jpg --direct", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	w.direct.flags(p, cmd.PersistentFlags())
	w.entrance.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.uploadCommand(&w), p.uploadimgCommand(&w), p.getCommand(&w), p.deleteAssetCommand(&w))
	return cmd
}

// A mediaWay is where files go.
type mediaWay struct {
	direct
	entrance
}

// open opens the way: one of the two is nil.
func (w *mediaWay) open(cmd *cobra.Command, p *program) (*wechatFiles, *gatewayFiles, error) {
	if err := oneWay(cmd, w.yes); err != nil {
		return nil, nil, err
	}
	if w.yes {
		c, err := w.client(p)
		return &wechatFiles{c}, nil, err
	}
	c, err := w.entrance.open(cmd.Context(), p)
	return nil, &gatewayFiles{c, w.appid}, err
}

func (p *program) uploadCommand(w *mediaWay) *cobra.Command {
	var kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "upload FILE", Short: "Store a file; prints the id of the asset, or with --direct a media id for three days · 上传素材",
		Example: "  kefu media upload photo.jpg\n  kefu media upload cover.jpg --type thumb --direct", Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wechat, gate, err := w.open(cmd, p)
			if err != nil {
				return err
			}
			k := kefu.MediaKind(kind)
			if gate != nil {
				return p.uploadAsset(cmd.Context(), gate, k, args[0], asJSON)
			}
			if k == "" {
				if k = kindOf(args[0]); k == "" {
					return usagef("the name of %s does not tell what it is", "从 %s 的名字看不出类型", args[0]).
						then("add --type image, voice, video or thumb", "加上 --type image、voice、video 或 thumb")
				}
			}
			m, err := wechat.upload(cmd.Context(), k, args[0])
			if err != nil {
				return err
			}
			ends := gateway.At(m.CreatedAt.Add(kefu.MediaLife))
			if asJSON {
				return p.json(struct {
					Type      kefu.MediaKind   `json:"type"`
					MediaID   kefu.TemporaryID `json:"media_id"`
					CreatedAt gateway.Time     `json:"created_at"`
					ExpiresAt gateway.Time     `json:"expires_at"`
				}{m.Kind, m.ID, gateway.At(m.CreatedAt), ends})
			}
			p.say("stored as %s until %s", "已存为 %s，到 %s 为止", m.Kind, stamp(ends))
			_, err = fmt.Fprintln(p.stdout, inert(string(m.ID)))
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "image, voice, video or thumb: what it must be good for (with --direct default: by the file's name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

// uploadAsset gives a file to the gateway.
func (p *program) uploadAsset(ctx context.Context, g *gatewayFiles, kind kefu.MediaKind, name string, asJSON bool) error {
	a, err := g.asset(ctx, name)
	if err == nil {
		err = fits(a, kind, name)
	}
	switch {
	case err != nil:
		return err
	case asJSON:
		return p.json(a)
	}
	p.say("kept for %s: %s of %d bytes, good for %s", "已为 %s 保存：%s，%d 字节，可作为 %s", a.Account, a.Format, a.Bytes, kindList(a))
	_, err = fmt.Fprintln(p.stdout, inert(a.ID))
	return err
}

func (p *program) uploadimgCommand(w *mediaWay) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "uploadimg FILE", Short: "Store a jpg or png of up to 1 MB for good; prints its URL · 上传图片，得到 URL",
		Example: "  kefu media uploadimg cover.jpg", Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wechat, gate, err := w.open(cmd, p)
			if err != nil {
				return err
			}
			var to fileTaker = gate
			if wechat != nil {
				to = wechat
			}
			url, err := to.picture(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return p.json(struct {
					URL string `json:"url"`
				}{url})
			}
			_, err = fmt.Fprintln(p.stdout, inert(url))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

func (p *program) deleteAssetCommand(w *mediaWay) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Forget an asset; refused while a message that waits needs it · 删除素材",
		Example: "  kefu media delete asset:ID", Args: arguments("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wechat, gate, err := w.open(cmd, p)
			switch {
			case err != nil:
				return err
			case wechat != nil:
				return usagef("WeChat forgets temporary media by itself, after three days", "临时素材三天后由微信自行删除").then("leave --direct out to delete an asset of the gateway", "去掉 --direct 以删除网关的素材")
			}
			if err := gate.DeleteAsset(cmd.Context(), w.appid, args[0]); err != nil {
				return gate.explained(err)
			}
			p.say("the asset is deleted", "素材已删除")
			return nil
		},
	}
}

func (p *program) getCommand(w *mediaWay) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "get ID", Short: "Fetch an asset, also what a follower sent, or with --direct temporary media · 下载素材",
		Example: "  kefu media get asset:ID -o photo.jpg\n  kefu media get MEDIA_ID -o photo.jpg --direct", Args: arguments("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wechat, gate, err := w.open(cmd, p)
			if err != nil {
				return err
			}
			if out == "" && isTerminal(p.stdout) {
				return usagef("the bytes of a file would fill the terminal", "文件内容会占满终端").then("add -o FILE", "加上 -o 文件名")
			}
			if gate != nil {
				body, err := gate.AssetBytes(cmd.Context(), args[0])
				if err != nil {
					return gate.explained(err)
				}
				defer body.Close()
				_, err = p.save(out, body)
				return err
			}
			got, err := download(cmd.Context(), wechat.Client, kefu.TemporaryID(args[0]))
			if err != nil {
				return err
			}
			defer got.Body.Close()
			n, err := p.save(out, got.Body)
			if err != nil {
				return err
			}
			p.say("%d bytes of %s, named %s", "%d 字节，%s，名为 %s", n, got.ContentType, got.Filename)
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: stdout)")
	return cmd
}

// save copies body to the file, or to stdout for "". The file takes its place only
// once it is whole; what was there before stays until then. Through a link it is
// what the link leads to.
func (p *program) save(name string, body io.Reader) (n int64, err error) {
	broken := func(err error) error {
		return &failure{code: exitFailed, what: text{"the download broke off", "下载中断"}, cause: err}
	}
	if name == "" {
		if n, err = io.Copy(p.stdout, body); err != nil {
			err = broken(err)
		}
		return n, err
	}
	unwritable := func(err error) error {
		return &failure{code: exitFailed, what: text{"can't write " + name, "无法写入 " + name}, cause: err}
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	mode := os.FileMode(0o644)
	switch info, err := os.Stat(name); {
	case err == nil && !info.Mode().IsRegular():
		return 0, unwritable(errors.New("it is there, and not a regular file"))
	case err == nil:
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return 0, unwritable(err)
	}
	n, err = io.Copy(f, body)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return n, broken(errors.Join(err, os.Remove(f.Name())))
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return n, unwritable(errors.Join(err, os.Remove(f.Name())))
	}
	return n, nil
}

// download fetches media whole; a video through the URL that WeChat gives for it.
func download(ctx context.Context, c *kefu.Client, id kefu.TemporaryID) (*kefu.Download, error) {
	got, err := c.Download(ctx, id)
	if err != nil || got.VideoURL == "" {
		return got, unposted(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, got.VideoURL, nil)
	if err != nil {
		return nil, fmt.Errorf("the video's URL: %w", err)
	}
	res, err := plainHTTP.Do(req)
	if err != nil {
		err = egress.WithoutURL(err)
		return nil, &failure{code: exitFailed, what: text{"can't fetch the video from the URL that WeChat gave", "无法从微信给出的地址取视频"}, cause: err}
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, failf("the URL that WeChat gave for the video answers HTTP %d", "微信给出的视频地址答 HTTP %d", res.StatusCode)
	}
	got.Body, got.Filename = res.Body, filepath.Base(req.URL.Path)
	return got, nil
}

// plainHTTP makes the requests that are not calls of WeChat's API. Like the SDK it
// takes no proxy from the environment.
var plainHTTP = &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}

// withoutPath is an error of package os without the path, which is said already.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func open(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		f := failf("can't read %s", "无法读取 %s", name).then("check the name of the file", "检查文件名")
		f.cause = withoutPath(err)
		return nil, f
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, failf("%s is a folder, not a file", "%s 是目录，不是文件", name).then("name a file in it", "指定其中的一个文件")
	}
	return f, nil
}

// kindOf tells by a file's name what it is, in the words of the media table.
func kindOf(name string) kefu.MediaKind {
	format := strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")
	if format == "jpeg" {
		format = "jpg"
	}
	for _, l := range kefu.MediaLimits() {
		if l.Call == "upload" && slices.Contains(l.Formats, format) {
			return l.Kind
		}
	}
	return ""
}
