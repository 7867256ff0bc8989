package gateway

import (
	"crypto/hmac"
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

// The headers of a webhook, as Standard Webhooks 1.0 has them:
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	WebhookIDHeader        = "Webhook-Id"        // equal in all tries of an event
	WebhookTimeHeader      = "Webhook-Timestamp" // seconds; of this try
	WebhookSignatureHeader = "Webhook-Signature"
)

// WebhookSecretPrefix begins every secret; base64 follows.
const WebhookSecretPrefix = "whsec_"

// ErrWebhookSecret: the text is no secret of Standard Webhooks.
var ErrWebhookSecret = errors.New("not a webhook secret: whsec_ and 24 to 64 bytes in base64")

// ErrWebhookSignature: a webhook is not signed with the secret, or not now.
var ErrWebhookSignature = errors.New("the webhook's signature is wrong or too old")

func webhookKey(secret kefu.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), WebhookSecretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, ErrWebhookSecret
	}
	return key, nil
}

// SignWebhook returns the signature of a body: "v1," and the HMAC-SHA256 of id, time in
// seconds and body, joined by dots. The secrets must be sound; an empty one signs
// nothing. Several signatures stand side by side.
func SignWebhook(id string, at time.Time, body []byte, secrets ...kefu.Secret) (string, error) {
	var all []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		key, err := webhookKey(s)
		if err != nil {
			return "", err
		}
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(webhookMAC(key, id, strconv.FormatInt(at.Unix(), 10), body)))
	}
	return strings.Join(all, " "), nil
}

func webhookMAC(key []byte, id, seconds string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + seconds + "."))
	h.Write(body)
	return h.Sum(nil)
}

// webhookTolerance is how far a webhook's time may be from the receiver's.
const webhookTolerance = 5 * time.Minute

// VerifyWebhook checks a webhook as its receiver: one of its signatures is of the
// secret, and its time within 5 minutes of now. The error is [ErrWebhookSignature], or
// [ErrWebhookSecret] if the secret is none.
func VerifyWebhook(h http.Header, body []byte, secret kefu.Secret, now time.Time) error {
	key, err := webhookKey(secret)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(h.Get(WebhookTimeHeader), 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > webhookTolerance {
		return ErrWebhookSignature
	}
	want := webhookMAC(key, h.Get(WebhookIDHeader), h.Get(WebhookTimeHeader), body)
	for one := range strings.FieldsSeq(h.Get(WebhookSignatureHeader)) {
		text, ok := strings.CutPrefix(one, "v1,")
		given, err := base64.StdEncoding.DecodeString(text)
		if ok && err == nil && subtle.ConstantTimeCompare(given, want) == 1 {
			return nil
		}
	}
	return ErrWebhookSignature
}
