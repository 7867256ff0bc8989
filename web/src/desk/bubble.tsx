// One line of a thread: what was said, drawn as on WeChat, and what became of it.
import { useSignal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { clockTime, moment, second } from '../core/clock';
import { agentById, me, mayWrite, nameOfBy } from '../core/session';
import { t } from '../core/words';
import type { Attempt, By, Conversation, Line, Message, Page, Push } from '../core/types';
import { Avatar, shortName, signOf } from '../parts/avatar';
import { Missed, useGot } from '../parts/got';
import { Icon } from '../parts/icon';
import type { IconName } from '../parts/icons';
import { Rich, safeHref } from '../parts/rich';
import { announce } from '../parts/overlay';
import * as act from './actions';
import { askTwice, explain, kindName, sayEvent, sayFailed, sayMessage, triggerName } from './kinds';
import { Lightbox } from './lightbox';
import { Voice } from './voice';

const icons: Record<string, IconName> = { image: 'image', voice: 'mic', video: 'video', music: 'music', news: 'news', mpnews: 'news', mpnewsarticle: 'news', msgmenu: 'menu', wxcard: 'ticket', miniprogrampage: 'mini', link: 'link', location: 'pin' };

/** Where a picture, voice or video of ours or theirs is to be had: the gateway's copy. */
const assetURL = (asset: string | undefined, account: string) => (asset?.startsWith('asset:') ? `/v1/assets/${encodeURIComponent(asset)}?account=${encodeURIComponent(account)}` : undefined);

/** Where the n-th picture is to be had that a message names by its URL: by way of the gateway, for the page loads nothing from elsewhere. */
const pictureURL = (url: unknown, id: string | undefined, n = 1) => (id && /^https?:\/\//.test(String(url)) ? `/v1/messages/${encodeURIComponent(id)}/pictures/${n}` : undefined);

// --- what is said

/** The body of one of our messages. id: of one that is kept; what is not yet written has none, and shows no pictures by URL. */
export function Body({ m, account, id, tapped }: { m: any; account: string; id?: string; tapped?: Set<string> }) {
  const b = m?.[m?.msgtype] ?? {};
  const picture = (media: unknown) => assetURL(media as string | undefined, account) ?? pictureURL(media, id);
  switch (m?.msgtype) {
    case 'text': return <div class="bub"><Rich text={String(b.content ?? '')} /></div>;
    case 'image': return <Picture src={picture(b.media_id)} />;
    case 'voice': return <Voice src={assetURL(b.media_id, account)} />;
    case 'video': return <Film src={assetURL(b.media_id, account)} poster={picture(b.thumb_media_id)} title={b.title} />;
    case 'music': return (
      <div class="bub cardy"><div class="news"><b>{b.title || kindName('music')}</b><p>{b.description}</p><Thumb src={picture(b.thumb_media_id)} icon="music" /></div><Kind of="music" href={b.musicurl} /></div>
    );
    case 'news': return <>{(b.articles ?? []).map((a: any, i: number) => <Article key={i} title={a.title} text={a.description} href={a.url} src={pictureURL(a.picurl, id, i + 1)} kind="news" />)}</>;
    case 'mpnews': case 'mpnewsarticle': return <Article title={b.title ?? kindName(m.msgtype)} text={b.media_id ?? b.article_id} kind={m.msgtype} />;
    case 'msgmenu': return (
      <div class="bub mm">
        {b.head_content && <p><Rich text={String(b.head_content)} /></p>}
        <ul>{(b.list ?? []).map((o: any) => <li key={o.id}><span class="lnk">{o.content}</span>{tapped?.has(String(o.id)) && <Icon name="check" size="xs" />}</li>)}</ul>
        {b.tail_content && <p><Rich text={String(b.tail_content)} /></p>}
      </div>
    );
    case 'miniprogrampage': return (
      <div class="bub cardy"><div class="mp"><p class="src"><Icon name="mini" size="xs" />{b.appid}</p><b>{b.title}</b><Thumb src={picture(b.thumb_media_id)} icon="mini" large /></div><Kind of="miniprogrampage" /></div>
    );
    case 'wxcard': return <div class="bub cardy"><div class="news card"><b>{kindName('wxcard')}</b><p class="mono">{b.card_id}</p><Thumb icon="ticket" /></div><Kind of="wxcard" /></div>;
    case 'link': return <Article title={b.title} text={b.description} href={b.url} src={pictureURL(b.thumb_url, id)} kind="link" />;
  }
  return <Unknown kind={String(m?.msgtype ?? '')} raw={m} />;
}

/** The body of what a follower sent. */
function Inbound({ d, line, account }: { d: Push; line: Line; account: string }) {
  const p = d.push ?? {};
  switch (d.msgtype) {
    case 'text': return <div class="bub"><Rich text={String(p.Content ?? '')} />{p.MenuID && <span class="lbl"> · {t('bubble.menutap')}</span>}</div>;
    case 'image': return <Picture src={assetURL(line.asset, account)} />;
    case 'voice': return <Voice src={assetURL(line.asset, account)} said={p.Recognition} />;
    case 'video': case 'shortvideo': return <Film src={assetURL(line.asset, account)} poster={assetURL(line.thumb_asset, account)} />;
    case 'location': return <Place label={p.Label} lat={p.LocationX ?? p.Latitude} lon={p.LocationY ?? p.Longitude} />;
    case 'link': return <Article title={p.Title} text={p.Description} href={p.URL} kind="link" />;
    case 'miniprogrampage': return <div class="bub cardy"><div class="mp"><p class="src"><Icon name="mini" size="xs" />{p.AppID}</p><b>{p.Title}</b><Thumb src={undefined} icon="mini" large /></div><Kind of="miniprogrampage" /></div>;
  }
  return <Unknown kind={d.msgtype} raw={p} />;
}

function Thumb({ src, icon, large = false }: { src?: string; icon: IconName; large?: boolean }) {
  const bad = useSignal(false);
  return src && !bad.value ? <img class={large ? 'art' : 'th'} src={src} alt="" loading="lazy" onError={() => (bad.value = true)} /> : <span class={`${large ? 'art' : 'th'} none`}><Icon name={icon} /></span>;
}

function Kind({ of, href }: { of: string; href?: string }) {
  const safe = href && safeHref(href);
  return <p class="kind"><Icon name={icons[of] ?? 'info'} size="xs" />{kindName(of)}{safe && <a class="mla" href={safe} target="_blank" rel="noopener noreferrer nofollow">{new URL(safe).host}</a>}</p>;
}

function Article({ title, text, href, src, kind }: { title?: string; text?: string; href?: string; src?: string; kind: string }) {
  const safe = href ? safeHref(href) : undefined;
  const inner = <><b>{title}</b><p>{text}</p><Thumb src={src} icon={icons[kind] ?? 'news'} /></>;
  return (
    <div class="bub cardy">
      {safe ? <a class="news" href={safe} target="_blank" rel="noopener noreferrer nofollow">{inner}</a> : <div class="news">{inner}</div>}
      <Kind of={kind} href={href} />
    </div>
  );
}

function Picture({ src }: { src?: string }) {
  const [open, setOpen] = useState(false);
  const bad = useSignal(false);
  if (!src || bad.value) return <div class="bub gone"><Icon name="image" /> {t(!src ? 'media.none' : src.startsWith('/v1/messages/') ? 'media.unfetched' : 'media.gone')}</div>;
  return (
    <>
      <button type="button" class="bub pic" aria-label={t('picture.open')} onClick={() => setOpen(true)}><img src={src} alt={t('kind.image')} loading="lazy" onError={() => (bad.value = true)} /></button>
      {open && <Lightbox src={src} onClose={() => setOpen(false)} />}
    </>
  );
}

function Film({ src, poster, title }: { src?: string; poster?: string; title?: string }) {
  return src
    ? <div class="bub cardy"><video class="film" src={src} poster={poster} controls preload="none" aria-label={title || t('kind.video')} />{title && <p class="kind">{title}</p>}</div>
    : <div class="bub gone"><Icon name="video" /> {title || t('kind.video')}</div>;
}

function Place({ label, lat, lon }: { label?: string; lat?: any; lon?: any }) {
  const where = label || `${lat}, ${lon}`;
  return (
    <div class="bub loc">
      <svg viewBox="0 0 252 96" role="img" aria-label={t('kind.location')}><rect class="g0" width="252" height="96" /><path class="g1" d="M0 66 96 30 252 58M40 0l44 96M150 0l36 96" /><path class="g2" d="M126 70s-16-15-16-26a16 16 0 0 1 32 0c0 11-16 26-16 26Z" /><circle class="g3" cx="126" cy="44" r="5" /></svg>
      <p>{where} <button type="button" class="lnk" onClick={() => void navigator.clipboard?.writeText(where)}>{t('copy.address')}</button></p>
    </div>
  );
}

const Raw = ({ of }: { of: unknown }) => <details><summary>JSON</summary><pre class="wrap">{JSON.stringify(of, null, 2)}</pre></details>;

const Unknown = ({ kind, raw }: { kind: string; raw: unknown }) => <div class="bub"><p>{t('kind.unknown', { kind: kind || '?' })}</p><Raw of={raw} /></div>;

/** What stands in a line's place that can't be drawn: all that is known of it. */
export const Undrawn = ({ line, why }: { line: Line; why: string }) => (
  <div class={`m ${line.message ? 'out' : ''}`} data-cursor={line.cursor} role="group" aria-label={t('draw.line')}>
    <div class="mb"><div class="bub"><p>{t('draw.line')}</p><p class="lbl">{why}</p><Raw of={line.message ?? line.data} /></div></div>
  </div>
);

// --- what became of it

function whoOf(by: By | undefined, source: string): { name: string; icon?: IconName } {
  switch (by?.kind ?? source) {
    case 'agent': case 'console': return { name: by?.name ?? agentById(by?.id)?.display ?? t('by.agent') };
    case 'door': return { name: by?.name ? t('by.door.named', { name: by.name }) : t('by.door'), icon: 'door' };
    case 'webhook': case 'bot': return { name: by?.name ?? t('by.bot'), icon: 'bot' };
    case 'cli': return { name: t('by.cli'), icon: 'code' };
  }
  return { name: by?.name ?? t('by.api'), icon: 'code' };
}

function Outgoing({ m, c, tapped, same }: { m: Message; c: Conversation | undefined; tapped: Set<string>; same: boolean }) {
  const [open, setOpen] = useState(false);
  const who = whoOf(m.by, m.source);
  const body = <Body m={m.message} account={m.account} id={m.id} tapped={tapped} />;
  const parts = m.parts && m.parts > 1 ? t('state.parts', { n: m.parts_sent ?? 0, of: m.parts }) : '';
  const line = (icon: IconName, words: string, time = clockTime(Date.parse(m.accepted_at))) => (
    <p class="st"><Icon name={icon} size="xs" />{words} <span class="num">{time}</span> · <span class="by">{who.icon && <Icon name={who.icon} size="xs" />}{who.name}</span>
      {m.possible_duplicate && <span class="cw"> · {t('state.duplicate')}</span>}
      {parts && <span> · {parts}</span>}
      {m.attempts > 0 && <> · <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>{t('attempts', { n: m.attempts })}</button></>}</p>
  );
  const slip = (cls: string, icon: IconName, head: string, why: string, buttons: preact.ComponentChildren) => (
    <>
      <div class={`slip ${cls}`}>{body}
        <div class="why"><p><Icon name={icon} size="s" /><span><b>{head}</b> {why}</span></p>{mayWrite.value && buttons && <div class="acts">{buttons}</div>}</div>
      </div>
      {line('clock', '')}
    </>
  );
  const button = (label: string, run: () => void, icon?: IconName, quiet = false) => <button type="button" class={`btn sm ${quiet ? 'quiet' : ''}`} onClick={run}>{icon && <Icon name={icon} size="xs" />}{label}</button>;
  const opened = c?.window.state === 'open' && c.window.remaining !== 0;
  const n = Math.max(1, m.parts ?? 1); // of the allowance
  /** Sends it once more; asks first where the follower may have some of it. */
  function again(run: (m: Message) => unknown = act.retry) {
    const question = askTwice(m);
    if (!question || confirm(question)) void run(m);
  }
  const anew = mayWrite.value && <p class="st"><button type="button" onClick={() => again()}>{t('ops.retry')}</button></p>;
  let drawn: preact.ComponentChildren;
  switch (m.state) {
    case 'queued': {
      const later = m.not_before && Date.parse(m.not_before) > second.value;
      drawn = <>{body}{later ? line('sched', t('state.scheduled', { at: moment(Date.parse(m.not_before!)) }), '') : m.retry_at ? line('queued', t('state.retrying', { at: clockTime(Date.parse(m.retry_at)) })) : line('queued', t('state.queued'))}
        {mayWrite.value && <p class="st"><button type="button" onClick={() => void act.cancel(m)}>{t('ops.cancel')}</button></p>}</>;
      break;
    }
    case 'sending': drawn = <>{body}{line('refresh', t('state.sending'))}</>; break;
    case 'sent': drawn = <>{body}{line('check', t('state.sent'))}</>; break;
    case 'parked': drawn = slip('prk', 'park', t('state.parked'), t('state.parked.why', { until: moment(Date.parse(m.expires_at)) }), <>{button(t('ops.cancel'), () => void act.cancel(m), undefined, true)}{opened && button(t('send.now', { n }), () => again(act.sendNow), undefined, true)}</>); break;
    case 'failed': {
      const o = m.outcome ?? {};
      drawn = slip('ref', 'cross', sayFailed(m), explain(o.errcode, true) || o.advice || o.reason || '', <>{button(t(opened ? 'retry.now' : 'retry.park', { n }), () => again(), 'refresh')}</>);
      break;
    }
    case 'unknown': drawn = m.retry_at
      ? slip('unk', 'unknown', t('state.unknown'), t('state.unknown.resend', { at: clockTime(Date.parse(m.retry_at)) }), button(t('resend.off'), () => void act.cancel(m), undefined, true))
      : slip('unk', 'unknown', t('state.unknown'), t('state.unknown.why'), <>
          {button(t('mark.sent'), () => void act.resolve(m, 'sent'), 'check')}{button(t('mark.failed'), () => void act.resolve(m, 'failed'), 'cross', true)}
          {button(t('send.again'), () => again(), 'send', true)}</>);
      break;
    case 'expired': drawn = <><div class="off">{body}</div>{line('clock', t('state.expired'))}{anew}</>; break;
    case 'canceled': drawn = <><div class="off">{body}</div>{line('stop', t('state.canceled'))}{anew}</>; break;
  }
  return (
    <div class={`m out ${same ? 'same' : ''}`} data-id={m.id} data-state={m.state} role="group" aria-label={[who.name, clockTime(Date.parse(m.accepted_at)), m.state === 'failed' ? sayFailed(m) : t(`state.${m.state}`), sayMessage(m.message)].join(t('comma'))}>
      <span class="av sm c0" aria-hidden="true">{who.icon ? <Icon name={who.icon} size="s" /> : signOf(who.name)}</span>
      <div class="mb">{drawn}{open && <Attempts m={m} />}</div>
    </div>
  );
}

function Attempts({ m }: { m: Message }) {
  const all = useGot<Page<Attempt>>(`/v1/messages/${encodeURIComponent(m.id)}/attempts`, `${m.state} ${m.attempts} ${m.parts_sent ?? ''}`);
  return (
    <>
      <Missed of={all} />
      <ol class="atts" aria-busy={!all.now.value && !all.why.value}>
        {(all.now.value?.items ?? []).map((a) => (
          <li key={a.n}>{t('attempt.n', { n: a.n })}{a.part ? ` · ${t('attempt.part', { n: a.part })}` : ''} <span class="num">{clockTime(Date.parse(a.at))}</span> · {t(`attempt.${a.outcome}` as any)} {a.errcode ? <code>{a.errcode}</code> : null} · <span class="num">{a.took_ms} ms</span>{a.allowance ? ` · ${t('attempt.left', { left: a.allowance.left, max: a.allowance.max })}` : ''}
            {a.errmsg && <details><summary>errmsg</summary><code>{a.errmsg}</code>{a.rid && <code> rid {a.rid}</code>}</details>}</li>
        ))}
      </ol>
    </>
  );
}

/** What the business's own callback answered a push with; WeChat has it, as far as anybody knows. */
function Passive({ d, at, account }: { d: any; at: number; account: string }) {
  const m = { msgtype: d.msgtype, [d.msgtype]: { content: d.content, title: d.title, articles: [{ title: d.title, url: d.url }] } };
  return (
    <div class="m out" data-state="passive" role="group" aria-label={[t('by.passive'), clockTime(at), sayMessage(m)].join(t('comma'))}>
      <span class="av sm c0" aria-hidden="true"><Icon name="bolt" size="s" /></span>
      <div class="mb"><Body m={m} account={account} /><p class="st"><span class="by">{t('by.passive')}</span> · <span class="num">{clockTime(at)}</span></p></div>
    </div>
  );
}

const eventIcons: Record<string, IconName> = { subscribe: 'user', unsubscribe: 'close', scan: 'qr', click: 'tap', view: 'link', location: 'pin', kf_create_session: 'swap', kf_close_session: 'swap' };

/** One line of the thread. before: the line above it. */
export function ThreadLine({ line, before, account, c, tapped }: { line: Line; before?: Line; account: string; c: Conversation | undefined; tapped: Set<string> }) {
  const at = Date.parse(line.at);
  if (line.message) {
    const prev = before?.message;
    const same = !!prev && (prev.by?.id ?? prev.source) === (line.message.by?.id ?? line.message.source) && at - Date.parse(before!.at) < 120_000 && !['failed', 'unknown', 'parked'].includes(prev.state);
    return <Outgoing m={line.message} c={c} tapped={tapped} same={same} />;
  }
  const d = line.data as Push;
  if (line.type === 'follower.event') {
    const event = (d.event ?? '').toLowerCase(), icon = (Object.hasOwn(eventIcons, event) && eventIcons[event]) || 'bolt';
    return <p class="ev"><Icon name={icon} size="xs" /><span><span class="num">{clockTime(at)}</span> {sayEvent(d)}{d.trigger && d.trigger !== 'unfollow' ? t('event.opens', { trigger: triggerName(d.trigger) }) : ''}</span></p>;
  }
  if (line.type === 'conversation.note') {
    return <div class="nt" data-cursor={line.cursor}><Icon name="note" size="s" /><p>{line.data.text}<br /><span class="mut">{nameOfBy(line.data)} · <span class="num">{clockTime(at)}</span> · {t('note.hint')}</span></p></div>;
  }
  if (line.type === 'conversation.changed') {
    const words = sayChange(line.data);
    return words ? <p class="ev"><Icon name="swap" size="xs" /><span><span class="num">{clockTime(at)}</span> {words}</span></p> : null;
  }
  if (line.type === 'conversation.answered') return <Passive d={line.data} at={at} account={account} />;
  if (line.type !== 'follower.message') return null;
  const name = c?.remark || shortName(c?.openid ?? '');
  const same = before?.type === 'follower.message' && at - Date.parse(before.at) < 120_000;
  return (
    <div class={`m ${same ? 'same' : ''}`} data-cursor={line.cursor} role="group" aria-label={`${name}${t('comma')}${clockTime(at)}`}>
      <Avatar id={c?.openid ?? ''} name={c?.remark} size="sm" />
      <div class="mb"><Inbound d={d} line={line} account={account} /><p class="st"><span class="num">{clockTime(at)}</span>{d.trigger ? ` · ${t('line.restart')}` : ''}</p></div>
    </div>
  );
}

function sayChange(d: any): string {
  const by = nameOfBy(d);
  if ('assigned_to' in d) {
    if (!d.assigned_to) return t('change.released', { by });
    if (d.assigned_to === d.by) return t('change.claimed', { by });
    return t('change.assigned', { by, to: agentById(d.assigned_to)?.display || d.assigned_name || t('by.agent') });
  }
  if (d.closed) return t('change.closed', { by });
  if (d.handler) return t('change.handler', { by: handedBy(String(d.handler_by ?? '')), to: t(`handler.${d.handler}` as any) });
  return '';
}

/** Who has said who answers: "api " and an id, "webhook " and an id, or "wechat". */
function handedBy(by: string): string {
  const [kind, id] = by.split(' ');
  if (kind === 'wechat') return t('by.wechat');
  return kind === 'webhook' ? t('by.bot') : (agentById(id)?.display ?? t('by.api'));
}

/** Tells a screen reader of what arrived in the open thread. */
export function tellArrival(line: Line) {
  if (line.type === 'follower.message' && me.value) announce(t('arrived'));
}
