package kefutest

import (
	"encoding/json"
	"testing"
)

func TestCardRule(t *testing.T) {
	for _, tt := range []struct {
		name string
		card string // as in a state document
		id   string
		get  int // errcode of /card/get
		send int // errcode of custom/send
	}{
		{"a card without custom codes", `{"card_id":"C","title":"券","use_custom_code":false}`, "C", 0, 0},
		{"an id alone is such a card", `"C"`, "C", 0, 0},
		{"custom codes", `{"card_id":"C","use_custom_code":true}`, "C", 0, 40158},
		{"custom codes, set to answer otherwise", `{"card_id":"C","use_custom_code":true,"errcode":43009}`, "C", 0, 43009},
		{"imported custom codes", `{"card_id":"C","use_custom_code":true,"get_custom_code_mode":"GET_CUSTOM_CODE_MODE_DEPOSIT"}`, "C", 0, 0},
		{"another mode", `{"card_id":"C","use_custom_code":true,"get_custom_code_mode":"SOMETHING"}`, "C", 0, 40158},
		{"a mode without custom codes", `{"card_id":"C","get_custom_code_mode":"SOMETHING"}`, "C", 0, 0},
		{"an unknown card", `"C"`, "D", 40073, 40073},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWire(t)
			var c card
			if err := json.Unmarshal([]byte(tt.card), &c); err != nil {
				t.Fatal(err)
			}
			x.w.account.cards.put([]card{c})
			if got := x.post(nil, "/card/get", `{"card_id":"`+tt.id+`"}`); got != tt.get {
				t.Errorf("/card/get: errcode %d, want %d", got, tt.get)
			}
			if err := x.w.Client().CheckCard(t.Context(), tt.id); (err == nil) != (tt.send == 0) {
				t.Errorf("the SDK's look-up says %v, and custom/send answers %d", err, tt.send)
			}
			x.w.UserSends("oUser1")
			got := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"wxcard","wxcard":{"card_id":"`+tt.id+`"}}`)
			if got != tt.send {
				t.Errorf("custom/send: errcode %d, want %d", got, tt.send)
			}
		})
	}
}

func TestGetCard(t *testing.T) {
	x := newWire(t)
	x.w.account.cards.put([]card{{ID: "C", Type: "CASH", Title: "<券>", UseCustomCode: true, CodeMode: codesImported}})
	_, got := x.do("POST", "/card/get", "application/json", []byte(`{"card_id":"C"}`))
	const want = `{"errcode":0,"errmsg":"ok","card":{"card_type":"CASH","cash":{"base_info":{"id":"C","title":"<券>","use_custom_code":true,"get_custom_code_mode":"GET_CUSTOM_CODE_MODE_DEPOSIT"}}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for body, want := range map[string]int{`{}`: 41012, `{"card_id":""}`: 41012, `{"card_id":1}`: 47001, ``: 44002} {
		if got := x.post(nil, "/card/get", body); got != want {
			t.Errorf("%s: errcode %d, want %d", body, got, want)
		}
	}
}

func TestAnyCard(t *testing.T) {
	x := newWire(t, Account{AcceptAnyID: true})
	var out struct {
		Card struct {
			Groupon struct {
				Base struct {
					ID     string
					Custom bool `json:"use_custom_code"`
				} `json:"base_info"`
			}
		}
	}
	if code := x.post(&out, "/card/get", `{"card_id":"ANY"}`); code != 0 || out.Card.Groupon.Base.ID != "ANY" || out.Card.Groupon.Base.Custom {
		t.Errorf("errcode %d, %+v", code, out)
	}
}
