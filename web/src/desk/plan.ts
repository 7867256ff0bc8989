// What a draft will cost: how many messages it becomes. The gateway cuts; this page
// asks it nothing while somebody types and follows the same rule: WeChat's limit in
// bytes of UTF-8, cuts at the ends of paragraphs, lines, sentences, words.

const utf8 = new TextEncoder();
export const bytes = (s: string) => utf8.encode(s).length;

const borders = [/\n\n/g, /\n/g, /[。！？；.!?;]\s*/g, /[，、,\s]/g];
const link = /<a\s[^>]*>[\s\S]*?<\/a>|https?:\/\/[^\s<>"']+/gi;

/** Where the text is cut, as offsets; none: it is one message. */
export function cuts(text: string, limit: number): number[] {
  const out: number[] = [];
  const links = [...text.matchAll(link)].map((m) => [m.index, m.index + m[0].length] as const);
  let from = 0;
  while (bytes(text.slice(from)) > limit) {
    let lo = from, hi = Math.min(text.length, from + limit);
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1;
      if (bytes(text.slice(from, mid)) <= limit) lo = mid;
      else hi = mid - 1;
    }
    let end = lo;
    for (const [a, b] of links) if (a < end && end < b && a > from) end = a;
    const part = text.slice(from, end);
    let cut = end;
    for (const border of borders) {
      let last = -1;
      for (const m of part.matchAll(border)) last = m.index + m[0].length;
      if (last > part.length / 3 && !links.some(([a, b]) => a < from + last && from + last < b)) {
        cut = from + last;
        break;
      }
    }
    const code = text.charCodeAt(cut - 1);
    if (code >= 0xd800 && code < 0xdc00) cut--; // never inside a sign of two halves
    if (cut <= from) cut = end > from ? end : from + 1;
    out.push(cut);
    from = cut;
  }
  return out;
}
