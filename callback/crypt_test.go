package callback

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
)

// The demo account of kefu's simulator.
const (
	demoApp   = "wx5eed2a76cc560001"
	demoToken = kefu.Secret("demotoken")
	demoKey   = kefu.Secret("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
	otherKey  = kefu.Secret("0123456789abcdefghijklmnopqrstuvwxyzABCDEFG")
)

func crypt(t testing.TB, appID string, token, key kefu.Secret) *Crypt {
	t.Helper()
	c, err := NewCrypt(appID, token, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// vectors come from WeChat's documentation and from the tests of other SDKs; see
// the source of each.
func vectors(t *testing.T) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/crypto_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 10 {
		t.Fatalf("%d vectors, want all 10", len(file.Vectors))
	}
	return file.Vectors
}

type vector struct {
	Name, AppID, Timestamp, Nonce, Echostr, Signature string
	Token                                             kefu.Secret
	Key                                               kefu.Secret `json:"encoding_aes_key"`
	MsgSignature                                      string      `json:"msg_signature"`
	Random                                            string      `json:"random16"`
	Plain                                             string      `json:"plaintext"`
	Cipher                                            string      `json:"ciphertext"`
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if v.Signature != "" {
				if got := Signature(v.Token, v.Timestamp, v.Nonce); got != v.Signature {
					t.Errorf("signature %s, want %s", got, v.Signature)
				}
			}
			if v.MsgSignature != "" {
				if got := Signature(v.Token, v.Timestamp, v.Nonce, v.Cipher); got != v.MsgSignature {
					t.Errorf("msg_signature %s, want %s", got, v.MsgSignature)
				}
			}
			if v.Plain == "" {
				return
			}
			c := crypt(t, v.AppID, v.Token, v.Key)
			if got, err := c.Decrypt(v.Cipher); string(got) != v.Plain {
				t.Errorf("Decrypt: %q, %v, want %q", got, err, v.Plain)
			}
			c.random = strings.NewReader(v.Random)
			if got, err := c.Encrypt([]byte(v.Plain)); got != v.Cipher {
				t.Errorf("Encrypt: %q, %v, want %q", got, err, v.Cipher)
			}
		})
	}
}

func TestSignatureSortsAndLeavesItsArgumentsAlone(t *testing.T) {
	parts := []string{"z", "a", "m"}
	if Signature("k", parts...) != Signature("k", "a", "m", "z") {
		t.Error("the order of the parts counts")
	}
	if strings.Join(parts, "") != "zam" {
		t.Errorf("the caller's parts are now %q", parts)
	}
	long := strings.Repeat("x", 1<<16)
	if Signature("k", long, "1", "2", "3", "4", "5", "6", "7", "8") == Signature("k", long, "1", "2", "3", "4", "5", "6", "7", "9") {
		t.Error("a part beyond the eighth does not count")
	}
}

