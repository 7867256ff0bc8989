import { MEDIA_BYTES } from '../core/limits';
import { t } from '../core/words';
import { Icon } from '../parts/icon';
import { toast } from '../parts/overlay';

export type MediaKind = keyof typeof MEDIA_BYTES;

/** A file on its way to the gateway. end: nothing more is heard of it, and its picture is let go. */
export interface Upload { file: File; kind: MediaKind; url: string; progress: number; asset?: string; error?: string; end: () => void }

export const size = (n: number) => (n >= 1 << 20 ? `${(n / (1 << 20)).toFixed(1)} MB` : `${Math.max(1, Math.round(n / 1024))} KB`);

function kindOf(f: File): MediaKind | undefined {
  if (f.type.startsWith('image/')) return 'image';
  if (f.type.startsWith('video/')) return 'video';
  if (f.type.startsWith('audio/') || /\.(amr|mp3)$/i.test(f.name)) return 'voice';
  return undefined;
}

/** Uploads a file to the gateway; show is called at once, and as it goes on. A file that
 * WeChat would not take is refused in words; the gateway checks again, by content. */
export function startUpload(file: File, account: string, show: (u: Upload) => void) {
  const kind = kindOf(file), max = kind && MEDIA_BYTES[kind];
  if (!max) return toast('bad', t('upload.kind', { name: file.name }));
  if (file.size > max) return toast('bad', t('upload.size', { name: file.name, s: size(file.size), max: size(max) }));
  const x = new XMLHttpRequest(); // fetch tells nothing of its progress
  let ended = false;
  const end = () => {
    ended = true;
    x.abort();
    if (up.url) URL.revokeObjectURL(up.url);
  };
  const up: Upload = { file, kind, url: kind === 'image' ? URL.createObjectURL(file) : '', progress: 0, end };
  const set = (change: Partial<Upload>) => {
    Object.assign(up, change);
    if (!ended) show({ ...up });
  };
  x.upload.onprogress = (e) => e.lengthComputable && set({ progress: e.loaded / e.total });
  x.onload = () => {
    let answer: any = {};
    try {
      answer = JSON.parse(x.responseText || '{}');
    } catch {
      // a proxy's page: its status tells
    }
    if (x.status < 300 && answer.id) set({ progress: 1, asset: answer.id });
    else set({ error: answer.errors?.[0]?.message ?? answer.detail ?? answer.title ?? `HTTP ${x.status}` });
  };
  x.onerror = () => set({ error: t('send.unreachable') });
  x.open('POST', `/v1/assets?account=${encodeURIComponent(account)}`);
  x.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
  x.send(file);
  set({});
}

/** The file that is to be sent; more: how many come after it. */
export function MediaTile({ up, more, onDrop, onSend, label, busy }: { up: Upload; more: number; onDrop: () => void; onSend: () => void; label: string; busy: boolean }) {
  return (
    <div class="up">
      {up.kind === 'image' ? <img class="th1" src={up.url} alt="" /> : <span class="th1 none"><Icon name={up.kind === 'voice' ? 'mic' : 'video'} /></span>}
      <div><b class="el">{up.file.name}</b><p>{size(up.file.size)}{more > 0 && ` · ${t('upload.more', { n: more })}`}{up.error && <span class="ch" role="alert"> · {up.error}</span>}</p>
        {!up.error && <progress class="bar2" max={1} value={up.progress} aria-label={t('upload.progress')} />}</div>
      <span class="row">
        {up.asset && <button type="button" class="btn sm pri" aria-disabled={busy} onClick={onSend}><Icon name="send" size="xs" />{label}</button>}
        <button type="button" class="ib sm" aria-label={t('upload.drop')} onClick={onDrop}><Icon name="close" size="s" /></button>
      </span>
    </div>
  );
}
