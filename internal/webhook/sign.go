package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// Standard Webhooks 1.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	secretPrefix = "whsec_"
	headerID     = "webhook-id"
	headerTime   = "webhook-timestamp"
	headerSign   = "webhook-signature"
)

// NewSecret makes a secret of 256 random bits: whsec_ and base64.
func NewSecret() kefu.Secret {
	var b [32]byte
	rand.Read(b[:])
	return kefu.Secret(secretPrefix + base64.StdEncoding.EncodeToString(b[:]))
}

// ErrSecret: the text is no secret of Standard Webhooks.
var ErrSecret = errors.New("not a webhook secret: whsec_ and 24 to 64 bytes in base64")

func keyOf(secret kefu.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, ErrSecret
	}
	return key, nil
}

// Sign returns the signature of a body: "v1," and the HMAC-SHA256 of id, time in
// seconds and body, joined by dots. The secrets must be sound; an empty one signs
// nothing. Several signatures stand side by side.
func Sign(id string, at time.Time, body []byte, secrets ...kefu.Secret) (string, error) {
	var all []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		key, err := keyOf(s)
		if err != nil {
			return "", err
		}
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac(key, id, strconv.FormatInt(at.Unix(), 10), body)))
	}
	return strings.Join(all, " "), nil
}

func mac(key []byte, id, seconds string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + seconds + "."))
	h.Write(body)
	return h.Sum(nil)
}

// ErrSignature: a webhook is not signed with the secret, or not now.
var ErrSignature = errors.New("the webhook's signature is wrong or too old")

// tolerance is how far a webhook's time may be from the receiver's.
const tolerance = 5 * time.Minute

// Verify checks a webhook as its receiver: one of its signatures is of the secret, and
// its time within 5 minutes of now.
func Verify(h http.Header, body []byte, secret kefu.Secret, now time.Time) error {
	key, err := keyOf(secret)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(h.Get(headerTime), 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return ErrSignature
	}
	want := mac(key, h.Get(headerID), h.Get(headerTime), body)
	for one := range strings.FieldsSeq(h.Get(headerSign)) {
		text, ok := strings.CutPrefix(one, "v1,")
		given, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && subtle.ConstantTimeCompare(given, want) == 1 {
			return nil
		}
	}
	return ErrSignature
}
