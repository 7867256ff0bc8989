// What a message or an event is in a few words, for lists.
import { known, t, type Key } from '../core/words';
import type { Message, Push } from '../core/types';

const kinds: Record<string, Key> = {
  image: 'kind.image', voice: 'kind.voice', video: 'kind.video', shortvideo: 'kind.video', music: 'kind.music', news: 'kind.news', mpnews: 'kind.mpnews',
  mpnewsarticle: 'kind.mpnewsarticle', msgmenu: 'kind.msgmenu', wxcard: 'kind.wxcard', miniprogrampage: 'kind.miniprogrampage', location: 'kind.location',
  link: 'kind.link', text: 'kind.text',
};
export const kindName = (msgtype: string): string => (Object.hasOwn(kinds, msgtype) ? t(kinds[msgtype]!) : msgtype);

/** A text on one line, without its tags. */
export const strip = (s: string) => s.replace(/<[^>]*>/g, '').replace(/\s+/g, ' ').trim();

/** Our message, WeChat's JSON. */
export function sayMessage(m: any): string {
  if (!m) return '';
  const body = m[m.msgtype] ?? {};
  switch (m.msgtype) {
    case 'text': return strip(body.content ?? '');
    case 'news': return `[${kindName('news')}] ${body.articles?.[0]?.title ?? ''}`;
    case 'msgmenu': return `[${kindName('msgmenu')}] ${strip(body.head_content ?? '')}`;
    case 'miniprogrampage': case 'music': case 'video': return `[${kindName(m.msgtype)}] ${body.title ?? ''}`;
  }
  return `[${kindName(m.msgtype)}]`;
}

/** What an errcode means and what to do, in words; final: it is not tried again by itself. */
export function explain(code: number | undefined, final = false): string {
  const key = `errcode.${code}`, last = `${key}.final`;
  return final && known(last) ? t(last) : known(key) ? t(key) : '';
}

/** That a message failed, in a few words: WeChat is named where it has refused it, and
 * not where the gateway has foreseen that. */
export const sayFailed = (m: Message): string =>
  m.outcome?.errcode && m.outcome.errmsg ? t('state.failed', { code: m.outcome.errcode }) : t(m.attempts ? 'state.failed.after' : 'state.failed.here');

/** What to ask before a message is sent once more that may bring the follower something
 * twice; undefined: nothing. */
export function askTwice(m: Message): string | undefined {
  if (m.state === 'unknown') return t('send.again.ask');
  return m.parts_sent ? t('send.again.parts', { n: m.parts_sent, of: m.parts ?? 0 }) : undefined;
}

/** What the follower said or did. */
export function sayPush(d: Push): string {
  const p = d?.push ?? {};
  switch (d?.msgtype) {
    case 'text': return strip(p.Content ?? '');
    case 'location': return `[${kindName('location')}] ${p.Label ?? ''}`;
    case 'link': return `[${kindName('link')}] ${p.Title ?? ''}`;
    case 'event': return sayEvent(d);
  }
  return d?.msgtype ? `[${kindName(d.msgtype)}]` : '';
}

/** The name of what opens a window, or ends one. */
export function triggerName(trigger: string): string {
  const key = `trigger.${trigger}`;
  return known(key) ? t(key) : trigger;
}

export function sayEvent(d: Push): string {
  const p = d.push ?? {};
  const key: string = p.EventKey ?? p.Key ?? '';
  switch ((d.event ?? '').toLowerCase()) {
    case 'subscribe': return key ? t('event.subscribe.scan', { key: key.replace(/^qrscene_/, '') }) : t('event.subscribe');
    case 'unsubscribe': return t('event.unsubscribe');
    case 'scan': return t('event.scan', { key });
    case 'click': return t('event.click', { key });
    case 'view': return t('event.view', { key });
    case 'location': return t('event.location');
    case 'kf_create_session': return t('event.kf_create');
    case 'kf_close_session': return t('event.kf_close');
    case 'kf_switch_session': return t('event.kf_switch');
    case 'scancode_push': case 'scancode_waitmsg': return t('event.scancode', { key: p.ScanResult || key });
    case 'pic_sysphoto': case 'pic_photo_or_album': case 'pic_weixin': return t('event.pics', { n: p.Count ?? 0 });
    case 'location_select': return t('event.place');
    case 'user_pay_from_pay_cell': return t('event.pay');
  }
  return t('event.other', { event: d.event ?? '' });
}

export function sayLast(last: { type: string; data: any; message?: any } | undefined): string {
  if (!last) return '';
  return last.type === 'message' ? sayMessage(last.data ?? last.message?.message) : sayPush(last.data);
}
