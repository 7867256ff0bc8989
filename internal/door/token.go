package door

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A gateway token is signed, not stored: the key's id, the appid, the number of a period
// of two hours, and the HMAC of those. It is the same for whoever asks in its period, and
// is good until the end of the next one, so that it lives two hours from any answer that
// has it: no asker ends another's, and no cache of an SDK holds one that is over. It ends
// with its key.
const (
	tokenPrefix = "gt_"
	tokenLife   = 2 * time.Hour
)

type credentials struct {
	GrantType string      `json:"grant_type"`
	AppID     string      `json:"appid"`
	Secret    kefu.Secret `json:"secret"`
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

func (d *Door) giveStableToken(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method != http.MethodPost {
		d.answer(w, r, path, refuse(postWanted, ""))
		return
	}
	body, release, no := d.read(w, r, 4<<10) // of strangers
	defer release()
	var in credentials // force_refresh is the real token's, which is not for the asker to end
	if no == nil && json.Unmarshal(body, &in) != nil {
		no = refuse(notJSON, "")
	}
	if no != nil {
		d.answer(w, r, path, no)
		return
	}
	d.giveToken(w, r, path, in)
}

func (d *Door) giveToken(w http.ResponseWriter, r *http.Request, path string, in credentials) {
	key, no := d.authenticate(r.Context(), in)
	if no != nil {
		d.answer(w, r, path, no)
		return
	}
	d.answer(w, r, path, tokenAnswer{d.token(key.ID, in.AppID, d.Now()), int64(tokenLife / time.Second)})
}

// authenticate finds the key that a program has as its AppSecret.
func (d *Door) authenticate(ctx context.Context, in credentials) (gateway.Key, *words) {
	switch {
	case in.GrantType != "client_credential":
		return gateway.Key{}, refuse(wrongGrant, "")
	case in.AppID == "":
		return gateway.Key{}, refuse(noAppID, "")
	case in.Secret == "":
		return gateway.Key{}, refuse(noSecret, "")
	case len(in.Secret) > maxSecret:
		return gateway.Key{}, refuse(wrongSecret, "")
	}
	key, err := d.Store.FindKey(ctx, in.Secret.Reveal())
	switch {
	case d.Store.Missing(err):
		return key, refuse(wrongSecret, "the door takes the text of a key as the secret: kefu key create --role door")
	case err != nil:
		return key, d.fault(ctx, "a key can't be looked up", err)
	case key.Role != gateway.Door:
		return key, refuse(wrongSecret, "the key "+key.ID+" is not for the door: kefu key create --role door")
	case !sees(key, in.AppID):
		return key, refuse(noAccount, "")
	}
	if _, err = d.Store.Account(ctx, in.AppID); d.Store.Missing(err) {
		return key, refuse(noAccount, "")
	} else if err != nil {
		return key, d.fault(ctx, "an account can't be looked up", err)
	}
	return key, nil
}

// fault logs what the caller can't have caused and is answered -1.
func (d *Door) fault(ctx context.Context, what string, err error) *words {
	if ctx.Err() == nil {
		d.Log.ErrorContext(ctx, what, "err", err)
	}
	return refuse(busy, "")
}

func sees(k gateway.Key, appid string) bool {
	return len(k.Accounts) == 0 || slices.Contains(k.Accounts, appid)
}

func period(now time.Time) int64 { return now.Unix() / int64(tokenLife/time.Second) }

// token is the gateway token of a key and an account.
func (d *Door) token(key, appid string, now time.Time) string {
	text := binary.BigEndian.AppendUint32(nil, uint32(period(now)))
	text = append(append(append(text, key...), 0), appid...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(text, d.mac(text)...))
}

func (d *Door) mac(text []byte) []byte {
	h := hmac.New(sha256.New, d.sign)
	h.Write(text)
	return h.Sum(nil)
}

// identify finds whose token the query has.
func (d *Door) identify(r *http.Request) (caller, *words) {
	token := r.URL.Query().Get("access_token")
	if token == "" {
		return caller{}, refuse(noToken, "")
	}
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil || !strings.HasPrefix(token, tokenPrefix) || len(signed) < 4+sha256.Size {
		return caller{}, refuse(wrongToken, "")
	}
	text, mac := signed[:len(signed)-sha256.Size], signed[len(signed)-sha256.Size:]
	if subtle.ConstantTimeCompare(mac, d.mac(text)) != 1 {
		return caller{}, refuse(wrongToken, "")
	}
	// One from the period to come is another process's, whose clock is a little ahead.
	if age := period(d.Now()) - int64(binary.BigEndian.Uint32(text)); age < -1 || age > 1 {
		return caller{}, refuse(tokenOver, "")
	}
	id, appid, _ := strings.Cut(string(text[4:]), "\x00")
	var who caller
	who.key, err = d.Store.Key(r.Context(), id)
	if err == nil {
		who.account, err = d.Store.Account(r.Context(), appid)
	}
	switch {
	case d.Store.Missing(err) || err == nil && (who.key.Role != gateway.Door || !sees(who.key, appid)):
		return caller{}, refuse(wrongToken, "")
	case err != nil:
		return caller{}, d.fault(r.Context(), "the caller can't be looked up", err)
	}
	return who, nil
}
