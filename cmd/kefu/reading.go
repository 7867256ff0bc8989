package main

import (
	"context"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// reading is the store as the server reads it: without what only the gateway needs.
type reading struct{ *store.Store }

func (r reading) Message(ctx context.Context, id string) (gateway.Message, error) {
	m, err := r.Store.Message(ctx, id)
	return m.Message, err
}

func (r reading) Messages(ctx context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error) {
	return messages(r.Store.Messages(ctx, store.Filter(f), cursor, limit))
}

func (r reading) OldestMessages(ctx context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error) {
	return messages(r.Store.OldestMessages(ctx, store.Filter(f), cursor, limit))
}

func messages(page gateway.Page[store.Message], err error) (gateway.Page[gateway.Message], error) {
	out := gateway.Page[gateway.Message]{Next: page.Next}
	for _, m := range page.Items {
		out.Items = append(out.Items, m.Message)
	}
	return out, err
}

func (r reading) Conversations(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[gateway.Conversation], error) {
	page, err := r.Store.Conversations(ctx, accounts, cursor, limit)
	out := gateway.Page[gateway.Conversation]{Next: page.Next}
	for _, c := range page.Items {
		out.Items = append(out.Items, shown(c))
	}
	return out, err
}

func (r reading) Conversation(ctx context.Context, account, openid string) (gateway.Conversation, error) {
	c, err := r.Store.Present(ctx, account, openid)
	return shown(c), err
}

func shown(c store.Conversation) gateway.Conversation {
	out := gateway.Conversation{
		Account: c.Account, OpenID: c.OpenID, LastAt: gateway.At(c.LastAt), Handling: c.Handling,
		Remark: c.Desk.Remark, AssignedTo: c.Desk.Assigned, Tags: c.Desk.Tags, Unread: c.Desk.Unread, Closed: c.Desk.Closed,
	}
	if !c.Desk.WaitingSince.IsZero() {
		at := gateway.At(c.Desk.WaitingSince)
		out.WaitingSince = &at
	}
	if out.Handler == "" {
		out.Handler = gateway.ByBot
	}
	if c.LastType != "" {
		out.Last = &gateway.TimelineEntry{At: out.LastAt, Type: c.LastType, Data: c.LastLine}
		if c.LastType == "message.accepted" {
			out.Last.Type = "message"
		}
	}
	return out
}

func (r reading) Timeline(ctx context.Context, account, openid, cursor string, limit int) (gateway.Page[gateway.TimelineEntry], error) {
	page, err := r.Store.Timeline(ctx, account, openid, cursor, limit)
	out := gateway.Page[gateway.TimelineEntry]{Next: page.Next}
	for _, line := range page.Items {
		entry := gateway.TimelineEntry{Cursor: line.Cursor, At: line.At, Type: line.Type, Data: line.Data, Asset: line.Asset, ThumbAsset: line.Thumb}
		if line.Message != nil {
			entry.Type, entry.Message, entry.Data = "message", &line.Message.Message, nil
		}
		out.Items = append(out.Items, entry)
	}
	return out, err
}
