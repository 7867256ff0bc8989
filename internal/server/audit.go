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
	made   string // what it was about, where its address doesn't say
	detail string // never a secret, nor what a follower wrote
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

func accountChanges(before, after gateway.Account) string {
	secrets := func(a gateway.Account) map[string]kefu.Secret {
		return map[string]kefu.Secret{"secret": a.Secret, "token": a.Token, "aes_key": a.AESKey}
	}
	names := changes(accountSettings(before), accountSettings(after))
	for name, s := range secrets(after) {
		if s != secrets(before)[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func webhookChanges(before, after gateway.Webhook) string {
	after.CreatedAt = before.CreatedAt
	return strings.Join(changes(webhookSettings(before), webhookSettings(after)), ", ")
}

// changes names the settings that differ, without their values.
func changes(before, after any) (names []string) {
	old, fresh := members(before), members(after)
	for name := range maps.Keys(old) {
		if _, there := fresh[name]; !there {
			names = append(names, name)
		}
	}
	for name, value := range fresh {
		if !bytes.Equal(old[name], value) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

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
