// Package bot answers followers with a language model: the receiver of a Kefu webhook
// in one file, for any server that speaks OpenAI's chat completions. `kefu bot` runs
// it; copied into a program of yours it is where to begin.
//
//	b := &bot.Bot{BaseURL: "http://127.0.0.1:11434/v1", Model: "qwen3:8b", Secret: "whsec_…"}
//	http.ListenAndServe("127.0.0.1:3000", b)
//
// It answers in the webhook's response, so it needs no key of the gateway. A follower
// who asks for a person, or who can be sent hardly more, is handed over; a model that is
// slow, down or talks nonsense costs the follower an apology, and the second time brings
// a person. What followers write goes to the model's server and stays in memory for a
// day; nothing of it is logged.
package bot

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A Bot receives webhooks and answers them. BaseURL, Model and Secret are required; a
// Bot must not be changed once it serves. It is safe for concurrent use.
type Bot struct {
	BaseURL string      // of the model's API, such as https://api.openai.com/v1
	Model   string      // its name there
	Key     kefu.Secret // for it; none is sent if it is empty
	Secret  kefu.Secret // of the webhook, whsec_…

	Prompt string // what the model is told first; default [DefaultPrompt]
	// Think is how long an answer may take; default 25 s. The webhook's time-out should
	// be longer; if it is not, the next try gets the answer.
	Think time.Duration
	// HandTo is who gets followers whom the bot hands over: [gateway.ByAgent] (default)
	// or [gateway.ByKf].
	HandTo gateway.Handler
	// Low is what of the follower's allowance brings a person in place of an answer;
	// default 1. Negative: none does.
	Low int

	HTTP *http.Client // to the model; default: one that follows no redirects
	Log  *slog.Logger // default: nothing is logged

	mu    sync.Mutex // guards what follows
	talks map[string]*list.Element
	order list.List // of *talk, the latest first
}

// DefaultPrompt is what a model is told unless somebody knows better.
const DefaultPrompt = "You are the customer service of a business on WeChat. Answer in the customer's language, briefly and in plain text without Markdown. " +
	"If you don't know something, say so; never invent prices, orders or promises."

// handMark is what a model says to have a person called.
const handMark = "[[agent]]"

const handRule = "\nIf the customer wants a person, is upset, or needs what you can't do, answer with " + handMark + " and nothing else."

// personWords ask for a person when a message has nothing else.
var personWords = []string{"转人工", "人工", "人工客服", "转人工客服", "找人工", "真人", "agent", "human", "talk to an agent", "talk to a human"}

// What is kept and read at most.
const (
	mostWebhook   = 1 << 20 // bytes
	mostAnswer    = 1 << 20 // bytes of the model's
	mostFollowers = 4096    // that are remembered
	mostTurns     = 20      // of each
	mostHistory   = 12 << 10
	mostInput     = 4000 // bytes of what a follower says
	mostIDs       = 8    // answers that are given once more to the same webhook-id
	memoryLife    = 24 * time.Hour
	mostParts     = 3    // of one answer
	partBytes     = 1800 // of 2048, so that a part can end where a sentence does
	failuresToEnd = 2    // in a row, until a person is called
)

// A talk is what is remembered of a follower.
type talk struct {
	who string

	mu       sync.Mutex // held while an answer is thought of; guards what follows
	turns    []turn
	failed   int // answers in a row
	last     time.Time
	answered []answered // the latest last
}

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type answered struct {
	id     string
	answer gateway.Answer
}

// ServeHTTP takes one webhook.
func (b *Bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "webhooks are posted", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostWebhook))
	if err != nil {
		http.Error(w, "too large, or cut", http.StatusRequestEntityTooLarge)
		return
	}
	if err := gateway.VerifyWebhook(r.Header, body, b.Secret, time.Now()); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var event gateway.WebhookBody
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	// A gateway that stops waiting comes again: what was thought of is for then.
	answer := b.answerOnce(context.WithoutCancel(r.Context()), r.Header.Get(gateway.WebhookIDHeader), event)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

