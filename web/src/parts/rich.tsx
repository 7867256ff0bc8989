// What a text says, drawn as WeChat draws it. Everything is text but what this page
// knows to be a link: nothing of it ever becomes markup.
import type { JSX } from 'preact';
import { Icon } from './icon';

const anchor = /<a\s([^>]*)>([\s\S]*?)<\/a>/gi;
const attribute = /([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/g;
const bare = /https?:\/\/[^\s<>"'，。！？；、（）《》]+/g;

/** Links lead to http and https alone. */
export function safeHref(href: string): string | undefined {
  try {
    const u = new URL(href);
    return u.protocol === 'https:' || u.protocol === 'http:' ? u.href : undefined;
  } catch {
    return undefined;
  }
}

function bareLinks(text: string, out: (string | JSX.Element)[]) {
  let at = 0;
  for (const m of text.matchAll(bare)) {
    const href = safeHref(m[0]);
    if (!href) continue;
    out.push(text.slice(at, m.index), <a href={href} target="_blank" rel="noopener noreferrer nofollow">{m[0]}</a>);
    at = m.index + m[0].length;
  }
  out.push(text.slice(at));
}

/** onTap is for links that act inside WeChat (weixin://…, mini programs). */
export function Rich({ text, onTap }: { text: string; onTap?: (href: string, label: string) => void }) {
  const out: (string | JSX.Element)[] = [];
  let at = 0;
  for (const m of text.matchAll(anchor)) {
    const attrs: Record<string, string> = {};
    for (const a of m[1]!.matchAll(attribute)) attrs[a[1]!.toLowerCase()] = a[2] ?? a[3] ?? a[4] ?? '';
    const label = m[2]!.replace(/<[^>]*>/g, '');
    bareLinks(text.slice(at, m.index), out);
    at = m.index + m[0].length;
    const href = safeHref(attrs['href'] ?? '');
    if (attrs['data-miniprogram-appid']) {
      out.push(<span class="lnk" title={`${attrs['data-miniprogram-appid']} ${attrs['data-miniprogram-path'] ?? ''}`}><Icon name="mini" size="xs" />{label}</span>);
    } else if (href) {
      out.push(<a href={href} target="_blank" rel="noopener noreferrer nofollow">{label}</a>);
    } else if (onTap && /^weixin:/i.test(attrs['href'] ?? '')) {
      out.push(<button type="button" class="lnk" onClick={() => onTap(attrs['href']!, label)}>{label}</button>);
    } else out.push(<span class="lnk">{label}</span>);
  }
  bareLinks(text.slice(at), out);
  return <span class="rich">{out}</span>;
}
