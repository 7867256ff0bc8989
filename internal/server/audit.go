package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// audited is what the record of a call says beside its verb.
type audited struct {
	verb   string // instead of the route's
	made   string // what it was about, where its address doesn't say
	detail string // never a secret, nor what a follower wrote
	quiet  bool   // nothing took effect, or it is a program's daily work
}

// record puts on record that the caller did something.
func (c *call) record(what, target, detail string) error {
	if c.s.Desk == nil {
		return nil
	}
	return c.s.Desk.Record(c.Context(), gateway.AuditEntry{Who: c.key.ID, What: what, Target: target, Detail: detail})
}

// done puts on record what took effect; if that can't be kept, the log has it.
func (c *call) done(what string) {
	target := cmp.Or(c.made, c.PathValue("id"), c.PathValue("account"))
	if err := c.record(what, target, c.detail); err != nil {
		c.s.Log.ErrorContext(c.Context(), "a call is not on record", "what", what, "target", target, "key", c.key.ID, "err", err)
	}
}

// accountChanges names the settings of an account that differ, without their values.
func accountChanges(before, after gateway.Account) string {
	settings := func(a gateway.Account) map[string]json.RawMessage {
		m := members(accountSettings(a.WithDefaults()))
		for name, s := range map[string]kefu.Secret{"secret": a.Secret, "token": a.Token, "aes_key": a.AESKey} {
			m[name] = json.RawMessage(s.Reveal())
		}
		return m
	}
	return changes(settings(before), settings(after))
}

// webhookChanges names the settings of a webhook that differ, without their values.
func webhookChanges(before, after gateway.Webhook) string {
	after.CreatedAt = before.CreatedAt
	return changes(members(webhookSettings(before)), members(webhookSettings(after)))
}

func changes(before, after map[string]json.RawMessage) string {
	all := maps.Clone(before)
	maps.Copy(all, after)
	var names []string
	for name := range all {
		if !bytes.Equal(before[name], after[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// members are those of v as JSON.
func members(v any) (m map[string]json.RawMessage) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic(err) // plain values
	}
	return m
}
