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
)

func (p *program) mediaCommand() *cobra.Command {
	var d direct
	cmd := &cobra.Command{
		Use: "media", Short: "Upload and fetch pictures, voices and videos · 素材的上传与下载",
		Example: "  kefu media upload photo.jpg --direct", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	d.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.uploadCommand(&d), p.uploadimgCommand(&d), p.getCommand(&d))
	return cmd
}

func (p *program) uploadCommand(d *direct) *cobra.Command {
	var kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "upload FILE", Short: "Store a file for three days; prints its media id · 上传临时素材",
		Example: "  kefu media upload cover.jpg --type thumb --direct", Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := d.client(p)
			if err != nil {
				return err
			}
			k := kefu.MediaKind(kind)
			if k == "" {
				if k = kindOf(args[0]); k == "" {
					return usagef("the name of %s does not tell what it is", "从 %s 的名字看不出类型", args[0]).
						then("add --type image, voice, video or thumb", "加上 --type image、voice、video 或 thumb")
				}
			}
			m, err := upload(cmd.Context(), c, k, args[0])
			if err != nil {
				return err
			}
			ends := m.CreatedAt.Add(kefu.MediaLife).UTC().Format(time.RFC3339)
			if asJSON {
				return p.json(struct {
					Type      kefu.MediaKind   `json:"type"`
					MediaID   kefu.TemporaryID `json:"media_id"`
					CreatedAt string           `json:"created_at"`
					ExpiresAt string           `json:"expires_at"`
				}{m.Kind, m.ID, m.CreatedAt.UTC().Format(time.RFC3339), ends})
			}
			p.say("stored as %s until %s", "已存为 %s，到 %s 为止", m.Kind, ends)
			_, err = fmt.Fprintln(p.stdout, inert(string(m.ID)))
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "image, voice, video or thumb (default: by the file's name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

func (p *program) uploadimgCommand(d *direct) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "uploadimg FILE", Short: "Store a jpg or png of up to 1 MB for good; prints its URL · 上传图片，得到 URL",
		Example: "  kefu media uploadimg cover.jpg --direct", Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := d.client(p)
			if err != nil {
				return err
			}
			url := args[0]
			if err := uploadImage(cmd.Context(), c, &url); err != nil {
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

func (p *program) getCommand(d *direct) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "get MEDIA_ID", Short: "Fetch temporary media, also what a follower sent · 下载临时素材",
		Example: "  kefu media get MEDIA_ID -o photo.jpg --direct", Args: arguments("MEDIA_ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := d.client(p)
			if err != nil {
				return err
			}
			if out == "" && isTerminal(p.stdout) {
				return usagef("the bytes of a file would fill the terminal", "文件内容会占满终端").then("add -o FILE", "加上 -o 文件名")
			}
			got, err := download(cmd.Context(), c, kefu.TemporaryID(args[0]))
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
		err = withoutURL(err)
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

// mediaID is the id given, or that of the file, uploaded now.
func mediaID(ctx context.Context, c *kefu.Client, kind kefu.MediaKind, id string, args []string) (kefu.MediaID, error) {
	if len(args) == 0 {
		return kefu.MediaID(id), nil
	}
	m, err := upload(ctx, c, kind, args[0])
	return kefu.MediaID(m.ID), err
}

// thumbID is the media id of a cover. What can't be an id or exists as a file is
// uploaded.
func thumbID(ctx context.Context, c *kefu.Client, thumb string) (kefu.MediaID, error) {
	if plainID.MatchString(thumb) {
		if _, err := os.Stat(thumb); err != nil {
			return kefu.MediaID(thumb), nil
		}
	}
	if thumb == "" {
		return "", nil
	}
	m, err := upload(ctx, c, kefu.MediaThumb, thumb)
	return kefu.MediaID(m.ID), err
}

// picture replaces the name of a file by the URL of the picture, uploaded now.
func picture(ctx context.Context, c *kefu.Client, pic *string) error {
	if *pic == "" || strings.HasPrefix(*pic, "http://") || strings.HasPrefix(*pic, "https://") {
		return nil
	}
	return uploadImage(ctx, c, pic)
}

// needsDirect tells where a file can go, which is not yet through the gateway.
func needsDirect(name string) error {
	return usagef("%s is a file, and this version's gateway does not take files yet", "%s 是文件，这个版本的网关还不收文件", name).
		then("send it with --direct; or upload it first: kefu media upload FILE --direct (a picture of an article: media uploadimg), and send what that prints",
			"加上 --direct 发送；或先上传：kefu media upload FILE --direct（图文的封面用 media uploadimg），再用它输出的 id 或 URL 发送")
}

func uploadImage(ctx context.Context, c *kefu.Client, name *string) error {
	if c == nil {
		return needsDirect(*name)
	}
	f, err := open(*name)
	if err != nil {
		return err
	}
	defer f.Close()
	*name, err = c.UploadImage(ctx, filepath.Base(*name), f)
	return unposted(err)
}

func upload(ctx context.Context, c *kefu.Client, kind kefu.MediaKind, name string) (kefu.Media, error) {
	if c == nil {
		return kefu.Media{}, needsDirect(name)
	}
	f, err := open(name)
	if err != nil {
		return kefu.Media{}, err
	}
	defer f.Close()
	m, err := c.Upload(ctx, kind, filepath.Base(name), f)
	return m, unposted(err)
}

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
