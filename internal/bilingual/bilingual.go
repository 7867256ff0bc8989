// Package bilingual says what people read in Chinese or in English.
package bilingual

import (
	"fmt"
	"strings"
)

// In is zh if lang is "zh", else en, with its verbs filled in; without args the text
// as it is.
func In(lang, en, zh string, args ...any) string {
	if lang == "zh" {
		en = zh
	}
	if len(args) == 0 {
		return en
	}
	return fmt.Sprintf(en, args...)
}

// A Text says the same in both languages, where one string is kept and it is not yet
// known who will read it. Any other string is a Text too, the same in both.
type Text string

// between the two languages of a Text; nobody types it.
const between = "\x1e"

// Both is a Text of both, with their verbs filled in as by [In].
func Both(en, zh string, args ...any) Text {
	said := func(lang string) string { return strings.ReplaceAll(In(lang, en, zh, args...), between, " ") }
	return Text(said("en") + between + said("zh"))
}

// In is t as one reads it in that language.
func (t Text) In(lang string) string {
	en, zh, both := strings.Cut(string(t), between)
	if !both {
		return en
	}
	return In(lang, en, zh)
}
