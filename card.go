package kefu

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// A Card is what matters of a coupon for sending it.
type Card struct {
	ID            string
	Type          string // "GROUPON", "CASH", …
	Title         string
	UseCustomCode bool   // its codes are the account's own
	CodeMode      string // how custom codes come to be; see [CodesImported]
}

// CodesImported is the CodeMode of a card whose custom codes were imported
// (导入 code 模式).
const CodesImported = "GET_CUSTOM_CODE_MODE_DEPOSIT"

// Sendable reports whether customer messages may carry the card: those without
// custom codes, and those whose codes were imported.
//
// Source: the article and the official page it copies.
func (c Card) Sendable() bool { return !c.UseCustomCode || c.CodeMode == CodesImported }

// Card looks a card up.
//
// Source: /card/get.
func (c *Client) Card(ctx context.Context, id string) (Card, error) {
	const path = "/card/get"
	res, err := post[struct {
		Card map[string]json.RawMessage `json:"card"`
	}](ctx, c, path, struct {
		CardID string `json:"card_id"`
	}{id})
	if err != nil {
		return Card{}, err
	}
	card := Card{ID: id}
	for key, value := range res.Card {
		if key == "card_type" {
			_ = json.Unmarshal(value, &card.Type) // only for display
			continue
		}
		var kind struct { // the member is named after the card's type
			Base *struct {
				Title         string `json:"title"`
				UseCustomCode bool   `json:"use_custom_code"`
				CodeMode      string `json:"get_custom_code_mode"`
			} `json:"base_info"`
		}
		if json.Unmarshal(value, &kind) == nil && kind.Base != nil {
			card.Title, card.UseCustomCode, card.CodeMode = kind.Base.Title, kind.Base.UseCustomCode, kind.Base.CodeMode
			return card, nil
		}
	}
	return Card{}, &TransportError{Op: opOf(path), Status: http.StatusOK, class: ErrUnknownOutcome, Err: errors.New("an answer without base_info")}
}

// CheckCard looks a card up and returns an [*InvalidError] if customer messages
// may not carry it.
func (c *Client) CheckCard(ctx context.Context, id string) error {
	card, err := c.Card(ctx, id)
	if err != nil || card.Sendable() {
		return err
	}
	return &InvalidError{[]Violation{{
		Location: "message.wxcard.card_id", Rule: "card", Code: 40158,
		Message: "names a card with custom codes that were not imported; only cards without custom codes or in import-code mode can be sent",
		Zh:      "是自定义 code 的卡券且未导入 code；只能投放非自定义 code 或导入 code 模式的卡券",
		Source:  "the article; old official page of custom/send",
	}}}
}
