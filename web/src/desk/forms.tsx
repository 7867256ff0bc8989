// The kinds that are more than a text: a form, and beside it what the phone shows.
import { useSignal, type Signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Problem } from '../core/api';
import { t, type Key } from '../core/words';
import type { Conversation } from '../core/types';
import { Fence } from '../parts/fence';
import { Icon } from '../parts/icon';
import type { IconName } from '../parts/icons';
import { tell } from '../parts/overlay';
import { Body } from './bubble';
import { kindName } from './kinds';
import { startUpload, type MediaKind, type Upload } from './upload';

export type FormKind = 'image' | 'voice' | 'video' | 'music' | 'news' | 'mpnews' | 'mpnewsarticle' | 'msgmenu' | 'wxcard' | 'miniprogrampage' | 'link' | 'json';

export const kindsToSend: { kind: FormKind; icon: IconName; name: () => string }[] = (
  [['image', 'image'], ['voice', 'mic'], ['video', 'video'], ['music', 'music'], ['news', 'news'], ['mpnews', 'news'], ['mpnewsarticle', 'news'], ['msgmenu', 'menu'], ['miniprogrampage', 'mini'], ['wxcard', 'ticket'], ['link', 'link'], ['json', 'code']] as [FormKind, IconName][]
).map(([kind, icon]) => ({ kind, icon, name: () => (kind === 'json' ? 'JSON' : kindName(kind)) }));

interface Field { name: string; label: Key; example: string; required?: boolean; media?: MediaKind; max?: number; long?: boolean }

const fields: Record<Exclude<FormKind, 'msgmenu' | 'json'>, Field[]> = {
  image: [{ name: 'media_id', label: 'field.picture', example: 'https://example.com/tea.jpg', required: true, media: 'image' }],
  voice: [{ name: 'media_id', label: 'field.voice', example: 'asset:…', required: true, media: 'voice' }],
  video: [
    { name: 'media_id', label: 'field.video', example: 'asset:…', required: true, media: 'video' },
    { name: 'thumb_media_id', label: 'field.cover', example: 'asset:…', media: 'image' },
    { name: 'title', label: 'field.title', example: '', max: 64 }, { name: 'description', label: 'field.description', example: '', max: 120 },
  ],
  music: [
    { name: 'title', label: 'field.title', example: '茶歌', max: 64 }, { name: 'description', label: 'field.description', example: '', max: 120 },
    { name: 'musicurl', label: 'field.musicurl', example: 'https://example.com/song.mp3', required: true }, { name: 'hqmusicurl', label: 'field.hqmusicurl', example: 'https://example.com/song.flac' },
    { name: 'thumb_media_id', label: 'field.cover', example: 'asset:…', required: true, media: 'image' },
  ],
  news: [
    { name: 'title', label: 'field.title', example: '白毫银针怎么泡', required: true, max: 64 }, { name: 'description', label: 'field.description', example: '', max: 120 },
    { name: 'url', label: 'field.url', example: 'https://example.com/', required: true }, { name: 'picurl', label: 'field.picurl', example: 'https://example.com/tea.jpg' },
  ],
  mpnews: [{ name: 'media_id', label: 'field.draft', example: 'MEDIA_ID', required: true }],
  mpnewsarticle: [{ name: 'article_id', label: 'field.article', example: 'ARTICLE_ID', required: true }],
  wxcard: [{ name: 'card_id', label: 'field.card', example: 'pDemoCard', required: true }],
  miniprogrampage: [
    { name: 'title', label: 'field.title', example: '', required: true, max: 64 }, { name: 'appid', label: 'field.appid', example: 'wx…', required: true },
    { name: 'pagepath', label: 'field.pagepath', example: 'pages/index', required: true }, { name: 'thumb_media_id', label: 'field.cover', example: 'asset:…', required: true, media: 'image' },
  ],
  link: [
    { name: 'title', label: 'field.title', example: '', required: true, max: 64 }, { name: 'description', label: 'field.description', example: '', max: 120 },
    { name: 'url', label: 'field.url', example: 'https://example.com/', required: true }, { name: 'thumb_url', label: 'field.picurl', example: 'https://example.com/tea.jpg' },
  ],
};