// answerOnce is the answer to an event; the same webhook-id gets the same one.
func (b *Bot) answerOnce(ctx context.Context, id string, event gateway.WebhookBody) gateway.Answer {
	e := event.Data
	closed := e.Window != nil && e.Window.State == gateway.WindowClosed
	if event.Type != "follower.message" || e.OpenID == "" || !e.Handler.BotMayAnswer() || closed {
		return gateway.Answer{} // nobody asked, or nothing would get through
	}
	t := b.talk(e.Account + " " + e.OpenID)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.IndexFunc(t.answered, func(a answered) bool { return a.id == id }); i >= 0 {
		return t.answered[i].answer
	}
	began := time.Now()
	if began.Sub(t.last) > memoryLife {
		t.turns, t.failed = nil, 0
	}
	answer, what := b.answer(ctx, t, e)
	t.last = time.Now()
	if t.answered = append(t.answered, answered{id, answer}); len(t.answered) > mostIDs {
		t.answered = slices.Clone(t.answered[1:])
	}
	b.log().Info("answered", "openid", e.OpenID, "account", e.Account, "what", what, "took", time.Since(began).Round(time.Millisecond))
	return answer
}

// talk is what is remembered of a follower; the one who was silent longest is forgotten.
func (b *Bot) talk(who string) *talk {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.talks == nil {
		b.talks = map[string]*list.Element{}
	}
	at := b.talks[who]
	if at == nil {
		at = b.order.PushFront(&talk{who: who})
		b.talks[who] = at
	}
	b.order.MoveToFront(at)
	if b.order.Len() > mostFollowers {
		delete(b.talks, b.order.Remove(b.order.Back()).(*talk).who)
	}
	return at.Value.(*talk)
}

// answer is what the follower is told, and a word about it for the log.
func (b *Bot) answer(ctx context.Context, t *talk, e gateway.WebhookEvent) (gateway.Answer, string) {
	text := said(e.Data)
	lang := languageOf(text)
	left := -1 // no limit
	if e.Window != nil && e.Window.State == gateway.WindowOpen && e.Window.Remaining != nil {
		left = *e.Window.Remaining
	}
	switch low := cmp.Or(b.Low, 1); {
	case left == 0:
		return gateway.Answer{Handover: b.handTo()}, "handed over: nothing is left of the allowance"
	case left > 0 && left <= low:
		return b.handOver(lang), "handed over: the allowance is low"
	case wantsPerson(text):
		return b.handOver(lang), "handed over: the follower asked"
	case text == "":
		return say(onlyText.in(lang)), "no text"
	}
	t.turns = append(t.turns, turn{"user", text})
	reply, err := b.ask(ctx, t.turns)
	if err != nil {
		t.turns = t.turns[:len(t.turns)-1]
		b.log().Warn("the model did not answer", "openid", e.OpenID, "err", err)
		if t.failed++; t.failed >= failuresToEnd {
			t.failed = 0
			return b.handOver(lang), "handed over: the model failed again"
		}
		return say(sorry.in(lang)), "apologised: the model failed"
	}
	t.failed = 0
	if strings.Contains(reply, handMark) {
		return b.handOver(lang), "handed over: the model asked"
	}
	parts := mostParts
	if left > 0 {
		parts = min(parts, left-max(0, cmp.Or(b.Low, 1)))
	}
	reply = shorten(reply, parts*partBytes)
	t.turns = forget(append(t.turns, turn{"assistant", reply}))
	return say(reply), "answered"
}

// said is what a follower's message says in words: a text, or a voice that WeChat has
// written down.
func said(data json.RawMessage) string {
	var d struct {
		Push struct{ Content, Recognition string }
	}
	_ = json.Unmarshal(data, &d) // what has another form says nothing
	return clean(shorten(cmp.Or(d.Push.Content, d.Push.Recognition), mostInput))
}

// wantsPerson reports whether a text asks for a person: a rule, so that it works
// whatever state the model is in.
func wantsPerson(text string) bool {
	text = strings.ToLower(strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r) }))
	return slices.Contains(personWords, text) || strings.Contains(text, "转人工")
}

func (b *Bot) handTo() gateway.Handler { return cmp.Or(b.HandTo, gateway.ByAgent) }

func (b *Bot) handOver(lang string) gateway.Answer {
	a := say(handing.in(lang))
	a.Handover = b.handTo()
	return a
}

func (b *Bot) log() *slog.Logger {
	if b.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return b.Log
}

// say is the answer with one text, in parts if it is long.
func say(text string) gateway.Answer {
	message, _ := json.Marshal(map[string]any{ // strings and maps of them always encode
		"message":   kefu.Message{Body: kefu.Text{Content: text}},
		"long_text": gateway.Split,
	})
	return gateway.Answer{Messages: []json.RawMessage{message}}
}

