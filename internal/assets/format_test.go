package assets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func pngOf(w, h int) []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)))
	return b.Bytes()
}

func jpgOf(w, h int) []byte {
	var b bytes.Buffer
	_ = jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil)
	return b.Bytes()
}

func gifOf(w, h int) []byte {
	var b bytes.Buffer
	_ = gif.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil)
	return b.Bytes()
}

// amrOf has that many frames of 12.2 kbit/s.
func amrOf(frames int) []byte {
	return append([]byte("#!AMR\n"), bytes.Repeat(append([]byte{0x3c}, make([]byte, 31)...), frames)...)
}

// mp3Of has that many frames of 32 kbit/s, 44.1 kHz: 104 bytes and 26.12 ms each.
func mp3Of(frames int) []byte {
	return bytes.Repeat(append([]byte{0xff, 0xfb, 0x10, 0xc0}, make([]byte, 100)...), frames)
}

func box(kind string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))), append([]byte(kind), body...)...)
}

// mp4Of is a film of that many seconds, 640 by 320, with its boxes in the order of a
// file made for playing, or of one that was recorded.
func mp4Of(seconds int, recorded bool) []byte {
	mvhd := make([]byte, 100)
	binary.BigEndian.PutUint32(mvhd[12:], 1000)
	binary.BigEndian.PutUint32(mvhd[16:], uint32(seconds*1000))
	tkhd := make([]byte, 84)
	binary.BigEndian.PutUint32(tkhd[76:], 640<<16)
	binary.BigEndian.PutUint32(tkhd[80:], 320<<16)
	ftyp, moov, mdat := box("ftyp", []byte("mp42\x00\x00\x00\x00mp42isom")), box("moov", box("mvhd", mvhd), box("trak", box("tkhd", tkhd))), box("mdat", make([]byte, 1000))
	if recorded {
		return slices.Concat(ftyp, mdat, moov)
	}
	return slices.Concat(ftyp, moov, mdat)
}

func sized(b []byte, size int) []byte { return append(b, make([]byte, size-len(b))...) }

