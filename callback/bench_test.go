package callback

import (
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/url"
	"testing"
	"time"
)

// BenchmarkSecureCallback is what one push costs in secure mode: signature,
// decryption, both scans and the typed event. To reach: at most 5 µs and 20
// allocations, better 3 µs and 10.
func BenchmarkSecureCallback(b *testing.B) {
	for _, form := range []struct{ name, body string }{{"XML", textPush}, {"JSON", samples(b, "push_text.json")["push_text.json"]}} {
		b.Run(form.name, func(b *testing.B) {
			h := echo(Secure, new([]Event))
			if err := h.Check(); err != nil {
				b.Fatal(err)
			}
			r := pushed(Secure, form.body)
			received := []byte(r.body)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := h.open(r.query, string(received), receipt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFloor is the part of the above that no code can save: SHA-1, base64
// and AES of the same bytes.
func BenchmarkFloor(b *testing.B) {
	c := crypt(b, demoApp, demoToken, demoKey)
	encrypt := []byte(must(c.Encrypt([]byte(textPush))))
	frame := make([]byte, base64.StdEncoding.DecodedLen(len(encrypt)))
	b.ReportAllocs()
	for b.Loop() {
		sum := sha1.Sum(encrypt)
		var text [40]byte
		hex.Encode(text[:], sum[:])
		n, _ := base64.StdEncoding.Decode(frame, encrypt)
		cipher.NewCBCDecrypter(c.block, c.iv[:]).CryptBlocks(frame[:n], frame[:n])
	}
}

// BenchmarkParse compares Parse with encoding/xml and a struct of the same fields.
func BenchmarkParse(b *testing.B) {
	body := []byte(textPush)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-xml", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m struct {
				ToUserName, FromUserName, MsgType, Content string
				CreateTime, MsgId                          int64
			}
			if err := xml.Unmarshal(body, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkURLCheck(b *testing.B) {
	h := echo(Secure, new([]Event))
	q := url.Values{"timestamp": {"1348831861"}, "nonce": {"1"}, "signature": {Signature(demoToken, "1348831861", "1")}}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.verify(q, "signature", time.Unix(1348831861, 0)); err != nil {
			b.Fatal(err)
		}
	}
}
