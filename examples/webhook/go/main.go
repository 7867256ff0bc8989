// Command go is a bot behind a Kefu webhook, with the standard library alone: it checks
// the signature and answers in the response.
//
//	kefu webhook add http://127.0.0.1:3000/ --type follower.message     # with kefu serve --allow-private
//	WEBHOOK_SECRET=whsec_… go run ./examples/webhook/go 3000
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func verified(key []byte, h http.Header, body []byte) bool {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for one := range strings.FieldsSeq(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(one), []byte(want)) {
			return true
		}
	}
	return false
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) == 0 || len(os.Args) != 2 {
		log.Fatal("usage: WEBHOOK_SECRET=whsec_… go run ./examples/webhook/go PORT")
	}
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !verified(key, r.Header, body) {
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		var event struct {
			Data struct {
				Data struct{ Push struct{ Content string } }
			}
		}
		if err := json.Unmarshal(body, &event); err != nil || event.Data.Data.Push.Content == "" {
			return // taken, with nothing to say
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"messages": []any{
			map[string]any{"msgtype": "text", "text": map[string]string{"content": "你说：" + event.Data.Data.Push.Content}},
		}})
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