func TestLook(t *testing.T) {
	const kb, mb = 1 << 10, 1 << 20
	id3 := append([]byte("ID3\x04\x00\x00\x00\x00\x02\x00"), make([]byte, 256)...)
	for _, tt := range []struct {
		name   string
		file   []byte
		format string
		w, h   int
		length time.Duration
		kinds  string
	}{
		{"jpg", jpgOf(520, 416), "jpg", 520, 416, 0, "image thumb url"},
		{"jpg, 64 KB", sized(jpgOf(8, 8), 64*kb), "jpg", 8, 8, 0, "image thumb url"},
		{"jpg, a byte more", sized(jpgOf(8, 8), 64*kb+1), "jpg", 8, 8, 0, "image url"},
		{"png", pngOf(640, 320), "png", 640, 320, 0, "image url"},
		{"png, 1 MB", sized(pngOf(8, 8), mb), "png", 8, 8, 0, "image url"},
		{"png, a byte more", sized(pngOf(8, 8), mb+1), "png", 8, 8, 0, "image"},
		{"png, 10 MB", sized(pngOf(8, 8), 10*mb), "png", 8, 8, 0, "image"},
		{"png, a byte more than that", sized(pngOf(8, 8), 10*mb+1), "png", 8, 8, 0, ""},
		{"gif", gifOf(9, 7), "gif", 9, 7, 0, "image"},
		{"a jpg that breaks off in its head", jpgOf(8, 8)[:30], "", 0, 0, 0, ""},
		{"only a png's first bytes", []byte("\x89PNG\r\n\x1a\n"), "", 0, 0, 0, ""},
		{"a page that begins like a gif", []byte("GIF89a<script>alert(1)</script>"), "gif", 29500, 29283, 0, "image"}, // a picture it is, and served as one
		{"amr, 1 s", amrOf(50), "amr", 0, 0, time.Second, "voice"},
		{"amr, 60 s", amrOf(3000), "amr", 0, 0, time.Minute, "voice"},
		{"amr, a frame more", amrOf(3001), "amr", 0, 0, time.Minute + 20*time.Millisecond, ""},
		{"amr without a frame", []byte("#!AMR\n"), "", 0, 0, 0, ""},
		{"amr with a frame that can't be", []byte("#!AMR\n\x48"), "", 0, 0, 0, ""},
		{"amr-wb", []byte("#!AMR-WB\n" + strings.Repeat("a", 100)), "amr-wb", 0, 0, 0, ""},
		{"mp3", mp3Of(100), "mp3", 0, 0, 100 * 1152 * time.Second / 44100, "voice"},
		{"mp3 behind a tag", append(id3, mp3Of(100)...), "mp3", 0, 0, 100 * 1152 * time.Second / 44100, "voice"},
		{"mp3 of more than 60 s", mp3Of(2297), "mp3", 0, 0, 2297 * (1152 * time.Second / 44100), ""},
		{"a tag and nothing else", id3, "", 0, 0, 0, ""},
		{"one frame by chance", append(mp3Of(1), make([]byte, 300)...), "", 0, 0, 0, ""},
		{"mp4", mp4Of(12, false), "mp4", 640, 320, 12 * time.Second, "video"},
		{"mp4 as recorded", mp4Of(12, true), "mp4", 640, 320, 12 * time.Second, "video"},
		{"mp4 that breaks off", mp4Of(12, true)[:900], "", 0, 0, 0, ""},
		{"mp4 with a box larger than itself", append(mp4Of(1, false), 0, 0, 0, 99, 'f', 'r', 'e', 'e'), "", 640, 320, time.Second, ""},
		{"mp4 with junk behind", append(mp4Of(1, false), 1, 2, 3), "", 640, 320, time.Second, ""},
		{"quicktime", box("ftyp", []byte("qt  \x00\x00\x00\x00qt  ")), "mov", 0, 0, 0, ""},
		{"3gp", box("ftyp", []byte("3gp4\x00\x00\x00\x003gp4")), "3gp", 0, 0, 0, ""},
		{"heic", box("ftyp", []byte("heic\x00\x00\x00\x00heic")), "heic", 0, 0, 0, ""},
		{"webp", []byte("RIFF\x00\x00\x00\x00WEBPVP8 aaaaaaaaaaaaaa"), "webp", 0, 0, 0, ""},
		{"bmp", append([]byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00"), make([]byte, 40)...), "bmp", 0, 0, 0, ""},
		{"a page", []byte("<html>hello</html>"), "a text", 0, 0, 0, ""},
		{"nothing", nil, "", 0, 0, 0, ""},
		{"a letter", []byte("a"), "", 0, 0, 0, ""},
	} {
		f, err := look(bytes.NewReader(tt.file), int64(len(tt.file)))
		var kinds []string
		for _, k := range f.kinds() {
			kinds = append(kinds, string(k))
		}
		slices.Sort(kinds)
		if err != nil || f.format != tt.format || f.width != tt.w || f.height != tt.h || (f.length-tt.length).Abs() > time.Millisecond || strings.Join(kinds, " ") != tt.kinds {
			t.Errorf("%s: %+v as %v, %v", tt.name, f, kinds, err)
		}
		if tt.kinds == "" {
			if e := f.unfit(); e == nil || e.Code == 0 || e.Reason == "" || e.Zh == "" || !errors.Is(e, kefu.ErrMediaInvalid) {
				t.Errorf("%s: nobody says why: %+v", tt.name, e)
			}
		}
	}
}

// A failing disk is no broken picture.
func TestLookPassesErrorsOn(t *testing.T) {
	for name, file := range map[string][]byte{"png": pngOf(8, 8), "amr": amrOf(9), "mp4": mp4Of(1, true)} {
		r := failAfter{bytes.NewReader(file), int64(len(file)) / 3}
		if _, err := look(r, int64(len(file))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type failAfter struct {
	io.ReaderAt
	good int64
}

func (f failAfter) ReadAt(b []byte, at int64) (int, error) {
	if at == 0 && len(b) <= 64 {
		return f.ReaderAt.ReadAt(b, at)
	}
	return 0, errors.New("I/O error")
}

func FuzzLook(f *testing.F) {
	for _, b := range [][]byte{pngOf(8, 8), jpgOf(8, 8), gifOf(8, 8), amrOf(3), mp3Of(3), mp4Of(1, false), mp4Of(1, true), box("ftyp", []byte("mp42")), []byte("ID3\xff\xff\xff\xff\xff\xff\xff")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := look(bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		kinds := got.kinds()
		if len(kinds) > 0 && got.format == "" || slices.Contains(kinds, gateway.AsURL) && got.width == 0 || got.length < 0 {
			t.Fatalf("%+v is %v", got, kinds)
		}
		if len(kinds) == 0 && got.unfit() == nil {
			t.Fatalf("%+v is good for nothing, and nobody says why", got)
		}
	})
}
