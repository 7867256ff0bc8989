package kefutest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// codesImported is the get_custom_code_mode of a card whose custom codes were
// given to WeChat beforehand.
const codesImported = "GET_CUSTOM_CODE_MODE_DEPOSIT"

// A card is as much of a card coupon (卡券) as a customer-service message cares
// for. In the state it may also be written as its id alone.
type card struct {
	ID            string `json:"card_id"`
	Type          string `json:"card_type"` // "GROUPON" unless told otherwise
	Title         string `json:"title"`
	UseCustomCode bool   `json:"use_custom_code"`
	CodeMode      string `json:"get_custom_code_mode,omitempty"` // or [codesImported]
	// Refusal is the errcode of a message with this card if its custom codes were
	// not imported: 40158 (default) or 43009. WeChat's list has both and does not say
	// which call gives which.
	Refusal int `json:"errcode,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *card) UnmarshalJSON(b []byte) error {
	*c = card{Type: "GROUPON"}
	if json.Unmarshal(b, &c.ID) == nil {
		return nil
	}
	type plain card // without this method
	return json.Unmarshal(b, (*plain)(c))
}

// check is the card rule of the article and of the old official page: a message
// carries only cards without custom codes, or with imported ones.
func (c card) check() (errcode int) {
	if !c.UseCustomCode || c.CodeMode == codesImported {
		return 0
	}
	return cmp.Or(c.Refusal, 40158)
}

// answer is the card as /card/get tells it: the part named by its type.
func (c card) answer() map[string]any {
	base := struct {
		ID            string `json:"id"`
		Title         string `json:"title"`
		UseCustomCode bool   `json:"use_custom_code"`
		CodeMode      string `json:"get_custom_code_mode,omitempty"`
	}{c.ID, c.Title, c.UseCustomCode, c.CodeMode}
	return map[string]any{"card_type": c.Type, strings.ToLower(c.Type): map[string]any{"base_info": base}}
}

// A cardCase is the cards of one account.
type cardCase struct {
	mu    sync.Mutex // guards all below
	cards []card
	anyID bool // an unknown id is a card without custom codes
}

// find looks a card up. 41012 is in WeChat's table of card errors; 40073 "invalid
// card id" is in its list of all codes, as WxJava copied it (WxOpenErrorMsgEnum).
// That /card/get answers an unknown id with it is our reading of its name.
func (c *cardCase) find(id string) (card, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" {
		return card{}, 41012
	}
	if i := slices.IndexFunc(c.cards, func(has card) bool { return has.ID == id }); i >= 0 {
		return c.cards[i], 0
	}
	if c.anyID {
		return card{ID: id, Type: "GROUPON"}, 0
	}
	return card{}, 40073
}

// check decides whether a wxcard message can carry the card.
func (c *cardCase) check(id string) int {
	found, code := c.find(id)
	if code == 0 {
		code = found.check()
	}
	return code
}

// get returns all cards, for a state document; put replaces them.
func (c *cardCase) get() []card {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]card{}, c.cards...)
}

func (c *cardCase) put(cards []card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cards = slices.Clone(cards)
}

var cardRoutes = []route{
	{path: "/card/get", method: http.MethodPost, handle: getCard},
}

func getCard(c *call) reply {
	var in struct {
		CardID string `json:"card_id"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	found, code := c.cards.find(in.CardID)
	if code != 0 {
		return refuse(code)
	}
	return answer(struct {
		ErrCode int            `json:"errcode"`
		ErrMsg  string         `json:"errmsg"`
		Card    map[string]any `json:"card"`
	}{0, "ok", found.answer()})
}
