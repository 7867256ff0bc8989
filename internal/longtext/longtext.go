// Package longtext cuts a text that is longer than WeChat takes into parts. It is
// pure: the same text gives the same parts.
package longtext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Split cuts text into the fewest parts of at most that many bytes each, and among
// the places where that is possible prefers the end of a paragraph, then of a line,
// of a sentence, of a word. A part is the bytes [part[0], part[1]) of text; what lies
// between two parts is line breaks, or nothing but white space. A text that fits is
// one part.
//
// No cut goes through a rune, a link (<a …>…</a>, or a URL), or what is seen as one
// sign (an emoji of several runes, a letter with its accents), unless one sign is
// longer than a part. ok is false if a link is, or if there is nothing but space.
func Split(text string, most int) (parts [][2]int, ok bool) {
	if most < utf8.UTFMax {
		return nil, false
	}
	begin, end := trim(text, 0, len(text))
	borders, ok := rate(text, most)
	if !ok {
		return nil, false
	}

	// The latest place at which each part may begin is most after the one before; the
	// earliest, so that the rest still fits, comes from the end.
	earliest := []int{end}
	for at := end; at-begin > most; {
		p := at - most
		for borders[p] == nowhere {
			p++
		}
		if p == at { // a link that is longer than a part; rate has refused it
			return nil, false
		}
		at = p
		earliest = append(earliest, at)
	}
	for at, k := begin, len(earliest)-1; k >= 0; k-- {
		cut := end
		if k > 0 {
			cut = at
			for p := earliest[k]; p <= min(at+most, end); p++ {
				if p > at && borders[p] != nowhere && (cut == at || borders[p] >= borders[cut]) {
					cut = p
				}
			}
		}
		if from, to := trim(text, at, cut); strings.TrimSpace(text[from:to]) != "" {
			parts = append(parts, [2]int{from, to})
		}
		at = cut
	}
	return parts, len(parts) > 0
}

// trim takes line breaks off both ends of text[from:to].
func trim(text string, from, to int) (int, int) {
	for from < to && (text[from] == '\n' || text[from] == '\r') {
		from++
	}
	for from < to && (text[to-1] == '\n' || text[to-1] == '\r') {
		to--
	}
	return from, to
}

// How good a place for a cut is.
const (
	nowhere = iota
	inWord
	anywhere
	afterWord
	afterSentence
	atLine
	atParagraph
)

// rate says of each place in text, before the byte with that index, how good a cut
// is there. ok is false if a link is longer than most.
func rate(text string, most int) (borders []uint8, ok bool) {
	borders = make([]uint8, len(text)+1)
	borders[len(text)] = atParagraph
	sign := 0 // where the present one begins
	flags := 0
	var last rune
	for i, r := range text {
		if r == regional(r) {
			flags++
		} else {
			flags = 0
		}
		if i > 0 {
			if joined(last, r, flags) {
				if i+utf8.RuneLen(r)-sign > most { // one sign longer than a part
					borders[i], sign = inWord, i
				}
			} else {
				borders[i], sign = between(text, i, last, r), i
			}
		}
		last = r
	}
	for _, l := range links(text) {
		if l[1]-l[0] > most {
			return nil, false
		}
		clear(borders[l[0]+1 : l[1]])
	}
	return borders, true
}

// joined reports whether r belongs to the sign that ends with last. flags counts the
// regional indicators up to r: two make a flag.
func joined(last, r rune, flags int) bool {
	const joiner = 0x200d
	switch {
	case last == '\r' && r == '\n', last == joiner, r == joiner:
		return true
	case unicode.Is(unicode.M, r): // accents, variation selectors, the ring of a keycap
		return true
	case r >= 0x1f3fb && r <= 0x1f3ff: // skin
		return true
	case r >= 0xe0020 && r <= 0xe007f: // tags, of the flags of regions
		return true
	case r >= 0x1160 && r <= 0x11ff: // parts of a Korean syllable
		return true
	}
	return flags > 0 && flags%2 == 0
}

func regional(r rune) rune {
	if r >= 0x1f1e6 && r <= 0x1f1ff {
		return r
	}
	return -1
}

// between rates the place i, between the runes last and r.
func between(text string, i int, last, r rune) uint8 {
	const closers = "”’」』）》】)]\"'"
	before, after := text[:i], text[i:]
	switch blank := strings.TrimSuffix(strings.TrimSuffix(before, "\n"), "\r"); {
	case last == '\n' && strings.HasSuffix(blank, "\n"),
		strings.HasPrefix(after, "\n\n"), strings.HasPrefix(after, "\r\n\r\n"):
		return atParagraph
	case last == '\n', r == '\n', strings.HasPrefix(after, "\r\n"):
		return atLine
	}
	end := strings.TrimRight(before[max(0, i-16):], " \t")
	spaced := len(end) < min(i, 16)
	end = strings.TrimRight(end, closers)
	ends, _ := utf8.DecodeLastRuneInString(end)
	switch {
	case unicode.IsSpace(r) || strings.ContainsRune(closers, r):
		return anywhere
	case strings.ContainsRune("。！？…", ends), spaced && strings.ContainsRune(".!?;", ends):
		return afterSentence
	case unicode.IsSpace(last), strings.ContainsRune("，、；：", ends):
		return afterWord
	case word(last) && word(r):
		return inWord
	case unicode.Is(unicode.P, r):
		return inWord
	}
	return anywhere
}

// word reports whether r is of a script that puts spaces between words.
func word(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

// links are the places of links in text: of each <a …>…</a>, and of each URL
// outside of them. A tag without an end is a link by itself.
func links(text string) (found [][2]int) {
	lower := strings.Map(func(r rune) rune { // ASCII alone: every byte keeps its place
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
	if len(lower) != len(text) { // bytes that are not UTF-8
		return nil
	}
	next := func(from int, what string) int {
		if i := strings.Index(lower[from:], what); i >= 0 {
			return from + i
		}
		return len(lower)
	}
	opens, ends, closes, urls := -1, -1, -1, -1
	for at := 0; ; {
		if opens < at {
			for opens = next(at, "<a"); opens+2 < len(lower) && !strings.ContainsRune(" \t\r\n", rune(lower[opens+2])); {
				opens = next(opens+2, "<a")
			}
		}
		if urls < at {
			urls = next(at, "://")
		}
		if opens >= len(lower) && urls >= len(lower) {
			return found
		}
		if opens < urls {
			if ends < opens {
				ends = next(opens, ">")
			}
			if closes < opens {
				closes = next(opens, "</a>")
			}
			if ends == len(lower) { // no tag at all
				at = opens + 2
				continue
			}
			end := ends + 1
			if another := next(opens+2, "<a "); closes < another {
				end = closes + len("</a>")
			}
			found = append(found, [2]int{opens, end})
			at = end
			continue
		}
		from, to := urls, urls+len("://")
		for from > at && (lower[from-1] >= 'a' && lower[from-1] <= 'z' || strings.IndexByte("0123456789+.-", lower[from-1]) >= 0) {
			from--
		}
		for to < len(lower) && (lower[to] >= 'a' && lower[to] <= 'z' || strings.IndexByte("0123456789-._~:/?#[]@!$&'()*+,;=%", lower[to]) >= 0) {
			to++
		}
		if from < urls && to > urls+len("://") {
			found = append(found, [2]int{from, to})
		}
		at = to
	}
}