/** What the kinds that have more than named values look like, for one whose JSON can't be drawn. */
const shapes: Record<string, string> = {
  news: '{"articles":[{"title":"…","description":"…","url":"…","picurl":"…"}]}',
  msgmenu: '{"head_content":"…","list":[{"id":"1","content":"…"}],"tail_content":"…"}',
};

/** What was filled in, the menu's options, and the files that are uploaded for a value. */
export interface Filled { values: Record<string, string>; options: string[]; uploads: Record<string, Upload> }
export const emptyForm: Filled = { values: {}, options: ['', ''], uploads: {} };

export function KindForm({ kind, filled, c, onCancel, onSend, verb }: { kind: FormKind; filled: Signal<Filled>; c: Conversation; onCancel: () => void; onSend: (message: any) => Promise<void>; verb: string }) {
  const { values, options, uploads } = filled.value;
  const setOptions = (all: string[]) => (filled.value = { ...filled.peek(), options: all });
  const errors = useSignal<Record<string, string>>({});
  const busy = useSignal(false);
  const set = (name: string, v: string) => (filled.value = { ...filled.peek(), values: { ...filled.peek().values, [name]: v } });
  /** The latest file that is taken for a value is the one that counts, and what is typed after it. */
  const endUpload = (name: string) => {
    const { [name]: up, ...rest } = filled.peek().uploads;
    up?.end();
    filled.value = { ...filled.peek(), uploads: rest };
  };
  function upload(name: string, file: File) {
    let taken = false;
    startUpload(file, c.account, (up) => {
      if (!taken) {
        endUpload(name);
        set(name, '');
      }
      taken = true;
      filled.value = { ...filled.peek(), uploads: { ...filled.peek().uploads, [name]: up } };
      if (up.asset) set(name, up.asset);
      if (up.error) tell(new Error(up.error));
    });
  }
  const message = make();
  const root = useRef<HTMLFormElement>(null);
  useLayoutEffect(() => root.current?.querySelector<HTMLElement>('input, textarea')?.focus(), []);

  function make(): any {
    const full = Object.fromEntries(Object.entries(values).filter(([, v]) => v.trim()));
    switch (kind) {
      case 'json':
        try {
          return JSON.parse(values['json'] ?? '');
        } catch {
          return null;
        }
      case 'news': return { msgtype: 'news', news: { articles: [full] } };
      case 'msgmenu': return { msgtype: 'msgmenu', msgmenu: { head_content: values['head'] ?? '', list: options.filter(Boolean).map((content, i) => ({ id: String(i + 1), content })), tail_content: values['tail'] ?? '' } };
    }
    return { msgtype: kind, [kind]: full };
  }

  async function submit(e: Event) {
    e.preventDefault();
    if (busy.value) return;
    const bad: Record<string, string> = {};
    if (kind === 'json') {
      try {
        JSON.parse(values['json'] ?? '');
      } catch (err) {
        bad['json'] = String(err instanceof Error ? err.message : err);
      }
    } else if (kind === 'msgmenu') {
      if (!options.some(Boolean)) bad['list'] = t('field.needed');
    } else for (const f of fields[kind]) {
      if (uploading(uploads[f.name])) bad[f.name] = t('upload.wait');
      else if (f.required && !values[f.name]?.trim()) bad[f.name] = t('field.needed');
    }
    errors.value = bad;
    const first = Object.keys(bad)[0];
    if (first) return document.getElementById(`kf-${first}`)?.focus();
    busy.value = true;
    try {
      await onSend(message);
    } catch (err) {
      if (err instanceof Problem && err.body['errors']) {
        errors.value = Object.fromEntries(err.body['errors'].map((x: any) => [String(x.location).split('.').at(-1), x.message]));
        if (!Object.keys(errors.value).some((n) => document.getElementById(`kf-${n}`))) tell(err);
      } else tell(err);
    } finally {
      busy.value = false;
    }
  }

  const wrong = (name: string) => errors.value[name] && <span class="hint ch" role="alert">{errors.value[name]}</span>;
  return (
    <form ref={root} class="kform" onSubmit={(e) => void submit(e)} aria-label={kind === 'json' ? 'JSON' : kindName(kind)} onKeyDown={(e) => e.key === 'Escape' && (e.stopPropagation(), onCancel())}>
      <div class="kf">
        {kind === 'json' ? (
          <div class="f"><label for="kf-json">JSON</label><textarea id="kf-json" class="in area mono" rows={6} value={values['json'] ?? ''} placeholder='{"msgtype":"text","text":{"content":"…"}}' onInput={(e) => set('json', e.currentTarget.value)} />{wrong('json')}</div>
        ) : kind === 'msgmenu' ? (
          <>
            <div class="f"><label for="kf-head">{t('field.head')}</label><input id="kf-head" class="in" value={values['head'] ?? ''} onInput={(e) => set('head', e.currentTarget.value)} /></div>
            {options.map((o, i) => <div key={i} class="f"><label for={i ? `kf-list${i}` : 'kf-list'}>{t('field.option', { n: i + 1 })}</label><input id={i ? `kf-list${i}` : 'kf-list'} class="in" value={o} onInput={(e) => setOptions(filled.peek().options.map((x, j) => (j === i ? e.currentTarget.value : x)))} />{i === 0 && wrong('list')}</div>)}
            <div class="f"><span /><button type="button" class="btn sm quiet" onClick={() => setOptions([...options, ''])}><Icon name="plus" size="xs" />{t('field.option.add')}</button></div>
            <div class="f"><label for="kf-tail">{t('field.tail')}</label><input id="kf-tail" class="in" value={values['tail'] ?? ''} onInput={(e) => set('tail', e.currentTarget.value)} /><span class="hint">{t('csat.warn')}</span></div>
          </>
        ) : fields[kind].map((f) => (
          <div key={f.name} class="f">
            <label for={`kf-${f.name}`}>{t(f.label)}{f.required && <span class="req" aria-hidden="true"> *</span>}</label>
            <span class="row"><input id={`kf-${f.name}`} class="in" required={f.required} maxLength={f.max ?? 2048} placeholder={f.example} value={values[f.name] ?? ''} onInput={(e) => (endUpload(f.name), set(f.name, e.currentTarget.value))} aria-invalid={!!errors.value[f.name]} />
              {f.media && <Pick kind={f.media} up={uploads[f.name]} onPick={(file) => upload(f.name, file)} />}</span>
            {wrong(f.name)}
          </div>
        ))}
      </div>
      <div class="kp" inert title={t('preview')}>{message?.msgtype && <Fence of={filled.value} instead={(why) => <p class="hint ch" role="alert">{t('preview.failed', { kind: kindName(message.msgtype) })}{shapes[message.msgtype] && <code>{` ${shapes[message.msgtype]} `}</code>}<span class="lbl">{why}</span></p>}><Body m={message} account={c.account} /></Fence>}</div>
      <div class="sendbar"><button type="button" class="btn quiet" onClick={onCancel}>{t('cancel')}</button><button type="submit" class="btn pri" aria-disabled={busy.value}>{verb}</button></div>
    </form>
  );
}

const uploading = (up: Upload | undefined) => !!up && !up.asset && !up.error;

/** A button that uploads a file in place of an id. */
function Pick({ kind, up, onPick }: { kind: MediaKind; up: Upload | undefined; onPick: (file: File) => void }) {
  return (
    <label class="btn sm"><Icon name="upload" size="xs" />{uploading(up) ? `${Math.round(up!.progress * 100)} %` : t('upload')}
      <input type="file" class="sr" accept={kind === 'image' ? 'image/*' : kind === 'voice' ? 'audio/*,.amr' : 'video/mp4'} onChange={(e) => {
        const f = e.currentTarget.files?.[0];
        if (f) onPick(f);
        e.currentTarget.value = ''; // the same file may be chosen again
      }} />
    </label>
  );
}
