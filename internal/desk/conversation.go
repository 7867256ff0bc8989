package desk

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// entry is the feed's line about a change, with who made it.
func entry(account, openid, kind string, w gateway.By, change map[string]any) *store.Entry {
	change["by"], change["by_name"] = w.ID, w.Name
	data, err := json.Marshal(change)
	if err != nil {
		panic(err) // plain values
	}
	return &store.Entry{Account: account, OpenID: openid, Type: kind, Data: data}
}

const changed = "conversation.changed"

// Assign gives a conversation to an agent, or with "" to nobody. With expect it is
// given only if that agent ("" nobody) has it now. Problems: not-found for an agent
// that there is not or who may not answer for the account, conflict. This one, and all
// that follow, answer not-found for a conversation that there is not, or no longer.
func (d *Desk) Assign(ctx context.Context, account, openid, agent string, expect *string, by gateway.By) error {
	c := store.DeskChange{Account: account, OpenID: openid, Assigned: &agent, Expect: expect}
	change := map[string]any{"assigned_to": agent}
	if agent != "" {
		a, err := d.Store.Agent(ctx, agent)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		change["assigned_name"] = a.Display // for when the agent is gone
		c.Fit = func(a store.Agent) bool { return answers(a.Agent, account) }
	}
	c.Entry = entry(account, openid, changed, by, change)
	return d.change(ctx, c)
}

// change changes a conversation that there is. Problems: not-found, conflict.
func (d *Desk) change(ctx context.Context, c store.DeskChange) error {
	err := d.Store.ChangeDesk(ctx, d.now(), c)
	switch {
	case errors.Is(err, store.ErrTaken):
		return problem(gateway.Conflict)
	case errors.Is(err, store.ErrNotFound):
		return problem(gateway.NotFound)
	}
	return err
}

// answers reports whether an agent may have conversations of an account.
func answers(a gateway.Agent, account string) bool {
	return !a.Disabled && a.Role != gateway.Views && (len(a.Accounts) == 0 || slices.Contains(a.Accounts, account))
}

// releaseAtOnce is how many conversations are released in one commit at most: other
// writes wait for it.
const releaseAtOnce = 500

// release makes nobody's what an agent has and may have no longer. It may be done again
// if it has failed: then it does the rest.
func (d *Desk) release(ctx context.Context, a gateway.Agent, by gateway.By) error {
	held, err := d.Store.HeldBy(ctx, a.ID)
	if err != nil {
		return err
	}
	var entries []store.Entry
	for _, at := range held {
		if account, openid := at[0], at[1]; !answers(a, account) {
			entries = append(entries, *entry(account, openid, changed, by, map[string]any{"assigned_to": ""}))
		}
	}
	for some := range slices.Chunk(entries, releaseAtOnce) {
		if err := d.Store.Release(ctx, d.now(), a.ID, some); err != nil {
			return err
		}
	}
	return nil
}

// Close is done with a conversation until the follower writes again.
func (d *Desk) Close(ctx context.Context, account, openid string, by gateway.By) error {
	return d.change(ctx, store.DeskChange{
		Account: account, OpenID: openid, Close: true, Entry: entry(account, openid, changed, by, map[string]any{"closed": true}),
	})
}

// SetTags replaces a conversation's tags.
func (d *Desk) SetTags(ctx context.Context, account, openid string, tags []string, by gateway.By) error {
	if tags == nil {
		tags = []string{}
	}
	return d.change(ctx, store.DeskChange{
		Account: account, OpenID: openid, Tags: tags, Entry: entry(account, openid, changed, by, map[string]any{"tags": tags}),
	})
}

// SetRemark names a follower.
func (d *Desk) SetRemark(ctx context.Context, account, openid, remark string, by gateway.By) error {
	return d.change(ctx, store.DeskChange{
		Account: account, OpenID: openid, Remark: &remark, Entry: entry(account, openid, changed, by, map[string]any{"remark": remark}),
	})
}

// AddNote writes a note about a follower.
func (d *Desk) AddNote(ctx context.Context, account, openid, text string, by gateway.By) error {
	return d.change(ctx, store.DeskChange{
		Account: account, OpenID: openid, Entry: entry(account, openid, "conversation.note", by, map[string]any{"text": text}),
	})
}

// Read marks a conversation as read up to a line.
func (d *Desk) Read(ctx context.Context, account, openid, cursor string) error {
	err := d.Store.Read(ctx, d.now(), account, openid, cursor)
	if errors.Is(err, store.ErrNotFound) {
		return problem(gateway.NotFound)
	}
	return err
}

// Notes are a conversation's latest, oldest first.
func (d *Desk) Notes(ctx context.Context, account, openid string) ([]gateway.Note, error) {
	return d.Store.Notes(ctx, account, openid, 50)
}

// Unknown counts the messages of unknown outcome by account and openid: of one
// follower, or with "" for both of everybody.
func (d *Desk) Unknown(ctx context.Context, account, openid string) (map[[2]string]int, error) {
	return d.Store.UnknownOf(ctx, account, openid)
}

// Search looks for a text in what was said.
func (d *Desk) Search(ctx context.Context, accounts []string, text, cursor string, limit int) (gateway.Page[gateway.Found], error) {
	return d.Store.Search(ctx, accounts, text, cursor, limit)
}

// QuickReplies are the team's and the agent's own.
func (d *Desk) QuickReplies(ctx context.Context, agent string) ([]gateway.QuickReply, error) {
	return d.Store.QuickReplies(ctx, agent)
}

// PutQuickReply keeps a reply. Problem: not-found.
func (d *Desk) PutQuickReply(ctx context.Context, owner string, r gateway.QuickReply) (gateway.QuickReply, error) {
	kept, err := d.Store.PutQuickReply(ctx, d.now(), owner, r)
	if errors.Is(err, store.ErrNotFound) {
		err = problem(gateway.NotFound)
	}
	return kept, err
}

// DeleteQuickReply forgets a reply. Problem: not-found.
func (d *Desk) DeleteQuickReply(ctx context.Context, owner, id string) error {
	err := d.Store.DeleteQuickReply(ctx, d.now(), owner, id)
	if errors.Is(err, store.ErrNotFound) {
		err = problem(gateway.NotFound)
	}
	return err
}
