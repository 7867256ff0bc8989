package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
)

// The demo's own media, made here so that a fresh clone needs no files.

// hills is a picture of w by h: sky, sun and two hills.
func hills(w, h int) *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{
		color.RGBA{174, 214, 241, 255}, color.RGBA{249, 215, 108, 255}, color.RGBA{120, 176, 104, 255}, color.RGBA{76, 135, 84, 255},
	})
	for y := range h {
		for x := range w {
			fx, fy := float64(x)/float64(w), float64(y)/float64(h)
			switch dx, dy := float64(x)-0.75*float64(w), float64(y)-0.28*float64(h); {
			case fy > 0.86-0.20*math.Sin(4*fx+0.3):
				img.Pix[y*img.Stride+x] = 3
			case fy > 0.78-0.24*math.Sin(3*fx+1.7):
				img.Pix[y*img.Stride+x] = 2
			case dx*dx+dy*dy < 0.02*float64(h)*float64(h):
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	return img
}

func samplePNG() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, hills(640, 320)) // into memory, which does not fail
	return b.Bytes()
}

func sampleJPG() []byte {
	var b bytes.Buffer
	_ = jpeg.Encode(&b, hills(520, 416), nil) // as above
	return b.Bytes()
}

// sampleAMR is a second without sound: 50 frames of 12.2 kbit/s and their silence.
func sampleAMR() []byte {
	frame := append([]byte{0x3c}, make([]byte, 31)...)
	return append([]byte("#!AMR\n"), bytes.Repeat(frame, 50)...)
}

// sampleMP4 is the head of an MP4 file, which says what it is and shows nothing.
func sampleMP4() []byte {
	return []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08mdat")
}

// sampleWAV is a rising melody of two seconds, 8 kHz, 16 bit.
func sampleWAV() []byte {
	const rate = 8000
	var sound []int16
	for _, hz := range []float64{261.6, 329.6, 392.0, 523.3} {
		for i := range rate / 2 {
			t := float64(i) / rate
			sound = append(sound, int16(9000*math.Exp(-4*t)*math.Sin(2*math.Pi*hz*t)))
		}
	}
	var b bytes.Buffer
	size := uint32(2 * len(sound))
	b.WriteString("RIFF")
	for _, part := range []any{size + 36, []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16),
		[]byte("data"), size, sound} {
		_ = binary.Write(&b, binary.LittleEndian, part) // into memory, of fixed sizes
	}
	return b.Bytes()
}
