package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kefu-go/kefu/internal/bilingual"
)

// A text is the same in English and in Chinese.
type text struct{ en, zh string }

func same(s string) text { return text{s, s} }

// in returns the text in "zh" or "en".
func (t text) in(lang string) string { return bilingual.In(lang, t.en, t.zh) }

// lang is the language to speak: "zh" or "en".
func (p *program) lang() string {
	set := cmp.Or(p.env["KEFU_LANG"], p.env["LC_ALL"], p.env["LC_MESSAGES"], p.env["LANG"])
	if strings.HasPrefix(strings.ToLower(set), "zh") {
		return "zh"
	}
	return "en"
}

// say says a line to people; foreign text in it is made harmless.
func (p *program) say(en, zh string, args ...any) {
	fmt.Fprintf(p.stderr, "kefu: %s\n", inert(fmt.Sprintf(text{en, zh}.in(p.lang()), args...)))
}
