package longtext

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func cut(t *testing.T, text string, most int) []string {
	t.Helper()
	parts, ok := Split(text, most)
	if !ok {
		return nil
	}
	var all []string
	for _, p := range parts {
		all = append(all, text[p[0]:p[1]])
	}
	return all
}

func TestWhereItCuts(t *testing.T) {
	link := `<a href="https://example.com/a b">一个 链接</a>`
	for _, tt := range []struct {
		name, text string
		most       int
		want       []string
	}{
		{"fits", "short", 10, []string{"short"}},
		{"exactly", "0123456789", 10, []string{"0123456789"}},
		{"one more", "0123456789a", 10, []string{"0123456789", "a"}},
		{"after a paragraph", "one\n\ntwo. three", 12, []string{"one", "two. three"}},
		{"after a paragraph, in CRLF", "one\r\n\r\ntwo. three", 12, []string{"one", "two. three"}},
		{"after a line", "one\ntwo. three", 12, []string{"one", "two. three"}},
		{"a line that fills the part", "0123456789\nabc", 10, []string{"0123456789", "abc"}},
		{"after a sentence", "A b. C d e", 9, []string{"A b. ", "C d e"}},
		{"after a Chinese sentence", "你好。在吗在", 15, []string{"你好。", "在吗在"}},
		{"after its quotation mark", "“好。”在吗吗", 18, []string{"“好。”", "在吗吗"}},
		{"after a word", "aaa bbb ccc", 10, []string{"aaa bbb ", "ccc"}},
		{"not before a full stop", "好好好好。", 12, []string{"好好好", "好。"}},
		{"the fewest parts, though a paragraph ends before", "a\n\n0123456789 123456789", 12, []string{"a\n\n012345678", "9 123456789"}},
		{"no rune is cut", "汉汉汉", 8, []string{"汉汉", "汉"}},
		{"no family is torn", "ab👨‍👩‍👧‍👦", 26, []string{"ab", "👨‍👩‍👧‍👦"}},
		{"no skin is lost", "ab👍🏽", 9, []string{"ab", "👍🏽"}},
		{"no flag is halved", "🇨🇳🇫🇷", 12, []string{"🇨🇳", "🇫🇷"}},
		{"no accent is left behind", "abce\u0301", 5, []string{"abc", "e\u0301"}},
		{"a sign longer than a part", "e" + strings.Repeat("\u0301", 5), 5, []string{"e\u0301\u0301", "\u0301\u0301", "\u0301"}},
		{"a link stays whole", "0123456789" + link, len(link), []string{"0123456789", link}},
		{"a link in capitals", strings.ToUpper("0123456789" + `<a href="x">y z</a>`), 20, []string{"0123456789", `<A HREF="X">Y Z</A>`}},
		{"a link longer than a part", "see " + link, len(link) - 1, nil},
		{"a URL stays whole", "看https://example.com/a?b=c。好", 27, []string{"看", "https://example.com/a?b=c", "。好"}},
		{"a URL longer than a part", "https://example.com/abcdefghijkl", 31, nil},
		{"a tag without an end", `<a href="1">123<a href="2">x</a>`, 20, []string{`<a href="1">123`, `<a href="2">x</a>`}},
		{"what only looks like a tag", "<ab <a <a <a <a ", 8, []string{"<ab <a <", "a <a <a "}},
		{"nothing but line breaks", strings.Repeat("\n", 30), 10, nil},
		{"a gap longer than a part", "a" + strings.Repeat("\n", 30) + "b", 10, []string{"a", "b"}},
		{"no room for a rune", "汉", 3, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cut(t, tt.text, tt.most); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// pieces of which random texts are made.
var pieces = []string{
	"a", "word ", "汉", "你好，", "好。", "\n", "\n\n", "\r\n", ". ", "👨‍👩‍👧‍👦", "👍🏽", "🇨🇳", "é", "한",
	`<a href="https://example.com/x">点 这里</a>`, `<A HREF='x'>y</A>`, "https://example.com/a?b=c&d=e ", "weixin://x/y", "<a ", "</a>", "<", ">", "://", " ", "\t",
}

// For any text: the parts give it back but for white space between them, none is
// longer than the limit, none breaks a rune or a link, there are as few as can be,
// and the same text always gives the same.
func TestPartsAreTheText(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b strings.Builder
		for range r.IntN(120) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		text, most := b.String(), 4+r.IntN(200)
		check(t, text, most)
		if t.Failed() {
			t.Fatalf("seed %d, at most %d: %q", seed, most, text)
		}
	}
}

func check(t *testing.T, text string, most int) {
	parts, ok := Split(text, most)
	again, _ := Split(text, most)
	if !slices.Equal(parts, again) {
		t.Error("not the same twice")
	}
	longest := 0
	for _, l := range links(text) {
		longest = max(longest, l[1]-l[0])
	}
	if want := longest <= most && strings.TrimSpace(text) != ""; ok != want {
		t.Errorf("ok is %v; the longest link has %d bytes", ok, longest)
	}
	if !ok {
		return
	}
	at := 0
	for i, p := range append(parts, [2]int{len(text), len(text)}) {
		gap := text[at:p[0]]
		if strings.Trim(gap, "\r\n") != "" && strings.TrimSpace(gap) != "" {
			t.Errorf("lost before part %d: %q", i, gap)
		}
		at = p[1]
		if i == len(parts) {
			break
		}
		part := text[p[0]:p[1]]
		if len(part) > most || part == "" || utf8.ValidString(text) && !utf8.ValidString(part) {
			t.Errorf("part %d: %q", i, part)
		}
		for _, l := range links(text) {
			if p[0] > l[0] && p[0] < l[1] || p[1] > l[0] && p[1] < l[1] {
				t.Errorf("part %d breaks the link %q", i, text[l[0]:l[1]])
			}
		}
	}
	// As few as when each part is as long as it can be.
	borders, _ := rate(text, most)
	begin, end := trim(text, 0, len(text))
	fewest := 1
	for from := begin; end-from > most; fewest++ {
		to := from + most
		for borders[to] == nowhere {
			to--
		}
		from = to
	}
	if len(parts) > fewest {
		t.Errorf("%d parts, %d would do", len(parts), fewest)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`<a href="x">y</a>汉`, 9)
	f.Add("\xff<a \xf0\x9f", 4)
	f.Fuzz(func(t *testing.T, text string, most int) {
		if most < 4 || most > 4096 || len(text) > 20_000 {
			t.Skip()
		}
		check(t, text, most)
	})
}

// A hostile text costs no more than another of its length.
func BenchmarkHostile(b *testing.B) {
	for name, piece := range map[string]string{"tags": "<a ", "ends": "</a>", "urls": "a://", "text": "汉字。"} {
		text := strings.Repeat(piece, (1<<20)/len(piece))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for range b.N {
				Split(text, 2048)
			}
		})
	}
}
