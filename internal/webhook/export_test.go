package webhook

import (
	"crypto/sha256"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Answered is a message of an answer as an earlier process has handed it in.
func Answered(r gateway.Request, hook, id string, i, of int) gateway.Submission {
	key := AnswerKey(id, i)
	metadata, _ := marked(nil, mark{hook, id, i + 1, of})
	return gateway.Submission{
		Account: r.Account, OpenID: "A", MsgType: "text", Message: r.Message, Metadata: metadata, WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
		Priority: gateway.Normal, Source: gateway.FromWebhook, IdempotencyKey: key, Fingerprint: sha256.Sum256([]byte(key)),
	}
}

func SecretOf(s string) kefu.Secret { return kefu.Secret(s) }
