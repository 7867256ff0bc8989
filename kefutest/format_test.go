package kefutest

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
	"time"
)

// Small files of every format, made here.

func pngFile() []byte {
	var b bytes.Buffer
	png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2)))
	return b.Bytes()
}

func jpgFile() []byte {
	var b bytes.Buffer
	jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil)
	return b.Bytes()
}

func gifFile() []byte {
	var b bytes.Buffer
	gif.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2)), nil)
	return b.Bytes()
}

func bmpFile() []byte {
	b := make([]byte, 58)
	copy(b, "BM")
	b[2], b[10], b[14] = 58, 54, 40
	return b
}

// amrFile plays 20 ms for each frame (mode 0, 4.75 kbit/s: 13 bytes).
func amrFile(frames int) []byte {
	frame := append([]byte{0x04}, make([]byte, 12)...)
	return append([]byte(amrMagic), bytes.Repeat(frame, frames)...)
}

// mp3File plays 24 ms for each frame (MPEG-2 layer III, 24 kHz, 8 kbit/s: 24 bytes).
func mp3File(frames int) []byte {
	frame := append([]byte{0xff, 0xf3, 0x14, 0xc0}, make([]byte, 20)...)
	return bytes.Repeat(frame, frames)
}

// wavFile plays seconds of 8 kHz 8-bit sound.
func wavFile(seconds int) []byte {
	const rate = 8000
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("RIFF"), uint32(36+rate*seconds))
	b = le.AppendUint32(append(b, "WAVEfmt "...), 16)
	b = le.AppendUint16(le.AppendUint16(b, 1), 1)
	b = le.AppendUint32(le.AppendUint32(b, rate), rate)
	b = le.AppendUint16(le.AppendUint16(b, 1), 8)
	b = le.AppendUint32(append(b, "data"...), uint32(rate*seconds))
	return append(b, make([]byte, rate*seconds)...)
}

// wmaFile says that it plays for d after a preroll of 3 s.
func wmaFile(d time.Duration) []byte {
	b := make([]byte, 30+104)
	copy(b, asfHeader)
	b[24] = 1 // header objects
	properties := b[30:]
	copy(properties, asfFileProperties)
	binary.LittleEndian.PutUint64(properties[16:], 104)
	binary.LittleEndian.PutUint64(properties[64:], uint64((d+3*time.Second)/100))
	binary.LittleEndian.PutUint64(properties[80:], 3000)
	return b
}

// mp4File is an ftyp box of the given brand and an empty mdat.
func mp4File(brand string) []byte {
	return []byte("\x00\x00\x00\x10ftyp" + brand + "\x00\x00\x02\x00\x00\x00\x00\x08mdat")
}

func id3(body []byte) []byte {
	return append([]byte("ID3\x03\x00\x00\x00\x00\x01\x00"+strings.Repeat("\xff", 128)), body...)
}

