package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// A revision names what an admin edits, so that two of them don't overwrite each other's
// changes without knowing: it is in every answer, as the ETag of a single one too, and
// If-Match brings it back. Nothing that changes by itself is in it, and no secret.

func accountRevision(a gateway.Account) string {
	if a.AppID == "" {
		return "" // there is none
	}
	return revision(accountSettings(a))
}

// accountSettings is an account without what changes by itself.
func accountSettings(a gateway.Account) gateway.Account {
	a.Because, a.Standing, a.Revision = "", nil, ""
	return a
}

func webhookRevision(w gateway.Webhook) string {
	return revision(webhookSettings(w))
}

// webhookSettings is a webhook without what changes by itself, and its secret.
func webhookSettings(w gateway.Webhook) gateway.Webhook {
	w.Because, w.Cursor, w.FailingSince, w.Secret, w.Warnings, w.Revision = "", "", nil, "", nil, ""
	return w
}

func revision(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// tagged tells the revision of the one thing that is answered.
func (c *call) tagged(revision string) { c.w.Header().Set("ETag", `"`+revision+`"`) }

// matches refuses to replace what has this revision now, "" for what isn't there, if the
// caller has said that it must be another.
func (c *call) matches(now string) error {
	want := c.Header.Values("If-Match")
	if len(want) == 0 {
		return nil
	}
	for tag := range strings.SplitSeq(strings.Join(want, ","), ",") {
		if tag = strings.TrimSpace(tag); now != "" && (tag == "*" || tag == `"`+now+`"`) {
			return nil
		}
	}
	return refuse(gateway.PreconditionFailed)
}

// shown is an account as it is answered.
func (c *call) shown(a gateway.Account) gateway.Account {
	a.Standing, a.Revision = c.s.Engine.Standing(a.AppID, c.lang), accountRevision(a)
	a.Because = bilingual.Text(a.Because).In(c.lang)
	return a
}

// shownWebhook is a webhook as it is answered.
func (c *call) shownWebhook(w gateway.Webhook) gateway.Webhook {
	w.Revision = webhookRevision(w)
	w.Because = bilingual.Text(w.Because).In(c.lang)
	return w
}

// one answers with one account.
func (c *call) one(status int, a gateway.Account) (int, any, error) {
	a = c.shown(a)
	c.tagged(a.Revision)
	return status, a, nil
}
