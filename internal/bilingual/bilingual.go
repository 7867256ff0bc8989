// Package bilingual says what people read in Chinese or in English.
package bilingual

import "fmt"

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