func TestNewCrypt(t *testing.T) {
	for _, tt := range []struct {
		name       string
		appID      string
		token, key kefu.Secret
		want       string // in the error, "" for none
	}{
		{"as in the console", demoApp, demoToken, demoKey, ""},
		{"last character with bits to spare", demoApp, demoToken, demoKey[:42] + "F", ""},
		{"42 characters", demoApp, demoToken, demoKey[:42], "has 42 characters"},
		{"44 characters", demoApp, demoToken, demoKey + "=", "has 44 characters"},
		{"none", demoApp, demoToken, "", "has 0 characters"},
		{"not base64", demoApp, demoToken, demoKey[:42] + "!", "outside A-Z"},
		{"with a line end, which base64 skips", demoApp, demoToken, demoKey[:42] + "\n", "outside A-Z"},
		{"no token", demoApp, "", demoKey, "token is empty"},
		{"no appid", "", demoToken, demoKey, "appid is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewCrypt(tt.appID, tt.token, tt.key)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			case err != nil && len(tt.key) > 8 && strings.Contains(err.Error(), tt.key.Reveal()[:8]):
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

// Each length from an empty message to two pads gives back what went in, padded
// by 1 to 32 bytes.
func TestEncryptPadsTo32(t *testing.T) {
	c := crypt(t, demoApp, demoToken, demoKey)
	for n := range 65 {
		plain := bytes.Repeat([]byte{'x'}, n)
		text, err := c.Encrypt(plain)
		if err != nil {
			t.Fatal(err)
		}
		frame, _ := base64.StdEncoding.DecodeString(text)
		if pad := len(frame) - 20 - n - len(demoApp); len(frame)%32 != 0 || pad < 1 || pad > 32 {
			t.Errorf("%d bytes: %d bytes of padding", n, pad)
		}
		if got, err := c.Decrypt(text); !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %q, %v", n, got, err)
		}
	}
	one, _ := c.Encrypt([]byte("hello"))
	two, _ := c.Encrypt([]byte("hello"))
	if one == two {
		t.Error("equal messages give equal text: the random part is not random")
	}
}

// frame encrypts any frame, also one that Encrypt would not make.
func (c *Crypt) frame(t testing.TB, frame []byte) string {
	t.Helper()
	if len(frame)%16 != 0 {
		t.Fatalf("a frame of %d bytes", len(frame))
	}
	out := make([]byte, len(frame))
	cipher.NewCBCEncrypter(c.block, c.iv[:]).CryptBlocks(out, frame)
	return base64.StdEncoding.EncodeToString(out)
}

func TestDecryptRefuses(t *testing.T) {
	c := crypt(t, demoApp, demoToken, demoKey)
	good, err := c.Encrypt([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	// 16 random, length, "hello", 18 of appid, 21 of padding: 64 bytes
	frame := func(change func(f []byte)) string {
		f := bytes.Repeat([]byte{21}, 64)
		copy(f[16:], "\x00\x00\x00\x05hello"+demoApp)
		change(f)
		return c.frame(t, f)
	}
	if got, err := c.Decrypt(frame(func([]byte) {})); string(got) != "hello" {
		t.Fatalf("the frame as it should be: %q, %v", got, err)
	}
	foreign, err := crypt(t, "wx5eed2a76cc560002", demoToken, demoKey).Encrypt([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", errCipherText},
		{"not base64", "?" + good[1:], errCipherText},
		{"half a block", good[:8], errCipherText},
		{"larger than a callback", strings.Repeat("A", 2*maxBody), errCipherText},
		{"a block too few", base64.StdEncoding.EncodeToString(make([]byte, 16)), errAESKey},
		{"padding of 0", frame(func(f []byte) { f[63] = 0 }), errAESKey},
		{"padding of 33", frame(func(f []byte) { copy(f[31:], bytes.Repeat([]byte{33}, 33)) }), errAESKey},
		{"padding longer than the frame", c.frame(t, bytes.Repeat([]byte{17}, 16)), errAESKey},
		{"one byte of padding differs", frame(func(f []byte) { f[50]++ }), errAESKey},
		{"nothing but padding", c.frame(t, bytes.Repeat([]byte{32}, 32)), errAESKey},
		{"length beyond the frame", frame(func(f []byte) { f[19] = 24 }), errAESKey},
		{"length of 4 GiB", frame(func(f []byte) { copy(f[16:], "\xff\xff\xff\xff") }), errAESKey},
		{"length one too many", frame(func(f []byte) { f[19]++ }), errAppID},
		{"length one too few", frame(func(f []byte) { f[19]-- }), errAppID},
		{"length to the end: no appid", frame(func(f []byte) { f[19] = 23 }), errAppID},
		{"last byte of the appid differs", foreign, errAppID},
		{"another key", must(crypt(t, demoApp, demoToken, otherKey).Encrypt([]byte("hello"))), errAESKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := c.Decrypt(tt.text); err != tt.want {
				t.Errorf("%q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEncryptIsCapped(t *testing.T) {
	c := crypt(t, demoApp, demoToken, demoKey)
	text, err := c.Encrypt(make([]byte, maxBody))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decrypt(text); len(got) != maxBody {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := c.Encrypt(make([]byte, maxBody+1)); err == nil {
		t.Error("one byte more than the limit was encrypted")
	}
}

// Whatever comes, Decrypt returns; what it takes is a message that Encrypt takes.
func FuzzDecrypt(f *testing.F) {
	c := crypt(f, demoApp, demoToken, demoKey)
	for _, plain := range []string{"", "hello", textPush, strings.Repeat("x", 32)} {
		f.Add(must(c.Encrypt([]byte(plain))))
	}
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==")
	f.Add(c.frame(f, bytes.Repeat([]byte{17}, 16)))
	f.Add(c.frame(f, bytes.Repeat([]byte{32}, 64)))
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := c.Decrypt(text)
		if err != nil {
			return
		}
		again, err := c.Encrypt(plain)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.Decrypt(again); !bytes.Equal(back, plain) {
			t.Errorf("%q, %v, want %q", back, err, plain)
		}
	})
}
