package desk

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/kefu-go/kefu"
)

// The cost of a guess, by OWASP's password storage sheet (2025): argon2id with
// 19 MiB, two passes, one lane. Two at a time at most, so that a storm of guesses
// takes no more than 38 MiB.
const (
	argonTime   = 2
	argonMemory = 19 << 10 // KiB
	argonLanes  = 1
	argonSalt   = 16
	argonKey    = 32
)

var hashing = make(chan struct{}, 2)

func argon(password string, salt []byte) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey)
}

// hashed is a password as it is stored.
func hashed(password string) string {
	var salt [argonSalt]byte
	rand.Read(salt[:])
	return argonText(salt[:], argon(password, salt[:]))
}

func argonText(salt, key []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, enc.EncodeToString(salt), enc.EncodeToString(key))
}

// nobody's password: what a guess is held against where there is none, so that the
// time tells nothing.
var nobody = argonText(make([]byte, argonSalt), make([]byte, argonKey))

// verify reports whether the password is the stored one. It takes as long for a
// stored one that there is not.
func verify(stored, password string) bool {
	known := stored != ""
	if !known {
		stored = nobody
	}
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", argonMemory, argonTime, argonLanes) {
		return false
	}
	enc := base64.RawStdEncoding
	salt, err := enc.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := enc.DecodeString(parts[5])
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(argon(password, salt), want) == 1 && known
}

const totpStep = 30 * time.Second

// totp is the code of a step: RFC 6238 with SHA-1 and 6 digits, as every
// authenticator has it.
func totp(secret kefu.Secret, step int64) string {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(secret.Reveal()))
	if err != nil || len(key) == 0 {
		return ""
	}
	mac := hmac.New(sha1.New, key)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(step))
	mac.Write(b[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%1_000_000)
}

// stepOf is the step that a code is of: the present one, or the one before or after.
func stepOf(secret kefu.Secret, code string, now time.Time) (step int64, ok bool) {
	present := now.Unix() / int64(totpStep/time.Second)
	for s := present - 1; s <= present+1; s++ {
		if want := totp(secret, s); want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}
