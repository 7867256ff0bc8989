package assets

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A file is what the bytes say of themselves; names and declared types are not asked.
type file struct {
	format        string // in the words of the media rules, or another; "" if nobody knows it
	size          int64
	width, height int
	length        time.Duration
}

// longestVoice is how much of a file is read to find out how long it plays: the
// largest voice of the media rules.
const longestVoice = 2 << 20

// look finds out what a file is. It reads heads and lengths, never a whole picture,
// and holds at most a voice in memory. Errors are those of r.
func look(r io.ReaderAt, size int64) (file, error) {
	f := file{size: size}
	head := make([]byte, min(size, 64))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return f, err
	}
	starts := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case starts("\xff\xd8\xff"):
		return f.picture("jpg", r, jpeg.DecodeConfig)
	case starts("\x89PNG\r\n\x1a\n"):
		return f.picture("png", r, png.DecodeConfig)
	case starts("GIF87a"), starts("GIF89a"):
		return f.picture("gif", r, gif.DecodeConfig)
	case starts("BM") && len(head) >= 26 && binary.LittleEndian.Uint32(head[6:]) == 0: // the reserved words
		f.format = "bmp"
	case starts("RIFF") && len(head) >= 12 && string(head[8:12]) == "WEBP":
		f.format = "webp"
	case starts("RIFF") && len(head) >= 12 && string(head[8:12]) == "WAVE":
		f.format = "wav"
	case starts("#!AMR-WB\n"):
		f.format = "amr-wb"
	case starts("#!AMR\n"):
		return f.voice("amr", r, amrLength)
	case len(head) >= 16 && string(head[4:8]) == "ftyp":
		return f.movie(string(head[8:12]), r)
	case starts("ID3"), mp3Frame(head) > 0:
		return f.voice("mp3", r, mp3Length)
	case starts("\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
		f.format = "wma"
	case starts("%PDF"):
		f.format = "pdf"
	case starts("<"):
		f.format = "a text"
	}
	return f, nil
}

// picture reads a picture's size. One whose head can't be read has no format.
func (f file) picture(format string, r io.ReaderAt, decode func(io.Reader) (image.Config, error)) (file, error) {
	watched := &watch{Reader: io.NewSectionReader(r, 0, f.size)}
	c, err := decode(bufio.NewReader(watched))
	if watched.err != nil {
		return f, watched.err
	}
	if err == nil && c.Width > 0 && c.Height > 0 {
		f.format, f.width, f.height = format, c.Width, c.Height
	}
	return f, nil
}

// watch tells an error of reading from one of what was read.
type watch struct {
	io.Reader
	err error
}

func (w *watch) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// voice measures a voice by its frames; a tag would be believed in vain.
func (f file) voice(format string, r io.ReaderAt, length func([]byte) time.Duration) (file, error) {
	b, err := io.ReadAll(io.NewSectionReader(r, 0, min(f.size, longestVoice)))
	if err != nil {
		return f, err
	}
	if f.length = length(b); f.length > 0 {
		f.format = format
	}
	return f, nil
}

// amrLength counts frames of 20 ms (RFC 4867, 5): the type in a frame's head gives
// its size. 0 if it breaks off before the first is whole, or a frame can't be.
func amrLength(b []byte) time.Duration {
	sizes := [16]int{12, 13, 15, 17, 19, 20, 26, 31, 5, -1, -1, -1, -1, -1, -1, 0}
	n := 0
	for b = b[len("#!AMR\n"):]; len(b) > 0; n++ {
		size := sizes[b[0]>>3&15]
		if size < 0 {
			return 0
		}
		if len(b) < 1+size {
			break
		}
		b = b[1+size:]
	}
	return time.Duration(n) * 20 * time.Millisecond
}

// mp3Frame returns the size of the MPEG audio layer III frame that begins here, or 0.
func mp3Frame(b []byte) int {
	size, _ := mp3Head(b)
	return size
}

func mp3Head(b []byte) (size int, length time.Duration) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe6 != 0xe2 {
		return 0, 0
	}
	// ISO/IEC 11172-3 and 13818-3: kbit/s by index, for MPEG-1 and for 2 and 2.5.
	rates := [2][16]int{
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
	}
	hertz := [4]int{44100, 48000, 32000, 0}[b[2]>>2&3]
	samples, table := 576, 1
	switch b[1] >> 3 & 3 { // the version
	case 3:
		samples, table = 1152, 0
	case 2:
		hertz /= 2
	case 0:
		hertz /= 4
	default:
		return 0, 0
	}
	kbit := rates[table][b[2]>>4]
	if kbit == 0 || hertz == 0 {
		return 0, 0
	}
	return samples/8*kbit*1000/hertz + int(b[2]>>1&1), time.Duration(samples) * time.Second / time.Duration(hertz)
}

// mp3Length adds up the frames behind the tag. Two in a row make an MP3: one may be
// chance.
func mp3Length(b []byte) (length time.Duration) {
	if bytes.HasPrefix(b, []byte("ID3")) && len(b) >= 10 {
		tag := 10 + int(b[6]&0x7f)<<21 + int(b[7]&0x7f)<<14 + int(b[8]&0x7f)<<7 + int(b[9]&0x7f)
		b = b[min(tag, len(b)):]
	}
	inRow, rows := 0, 0
	for len(b) >= 4 {
		size, plays := mp3Head(b)
		if size == 0 {
			inRow, b = 0, b[1:] // look for the next
			continue
		}
		if length += plays; inRow > 0 || size >= len(b) {
			rows++
		}
		inRow, b = inRow+1, b[min(size, len(b)):]
	}
	if rows == 0 {
		return 0
	}
	return length
}