// forget leaves the latest turns, as many as are kept.
func forget(turns []turn) []turn {
	size := 0
	for i := len(turns) - 1; i >= 0; i-- {
		if size += len(turns[i].Content); size > mostHistory || len(turns)-i > mostTurns {
			return slices.Clone(turns[i+1:])
		}
	}
	return turns
}

// A chat is the request, and a completion the answer, of POST /chat/completions.
type chat struct {
	Model    string `json:"model"`
	Messages []turn `json:"messages"`
	Stream   bool   `json:"stream"`
}

type completion struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
}

// direct follows no redirects: where they lead was not chosen by the operator, and the
// key would go along.
var direct = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// ask has the model answer, at the second try where the first failed for a reason that
// passes and there is time.
func (b *Bot) ask(ctx context.Context, turns []turn) (string, error) {
	think := cmp.Or(b.Think, 25*time.Second)
	ctx, cancel := context.WithTimeout(ctx, think)
	defer cancel()
	body, err := json.Marshal(chat{b.Model, append([]turn{{"system", cmp.Or(b.Prompt, DefaultPrompt) + handRule}}, turns...), false})
	if err != nil {
		return "", err
	}
	began := time.Now()
	reply, passes, err := b.post(ctx, body)
	if err != nil && passes && time.Since(began) < think/2 {
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, think/10)):
			reply, _, err = b.post(ctx, body)
		}
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("no answer within %v", think)
	}
	return reply, err
}

// post is one call. Its error has nothing that the server said, which may repeat the key.
func (b *Bot) post(ctx context.Context, body []byte) (reply string, passes bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(b.BaseURL, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", false, errors.New("the base URL is none")
	}
	req.Header.Set("Content-Type", "application/json")
	if b.Key != "" {
		req.Header.Set("Authorization", "Bearer "+b.Key.Reveal())
	}
	res, err := cmp.Or(b.HTTP, direct).Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its URL may hold a password
			err = u.Err
		}
		return "", true, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer+1))
	switch {
	case res.StatusCode/100 == 3:
		return "", false, fmt.Errorf("HTTP %d: redirects are not followed; set the base URL to where it leads", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return "", res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500, fmt.Errorf("HTTP %d", res.StatusCode)
	case err != nil:
		return "", true, errors.New("the answer broke off")
	case len(answer) > mostAnswer:
		return "", false, fmt.Errorf("the answer is larger than %d bytes", mostAnswer)
	}
	var c completion
	if err := json.Unmarshal(answer, &c); err != nil {
		return "", false, errors.New("the answer is no chat completion")
	}
	if len(c.Choices) > 0 {
		reply = clean(withoutThoughts(c.Choices[0].Message.Content))
	}
	if reply == "" {
		return "", false, errors.New("the answer has no text")
	}
	return reply, false, nil
}

// withoutThoughts is text without what a model has thought aloud.
func withoutThoughts(text string) string {
	const begin, end = "<think>", "</think>"
	if !strings.HasPrefix(strings.TrimSpace(text), begin) {
		return text
	}
	_, text, _ = strings.Cut(text, end)
	return text
}

// clean is text that WeChat can show.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError {
			return -1
		}
		return r
	}, text))
}

// shorten leaves at most that many bytes of text, ended where a sentence or a word does
// if there is one in the last half.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const more = "…"
	cut := most - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	text = text[:cut]
	for _, ends := range []string{"\n", "。！？.!?", " ，,"} {
		if i := strings.LastIndexAny(text, ends); i > most/2 {
			_, size := utf8.DecodeRuneInString(text[i:])
			return strings.TrimSpace(text[:i+size]) + more
		}
	}
	return text + more
}

// A phrase is the same in English and in Chinese.
type phrase struct{ en, zh string }

var (
	handing  = phrase{"A colleague of ours takes over and will answer you here soon.", "已为您转接人工客服，请稍候，同事会在这里回复您。"}
	sorry    = phrase{"Sorry, I can't answer that right now. Please try again in a moment, or write “agent” for a person.", "抱歉，我暂时无法回答。请稍后再试，或回复“人工”转人工客服。"}
	onlyText = phrase{"I can only read text so far. Write to me, or write “agent” for a person.", "我目前只能看懂文字。请用文字告诉我，或回复“人工”转人工客服。"}
)

func (p phrase) in(lang string) string {
	if lang == "en" {
		return p.en
	}
	return p.zh
}

// languageOf is "zh" for a text with Chinese in it or without words, else "en".
func languageOf(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) || !strings.ContainsFunc(text, unicode.IsLetter) {
		return "zh"
	}
	return "en"
}
