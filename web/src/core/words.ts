import { signal } from '@preact/signals';
import zh from '../words/zh.json';
import en from '../words/en.json';

export type Lang = 'zh' | 'en';
export type Key = keyof typeof zh;

const catalogues: Record<Lang, Record<Key, string>> = { zh, en };

function first(): Lang {
  const asked = new URLSearchParams(location.search).get('lang') ?? localStorage.getItem('kefu.lang') ?? navigator.language;
  return asked.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const lang = signal<Lang>(first());

export function setLang(l: Lang) {
  lang.value = l;
  localStorage.setItem('kefu.lang', l);
}

/** Whether there are words for a key that comes from elsewhere. */
export const known = (key: string): key is Key => Object.hasOwn(catalogues.en, key);

/** The words for key, with {name} replaced. An English text "one|many" goes by {n}. */
export function t(key: Key, args: Record<string, string | number> = {}): string {
  let text = catalogues[lang.value][key];
  if (lang.value === 'en' && text.includes('|')) {
    const [one, many] = text.split('|');
    text = args['n'] === 1 ? one! : many!;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in args ? String(args[name]) : whole));
}
