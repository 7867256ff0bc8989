package webhook

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// NewSecret makes a secret of 256 random bits: whsec_ and base64.
func NewSecret() kefu.Secret {
	var b [32]byte
	rand.Read(b[:])
	return kefu.Secret(gateway.WebhookSecretPrefix + base64.StdEncoding.EncodeToString(b[:]))
}