func TestFileFormat(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"jpg", jpgFile(), "jpg"},
		{"png", pngFile(), "png"},
		{"gif", gifFile(), "gif"},
		{"bmp", bmpFile(), "bmp"},
		{"a text that begins with BM is no bmp", []byte("BM is short for a brand name"), ""},
		{"amr", amrFile(1), "amr"},
		{"amr wide band has its own name", []byte(amrWBMagic + "\x04"), "amr-wb"},
		{"mp3 by its tag", id3(mp3File(1)), "mp3"},
		{"mp3 by its frame", mp3File(1), "mp3"},
		{"AAC has the same sync and another layer", []byte{0xff, 0xf1, 0x50, 0x80, 0, 0, 0}, ""},
		{"a sync with a bit rate that does not exist", []byte{0xff, 0xfb, 0xf0, 0xc0}, ""},
		{"a sync with a sampling rate that does not exist", []byte{0xff, 0xfb, 0x1c, 0xc0}, ""},
		{"wma", wmaFile(time.Second), "wma"},
		{"wav", wavFile(1), "wav"},
		{"RIFF of another kind", []byte("RIFF\x00\x00\x00\x00AVI LIST"), ""},
		{"mp4", mp4File("isom"), "mp4"},
		{"mp4 by another brand", mp4File("avc1"), "mp4"},
		{"QuickTime is not mp4", mp4File("qt  "), "mov"},
		{"sound in mp4's box", mp4File("M4A "), "m4a"},
		{"3gp", mp4File("3gp4"), "3gp"},
		{"HEIC", mp4File("heic"), "heic"},
		{"AVIF", mp4File("avif"), "avif"},
		{"a web page", []byte("<!doctype html><script>alert(1)</script>"), ""},
		{"an SVG can run scripts", []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), ""},
		{"half a magic number", []byte("\x89PNG"), ""},
		{"nothing", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fileFormat(tt.data); got != tt.want {
				t.Errorf("fileFormat = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlayTime(t *testing.T) {
	notes := append([]byte{0xff, 0xf3, 0x14, 0xc0}, "\x00\x00\x00\x00\x00\x00\x00\x00\x00Info\x00\x00\x00\x00\x00\x00\x00"...)
	for _, tt := range []struct {
		name string
		data []byte
		want time.Duration
	}{
		{"amr: 20 ms a frame", amrFile(50), time.Second},
		{"amr: silence descriptor and lost frame count too", []byte(amrMagic + "\x44\x00\x00\x00\x00\x00\x7c"), 40 * time.Millisecond},
		{"amr: a frame cut off does not count", amrFile(2)[:6+13+5], 20 * time.Millisecond},
		{"amr: nothing is read after a type that does not exist", append(amrFile(1), 0x4c, 0x04), 20 * time.Millisecond},
		{"amr wide band", append([]byte(amrWBMagic+"\x04"), make([]byte, 17)...), 20 * time.Millisecond},
		{"mp3: 24 ms a frame", mp3File(100), 2400 * time.Millisecond},
		{"mp3: behind a tag that holds syncs", id3(mp3File(10)), 240 * time.Millisecond},
		{"mp3: junk between frames is skipped", append(append(mp3File(1), "junk"...), mp3File(1)...), 48 * time.Millisecond},
		{"mp3: the encoder's notes are not played", append(notes, mp3File(1)...), 24 * time.Millisecond},
		{"mp3: MPEG-1, 44.1 kHz, 128 kbit/s", append([]byte{0xff, 0xfb, 0x90, 0xc0}, make([]byte, 413)...), 1152 * time.Second / 44100},
		{"mp3: MPEG-2.5, 8 kHz", append([]byte{0xff, 0xe3, 0x18, 0xc0}, make([]byte, 68)...), 72 * time.Millisecond},
		{"wav", wavFile(3), 3 * time.Second},
		{"wav without sound", wavFile(0), 0},
		{"wma: without the preroll", wmaFile(7 * time.Second), 7 * time.Second},
		{"a picture has no length", pngFile(), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := playTime(fileFormat(tt.data), tt.data); got != tt.want {
				t.Errorf("playTime = %v, want %v", got, tt.want)
			}
		})
	}
}

// No bytes may make the readers of foreign files fail, and no served type may
// be one that a browser runs.
func FuzzFile(f *testing.F) {
	for _, seed := range [][]byte{
		jpgFile(), pngFile(), gifFile(), bmpFile(), amrFile(3), mp3File(3), id3(mp3File(3)), wavFile(1)[:60],
		wmaFile(time.Second), mp4File("isom"), []byte(amrWBMagic + "\x04"), nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		format := fileFormat(data)
		if d := playTime(format, data); d < 0 {
			t.Errorf("a %s of %d bytes plays %v", format, len(data), d)
		}
		switch kind, _, _ := strings.Cut(contentType(format), "/"); kind {
		case "image", "audio", "video":
		default:
			if got := contentType(format); got != "application/octet-stream" {
				t.Errorf("%q is served as %s", format, got)
			}
		}
	})
}
