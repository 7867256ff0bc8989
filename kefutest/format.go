package kefutest

import (
	"bytes"
	"encoding/binary"
	"time"
)

// fileFormat names the format of a file by its first bytes, in the words of the
// media rules ("jpg", "png", "gif", "bmp", "amr", "mp3", "wma", "wav", "mp4").
// Formats that are easily taken for one of these have names of their own
// ("amr-wb", "mov", "m4a", "3gp", "heic", "avif"); anything else is "". Names and
// declared types are not asked: WeChat looks at the bytes, and they may lie.
func fileFormat(b []byte) string {
	starts := func(magic string) bool { return bytes.HasPrefix(b, []byte(magic)) }
	switch {
	case starts("\xff\xd8\xff"):
		return "jpg"
	case starts("\x89PNG\r\n\x1a\n"):
		return "png"
	case starts("GIF87a"), starts("GIF89a"):
		return "gif"
	case starts("BM") && len(b) >= 26 && binary.LittleEndian.Uint32(b[6:]) == 0: // the reserved words
		return "bmp"
	case starts(amrMagic):
		return "amr"
	case starts(amrWBMagic):
		return "amr-wb"
	case starts(asfHeader):
		return "wma"
	case starts("RIFF") && len(b) >= 12 && string(b[8:12]) == "WAVE":
		return "wav"
	case len(b) >= 12 && string(b[4:8]) == "ftyp":
		return ftypFormat(string(b[8:12]))
	case starts("ID3") && len(b) >= 10:
		return "mp3"
	}
	if _, ok := parseMP3Header(b); ok {
		return "mp3"
	}
	return ""
}

// ftypFormat tells the many children of ISO/IEC 14496-12 apart by major brand.
func ftypFormat(brand string) string {
	switch brand {
	case "qt  ":
		return "mov"
	case "M4A ", "M4B ":
		return "m4a"
	case "heic", "heix", "mif1", "msf1":
		return "heic"
	case "avif":
		return "avif"
	}
	if brand[:3] == "3gp" || brand[:3] == "3g2" {
		return "3gp"
	}
	return "mp4"
}

// contentTypes are the types under which the simulator serves each format. None
// of them can run anything, whatever a file holds behind its first bytes.
var contentTypes = map[string]string{
	"jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "bmp": "image/bmp",
	"amr": "audio/amr", "mp3": "audio/mpeg", "wma": "audio/x-ms-wma", "wav": "audio/wav", "mp4": "video/mp4",
}

func contentType(format string) string {
	if t, ok := contentTypes[format]; ok {
		return t
	}
	return "application/octet-stream"
}

// playTime returns how long a voice plays, counted from its frames rather than
// believed from a tag; 0 if the format has no length or the bytes make no sense.
func playTime(format string, b []byte) time.Duration {
	switch format {
	case "amr":
		return amrTime(b[len(amrMagic):], &amrFrame)
	case "amr-wb":
		return amrTime(b[len(amrWBMagic):], &amrWBFrame)
	case "mp3":
		return mp3Time(b)
	case "wav":
		return wavTime(b)
	case "wma":
		return wmaTime(b)
	}
	return 0
}

// AMR, RFC 4867 section 5: a magic line, then frames of 20 ms. The four bits
// after the first of a frame's head are its type, and the type gives its size.
const (
	amrMagic   = "#!AMR\n"
	amrWBMagic = "#!AMR-WB\n"
)

// Bytes behind the head by frame type; -1 is a type that does not exist.
var (
	amrFrame   = [16]int{12, 13, 15, 17, 19, 20, 26, 31, 5, -1, -1, -1, -1, -1, -1, 0}
	amrWBFrame = [16]int{17, 23, 32, 36, 40, 46, 50, 58, 60, 5, -1, -1, -1, -1, 0, 0}
)

func amrTime(frames []byte, size *[16]int) time.Duration {
	var n int
	for len(frames) > 0 {
		body := size[frames[0]>>3&15]
		if body < 0 || len(frames) < 1+body {
			break
		}
		n++
		frames = frames[1+body:]
	}
	return time.Duration(n) * 20 * time.Millisecond
}

