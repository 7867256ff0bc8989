package callback

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kefu-go/kefu"
)

// maxBody is the most bytes of a callback, and of what is encrypted in one. Real
// ones have a few thousand.
const maxBody = 256 << 10

// The frame that is encrypted: 16 random bytes, the length of the message as four
// big-endian bytes, the message, the appid; then PKCS#7 padding to a multiple of
// 32, twice AES's own block.
const (
	randomSize = 16
	frameHead  = randomSize + 4
	padBlock   = 32
)

// Signature is WeChat's signature of a callback: the SHA-1, in hex, of the token
// and the parts, sorted and joined. The URL check and plain mode sign timestamp
// and nonce ("signature"); encrypted bodies sign timestamp, nonce and the text of
// Encrypt ("msg_signature").
func Signature(token kefu.Secret, parts ...string) string {
	sum := sign(token, parts...)
	return hex.EncodeToString(sum[:])
}

func sign(token kefu.Secret, parts ...string) [sha1.Size]byte {
	var words [8]string
	all := append(append(words[:0], token.Reveal()), parts...)
	slices.Sort(all)
	var text [2048]byte
	joined := text[:0]
	for _, s := range all {
		joined = append(joined, s...)
	}
	return sha1.Sum(joined)
}

// signed compares in constant time.
func signed(signature string, token kefu.Secret, parts ...string) bool {
	sum := sign(token, parts...)
	var want [2 * sha1.Size]byte
	hex.Encode(want[:], sum[:])
	return subtle.ConstantTimeCompare(want[:], []byte(signature)) == 1
}

// A Crypt encrypts and decrypts for one account: AES-256 in CBC mode, as WeChat
// does in compat and secure mode. It is safe for concurrent use.
type Crypt struct {
	appID  string
	token  kefu.Secret
	block  cipher.Block
	iv     [aes.BlockSize]byte
	random io.Reader // of the frame's first 16 bytes; tests fix it
}

// Format prints no more than whose c is: fmt would show what its fields hold.
func (c *Crypt) Format(f fmt.State, _ rune) { fmt.Fprint(f, "callback.Crypt") }

// NewCrypt takes the account's appid and, from its console page, the token and
// the EncodingAESKey of 43 characters.
func NewCrypt(appID string, token, aesKey kefu.Secret) (*Crypt, error) {
	if appID == "" {
		return nil, errors.New("callback: the appid is empty; encrypted callbacks carry it")
	}
	if token == "" {
		return nil, errors.New("callback: the token is empty; anyone could sign callbacks")
	}
	if n := len(aesKey); n != 43 {
		return nil, fmt.Errorf("callback: the EncodingAESKey has %d characters; it must have the 43 that the account's console shows", n)
	}
	// Not Strict: there are keys in use whose last character has bits to spare.
	key, err := base64.StdEncoding.DecodeString(aesKey.Reveal() + "=")
	if err != nil || len(key) != 32 {
		return nil, errors.New("callback: the EncodingAESKey has a character outside A-Z, a-z, 0-9, + and /")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("callback: %w", err)
	}
	return &Crypt{appID: appID, token: token, block: block, iv: [16]byte(key), random: rand.Reader}, nil
}

// Encrypt returns the text of Encrypt for plain, which has at most 256 KiB.
func (c *Crypt) Encrypt(plain []byte) (string, error) {
	if len(plain) > maxBody {
		return "", fmt.Errorf("callback: %d bytes to encrypt; the limit is %d", len(plain), maxBody)
	}
	size := frameHead + len(plain) + len(c.appID)
	pad := padBlock - size%padBlock
	frame := make([]byte, frameHead, size+pad)
	if _, err := io.ReadFull(c.random, frame[:randomSize]); err != nil {
		return "", fmt.Errorf("callback: %w", err)
	}
	binary.BigEndian.PutUint32(frame[randomSize:], uint32(len(plain)))
	frame = append(append(frame, plain...), c.appID...)
	for range pad {
		frame = append(frame, byte(pad))
	}
	cipher.NewCBCEncrypter(c.block, c.iv[:]).CryptBlocks(frame, frame)
	return base64.StdEncoding.EncodeToString(frame), nil
}

var (
	errCipherText = errors.New("callback: Encrypt is not base64 of whole AES blocks, or is larger than a callback may be")
	errAESKey     = errors.New("callback: Encrypt does not decrypt; is this the account's EncodingAESKey?")
	errAppID      = errors.New("callback: Encrypt was made for another appid")
)

// Decrypt returns what is in the text of an Encrypt made for this account's
// appid. It proves nothing about who made it: check the signature first.
func (c *Crypt) Decrypt(encrypt string) ([]byte, error) {
	if len(encrypt) > base64.StdEncoding.EncodedLen(maxBody+frameHead+len(c.appID)+padBlock) {
		return nil, errCipherText
	}
	frame, err := base64.StdEncoding.DecodeString(encrypt)
	if err != nil || len(frame) == 0 || len(frame)%aes.BlockSize != 0 {
		return nil, errCipherText
	}
	cipher.NewCBCDecrypter(c.block, c.iv[:]).CryptBlocks(frame, frame)

	pad := int(frame[len(frame)-1])
	if pad < 1 || pad > padBlock || pad > len(frame) {
		return nil, errAESKey
	}
	frame, padding := frame[:len(frame)-pad], frame[len(frame)-pad:]
	for _, b := range padding {
		if int(b) != pad {
			return nil, errAESKey
		}
	}
	if len(frame) < frameHead {
		return nil, errAESKey
	}
	n, rest := binary.BigEndian.Uint32(frame[randomSize:]), frame[frameHead:]
	if uint64(n) > uint64(len(rest)) {
		return nil, errAESKey
	}
	if subtle.ConstantTimeCompare(rest[n:], []byte(c.appID)) != 1 {
		return nil, errAppID
	}
	return rest[:n:n], nil
}