// movie reads the boxes of ISO/IEC 14496-12. A file that is not boxes to its end has
// no format; one that broke off on its way is such.
func (f file) movie(brand string, r io.ReaderAt) (file, error) {
	format := "mp4"
	switch {
	case brand == "qt  ":
		format = "mov"
	case brand == "M4A ", brand == "M4B ":
		format = "m4a"
	case slices.Contains([]string{"heic", "heix", "mif1", "msf1", "avif"}, brand):
		format = "heic"
	case brand[:2] == "3g":
		format = "3gp"
	}
	whole, err := boxes(r, 0, f.size, 0, func(kind string, at, size int64) error {
		switch kind {
		case "mvhd":
			b := make([]byte, min(size, 32))
			if _, err := r.ReadAt(b, at); err != nil {
				return err
			}
			f.length = movieLength(b)
		case "tkhd":
			b := make([]byte, 8) // the last two: width and height, 16.16
			if size < 8 {
				return nil
			}
			if _, err := r.ReadAt(b, at+size-8); err != nil {
				return err
			}
			if w, h := int(binary.BigEndian.Uint32(b)>>16), int(binary.BigEndian.Uint32(b[4:])>>16); w > f.width {
				f.width, f.height = w, h
			}
		}
		return nil
	})
	if whole {
		f.format = format
	}
	return f, err
}

// Boxes are looked for where a player would, and in no more than these.
const (
	mostBoxes = 10_000
	mostDeep  = 3
)

// boxes calls see with the content of each box from at to end, and of those in moov
// and trak. whole is false if they don't fill the place exactly.
func boxes(r io.ReaderAt, at, end int64, deep int, see func(kind string, at, size int64) error) (whole bool, err error) {
	head := make([]byte, 16)
	for n := 0; at < end; n++ {
		if n == mostBoxes || end-at < 8 {
			return false, nil
		}
		if k, err := r.ReadAt(head[:min(16, end-at)], at); err != nil && (err != io.EOF || k < 8) {
			return false, err
		}
		size, begin := int64(binary.BigEndian.Uint32(head)), int64(8)
		switch size {
		case 0: // to the end
			size = end - at
		case 1:
			if end-at < 16 {
				return false, nil
			}
			size, begin = int64(binary.BigEndian.Uint64(head[8:])), 16
		}
		if size < begin || size > end-at {
			return false, nil
		}
		kind := string(head[4:8])
		if err := see(kind, at+begin, size-begin); err != nil {
			return false, err
		}
		if (kind == "moov" || kind == "trak") && deep < mostDeep {
			if whole, err := boxes(r, at+begin, at+size, deep+1, see); err != nil || !whole {
				return false, err
			}
		}
		at += size
	}
	return true, nil
}

// movieLength reads the beginning of an mvhd.
func movieLength(b []byte) time.Duration {
	var scale, units uint64
	switch {
	case len(b) >= 20 && b[0] == 0:
		scale, units = uint64(binary.BigEndian.Uint32(b[12:])), uint64(binary.BigEndian.Uint32(b[16:]))
	case len(b) >= 32 && b[0] == 1:
		scale, units = uint64(binary.BigEndian.Uint32(b[20:])), binary.BigEndian.Uint64(b[24:])
	}
	const day = 24 * 60 * 60
	if scale == 0 || units/scale > day {
		return 0
	}
	return time.Duration(units/scale)*time.Second + time.Duration(units%scale)*time.Second/time.Duration(scale)
}

// kinds are what the file can be by the media rules.
func (f file) kinds() (kinds []kefu.MediaKind) {
	for _, l := range kefu.MediaLimits() {
		if l.Call != "upload" && l.Call != "uploadimg" || f.against(l) != nil {
			continue
		}
		kind := l.Kind
		if l.Call == "uploadimg" {
			kind = gateway.AsURL
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// against says why the file is not what a rule takes, or nil.
func (f file) against(l kefu.MediaLimit) *kefu.FileError {
	e := &kefu.FileError{Name: "the file", Kind: l.Kind, Source: l.Source}
	switch {
	case f.size == 0:
		e.Code = 44001
		e.Reason, e.Zh = "the file is empty", "文件为空"
	case !slices.Contains(l.Formats, f.format):
		e.Code = l.CodeFormat
		e.Reason, e.Zh = textOfFormat(f.format, l.Formats)
	case f.size > l.MaxBytes:
		e.Code = l.CodeSize
		e.Reason, e.Zh = textOfSize(f.size, l.MaxBytes)
	case l.MaxLength > 0 && f.length > l.MaxLength:
		e.Code = 45007
		e.Reason, e.Zh = textOfLength(f.length, l.MaxLength)
	default:
		return nil
	}
	return e
}

// unfit says why the file is good for nothing: against the rule that comes nearest.
func (f file) unfit() *kefu.FileError {
	var formats []string
	for _, l := range kefu.MediaLimits() {
		if l.Call != "upload" {
			continue
		}
		if slices.Contains(l.Formats, f.format) || f.size == 0 {
			return f.against(l)
		}
		for _, format := range l.Formats {
			if !slices.Contains(formats, format) {
				formats = append(formats, format)
			}
		}
	}
	e := &kefu.FileError{Name: "the file", Kind: "media", Code: 40005, Source: "/cgi-bin/media/upload"}
	e.Reason, e.Zh = textOfFormat(f.format, formats)
	return e
}