// mp3Header is what the 4 bytes before each MPEG audio layer III frame say.
type mp3Header struct {
	size    int // bytes of the frame, head included
	samples int
	rate    int // samples a second
}

// ISO/IEC 11172-3 and 13818-3: kbit/s by index for MPEG-1, and for MPEG-2 and 2.5.
var (
	mp3Rates1 = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	mp3Rates2 = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
	mp3Hertz  = [4]int{44100, 48000, 32000, 0}
)

func parseMP3Header(b []byte) (mp3Header, bool) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe6 != 0xe2 { // sync, layer III
		return mp3Header{}, false
	}
	version, kbit, hertz := b[1]>>3&3, mp3Rates1[b[2]>>4], mp3Hertz[b[2]>>2&3]
	h := mp3Header{samples: 1152, rate: hertz}
	switch version {
	case 1: // reserved
		return mp3Header{}, false
	case 0: // MPEG-2.5
		kbit, h.samples, h.rate = mp3Rates2[b[2]>>4], 576, hertz/4
	case 2: // MPEG-2
		kbit, h.samples, h.rate = mp3Rates2[b[2]>>4], 576, hertz/2
	}
	if kbit == 0 || hertz == 0 {
		return mp3Header{}, false
	}
	h.size = h.samples/8*kbit*1000/h.rate + int(b[2]>>1&1)
	return h, true
}

func mp3Time(b []byte) time.Duration {
	if bytes.HasPrefix(b, []byte("ID3")) && len(b) >= 10 {
		tag := 10 + int(b[6]&0x7f)<<21 + int(b[7]&0x7f)<<14 + int(b[8]&0x7f)<<7 + int(b[9]&0x7f)
		if b[5]&0x10 != 0 { // a footer repeats the header
			tag += 10
		}
		b = b[min(tag, len(b)):]
	}
	var total time.Duration
	for first := true; len(b) >= 4; {
		h, ok := parseMP3Header(b)
		if !ok {
			b = b[1:] // junk between frames: look for the next sync
			continue
		}
		frame := b[:min(h.size, len(b))]
		// A first frame with encoder's notes instead of sound is not played.
		if !first || !isMP3Notes(frame) {
			total += time.Duration(h.samples) * time.Second / time.Duration(h.rate)
		}
		first, b = false, b[len(frame):]
	}
	return total
}

func isMP3Notes(frame []byte) bool {
	head := frame[:min(len(frame), 48)] // header, at most 32 bytes of side information, the mark
	return bytes.Contains(head, []byte("Xing")) || bytes.Contains(head, []byte("Info")) || bytes.Contains(head, []byte("VBRI"))
}

func wavTime(b []byte) time.Duration {
	var bytesPerSecond int64
	for rest := b[min(12, len(b)):]; len(rest) >= 8; {
		size := int64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		body = body[:min(size, int64(len(body)))]
		switch string(rest[:4]) {
		case "fmt ":
			if len(body) >= 12 {
				bytesPerSecond = int64(binary.LittleEndian.Uint32(body[8:]))
			}
		case "data":
			if bytesPerSecond == 0 {
				return 0
			}
			return time.Duration(int64(len(body)) * int64(time.Second) / bytesPerSecond)
		}
		rest = rest[min(8+size+size&1, int64(len(rest))):] // chunks begin at even offsets
	}
	return 0
}

// ASF, the container of WMA: objects of GUID, size and data; the File Properties
// Object has the play time in units of 100 ns, with the preroll (ms) counted in.
const (
	asfHeader         = "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
	asfFileProperties = "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
)

func wmaTime(b []byte) time.Duration {
	for rest := b[min(30, len(b)):]; len(rest) >= 24; {
		size := binary.LittleEndian.Uint64(rest[16:])
		if size < 24 || size > uint64(len(rest)) {
			break
		}
		if string(rest[:16]) == asfFileProperties && size >= 88 {
			const longest = uint64(24 * time.Hour / 100)
			played := min(binary.LittleEndian.Uint64(rest[64:]), longest)
			preroll := min(binary.LittleEndian.Uint64(rest[80:]), longest/10_000) * 10_000
			return time.Duration(played-min(preroll, played)) * 100
		}
		rest = rest[size:]
	}
	return 0
}
