// The API explorer: choose a call, fill it in, see it as code, send it, have the
// answer explained. What is sent goes through the gateway and its rules.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { api, idempotencyKey, Problem, query } from '../core/api';
import { conversations, version } from '../core/desk';
import { TEXT_BYTES } from '../core/limits';
import { isAdmin, session } from '../core/session';
import { t, type Key } from '../core/words';
import { Body } from '../desk/bubble';
import { explain, kindName } from '../desk/kinds';
import { size } from '../desk/upload';
import { shortId } from '../parts/avatar';
import { Icon } from '../parts/icon';
import { TokenLines } from './accounts';
import { groups, raws, type Field } from './calls';
import { AccountPick, Copy, inQuery, Json, OpsFrame, setQuery, StateMark } from './frame';

const title: Field = { name: 'title', example: '今年的肉桂焙好了', required: true };
const thumb = (required: boolean): Field => ({ name: 'thumb_media_id', example: 'asset:…', required, hint: 'xp.hint.media' });
/** The members of each kind's body, with what the contract of the gateway says of them. */
const kinds: Record<string, Field[]> = {
  text: [{ name: 'content', example: '您好，包裹今天发出。', required: true, long: true, hint: 'xp.hint.text', most: TEXT_BYTES }],
  image: [{ name: 'media_id', example: 'asset:…', required: true, hint: 'xp.hint.media' }],
  voice: [{ name: 'media_id', example: 'asset:…', required: true, hint: 'xp.hint.voice' }],
  video: [{ name: 'media_id', example: 'asset:…', required: true, hint: 'xp.hint.media' }, thumb(false), { ...title, required: false }, { name: 'description', example: '焙火现场' }],
  music: [title, { name: 'description', example: '茶歌' }, { name: 'musicurl', example: 'https://example.com/song.mp3', required: true }, { name: 'hqmusicurl', example: 'https://example.com/song.flac', required: true }, thumb(true)],
  news: [title, { name: 'description', example: '中足火，岩骨花香都在。' }, { name: 'url', example: 'https://example.com/rougui', required: true }, { name: 'picurl', example: 'https://example.com/tea.jpg', hint: 'xp.hint.picurl' }],
  mpnews: [{ name: 'media_id', example: 'MEDIA_ID', required: true }],
  mpnewsarticle: [{ name: 'article_id', example: 'ARTICLE_ID', required: true }],
  msgmenu: [{ name: 'head_content', example: '这次服务您满意吗？' }, { name: 'list', example: '满意\n不满意', required: true, long: true, hint: 'xp.hint.menu' }, { name: 'tail_content', example: '谢谢' }],
  miniprogrampage: [title, { name: 'appid', example: 'wx0123456789abcdef', required: true }, { name: 'pagepath', example: 'pages/index', required: true }, thumb(true)],
  wxcard: [{ name: 'card_id', example: 'pDemoCard', required: true }],
  link: [title, { name: 'description', example: '' }, { name: 'url', example: 'https://example.com/', required: true }, { name: 'thumb_url', example: 'https://example.com/tea.jpg' }],
};

const wechat: Record<string, string> = { send: 'POST /cgi-bin/message/custom/send', typing: 'POST /cgi-bin/message/custom/typing' };

/** What /v1/accounts/{account}/wechat takes. */
interface RawCall { target?: string; method: string; path: string; query?: Record<string, string>; body?: unknown; asset?: string }

interface Answer { call: string; status: number; took: number; body: any; picture?: string; raw?: boolean; simulated?: boolean }

const anyField: Field = { name: 'body', example: '', long: true, hint: 'xp.hint.json' };

/** The fields of a call, those of a message excepted. */
function fieldsOf(call: string): Field[] {
  if (call === 'any') return [{ name: 'path', example: '/cgi-bin/customservice/getkflist', required: true, hint: 'xp.hint.path' }, { name: 'query', example: '', hint: 'xp.hint.query' }, anyField];
  const r = raws[call];
  return r ? [...(r.query ?? []), ...(r.body ?? []), ...(r.json ? [r.json] : [])] : [];
}

/** The call as it goes, or what is wrong with the form. */
function rawOf(call: string, v: Record<string, string>, method: string, simulated: boolean): RawCall {
  const target = simulated ? { target: 'simulator' } : {};
  const json = (s: string | undefined) => (s?.trim() ? JSON.parse(s) : undefined);
  if (call === 'any') {
    const q = Object.fromEntries(new URLSearchParams(v['query'] ?? ''));
    return { ...target, method, path: v['path'] ?? '', ...(Object.keys(q).length ? { query: q } : {}), body: method === 'GET' ? undefined : json(v['body']) };
  }
  const r = raws[call]!;
  const of = (fields: Field[]) => Object.fromEntries(fields.filter((f) => v[f.name]).map((f) => [f.name, v[f.name]!]));
  return { ...target, method: r.method, path: r.path, ...(r.query ? { query: of(r.query) } : {}), body: r.body ? of(r.body) : r.json ? json(v[r.json.name]) : undefined };
}

/** The same as curl to WeChat itself, through the gateway, and in Go. */
function rawCodes(r: RawCall, account: string, file: string): Record<string, string> {
  const upload = r.path.startsWith('/cgi-bin/media/upload');
  const q = new URLSearchParams(r.query ?? {}).toString();
  const sent = upload ? { ...r, asset: '$ASSET' } : r;
  const key = `-H "Authorization: Bearer $KEFU_KEY"`;
  const body = JSON.stringify(sent, null, 1);
  return {
    curl: (upload ? `ASSET=$(curl -sS "$KEFU_URL/v1/assets?account=${encodeURIComponent(account)}" \\\n  ${key} \\\n  -F ${shell(`file=@${file || 'tea.jpg'}`)} | jq -r .id)\n` : '')
      + `curl -sS "$KEFU_URL/v1/accounts/${encodeURIComponent(account)}/wechat" \\\n  ${key} \\\n  -H 'Content-Type: application/json' \\\n  -d ${shell(body).replace('"$ASSET"', `"'"$ASSET"'"`)}`,
    WeChat: `# ${t('xp.token.hidden')}\ncurl -sS "https://api.weixin.qq.com${r.path}?access_token=$TOKEN${q && `&${q}`}"` + (upload ? ` \\\n  -F ${shell(`media=@${file || 'tea.jpg'}`)}` : r.body !== undefined ? ` \\\n  -d ${shell(JSON.stringify(r.body, null, 1))}` : ''),
    Go: `c := gateway.Client{BaseURL: os.Getenv("KEFU_URL"), Key: kefu.Secret(os.Getenv("KEFU_KEY"))}\n` + (upload ? `file, err := c.AddAsset(ctx, ${JSON.stringify(account)}, f)\n` : '')
      + `a, err := c.CallWeChat(ctx, ${JSON.stringify(account)}, gateway.RawCall{\n` + [
        r.target && `Target: gateway.ToSimulator`, `Method: ${JSON.stringify(r.method)}`, `Path: ${JSON.stringify(r.path)}`,
        q && `Query: map[string]string{${Object.entries(r.query!).map(([k, v]) => `${JSON.stringify(k)}: ${JSON.stringify(v)}`).join(', ')}}`,
        r.body !== undefined && `Body: json.RawMessage(${goText(JSON.stringify(r.body))})`, upload && 'Asset: file.ID'].filter(Boolean).map((l) => `\t${l},\n`).join('') + '})',
  };
}

/** The body of a message from the form's values. */
function messageOf(kind: string, touser: string, v: Record<string, string>): any {
  const body: Record<string, unknown> = {};
  for (const f of kinds[kind]!) if (v[f.name]) body[f.name] = v[f.name];
  if (kind === 'msgmenu') body['list'] = (v['list'] ?? '').split('\n').filter(Boolean).map((content, i) => ({ id: String(i + 1), content }));
  return { touser, msgtype: kind, [kind]: kind === 'news' ? { articles: [body] } : body };
}

const shell = (s: string) => `'${s.replaceAll("'", `'\\''`)}'`;
const goText = (s: string) => (s.includes('`') ? JSON.stringify(s) : `\`${s}\``);

function codeOf(call: string, account: string, touser: string, message: any, on: boolean): Record<string, string> {
  const at = `"$KEFU_URL/v1/conversations/${encodeURIComponent(account)}/${encodeURIComponent(touser)}`;
  const key = `-H "Authorization: Bearer $KEFU_KEY"`;
  const json = `-H 'Content-Type: application/json'`;
  const token = 'access_token=$TOKEN';
  const go = (body: string) => `c := gateway.Client{BaseURL: os.Getenv("KEFU_URL"), Key: kefu.Secret(os.Getenv("KEFU_KEY"))}\n${body}`;
  switch (call) {
    case 'send': return {
      curl: `curl -sS "$KEFU_URL/v1/messages?wait=10s" \\\n  ${key} \\\n  ${json} \\\n  -d ${shell(JSON.stringify({ account, message }, null, 1))}`,
      WeChat: `# ${t('xp.token.hidden')}\ncurl -sS "https://api.weixin.qq.com/cgi-bin/message/custom/send?${token}" \\\n  -d ${shell(JSON.stringify(message, null, 1))}`,
      Go: go(`m, err := c.Send(ctx, gateway.Request{\n\tAccount: ${JSON.stringify(account)},\n\tMessage: json.RawMessage(${goText(JSON.stringify(message))}),\n}, gateway.SendOptions{Wait: 10 * time.Second})`),
    };
    case 'typing': return {
      curl: `curl -sS ${at}/typing" \\\n  ${key} \\\n  ${json} \\\n  -d '{"on":${on}}'`,
      WeChat: `# ${t('xp.token.hidden')}\ncurl -sS "https://api.weixin.qq.com/cgi-bin/message/custom/typing?${token}" \\\n  -d ${shell(JSON.stringify({ touser, command: on ? 'Typing' : 'CancelTyping' }))}`,
      Go: go(`err := c.Typing(ctx, ${JSON.stringify(account)}, ${JSON.stringify(touser)}, ${on})`),
    };
    case 'window': return { curl: `curl -sS ${at}/window" \\\n  ${key}`, Go: go(`w, err := c.Window(ctx, ${JSON.stringify(account)}, ${JSON.stringify(touser)})`) };
    default: return { curl: `curl -sS "$KEFU_URL/v1/accounts/${encodeURIComponent(account)}/token" \\\n  ${key}`, Go: go(`s, err := c.Token(ctx, ${JSON.stringify(account)})`) };
  }
}

export function Explorer() {
  version.value;
  const may = (c: string) => isAdmin.value || !(raws[c]?.admin ?? c === 'any');
  const asked = inQuery('call');
  const call = groups.some(([, of]) => of.includes(asked)) && may(asked) ? asked : 'send';
  const raw = call in raws || call === 'any';
  const own = call === 'window' || call === 'token'; // the gateway answers itself
  const simulated = inQuery('to') === 'simulator' && !own;
  const kind = Object.hasOwn(kinds, inQuery('kind')) ? inQuery('kind') : 'text';
  const accounts = session.value!.accounts;
  const account = useSignal(accounts[0]?.appid ?? '');
  const touser = useSignal('');
  const values = useSignal<Record<string, string>>({});
  const on = useSignal(true);
  const method = useSignal<'GET' | 'POST'>('GET');
  const file = useSignal<File | null>(null);
  const lang = useSignal('curl');
  const busy = useSignal(false);
  const answer = useSignal<Answer | null>(null);
  const trouble = useSignal('');
  const round = useRef(0); // what was asked for before the latest is answered to nobody
  const picked = call + kind;
  useLayoutEffect(() => {
    round.current++;
    answer.value = null;
    trouble.value = '';
    busy.value = false;
  }, [picked, simulated, account.value]);
  useLayoutEffect(() => { // before anybody can press the button of an empty form
    values.value = Object.fromEntries((call === 'send' ? kinds[kind]! : fieldsOf(call)).filter((f) => f.required && !/^(asset:|MEDIA_ID)/.test(f.example)).map((f) => [f.name, f.example]));
    file.value = null;
  }, [picked]);
  const followers = [...conversations.values()].map((s) => s.peek()).filter((c) => c.account === account.value).sort((a, b) => (a.last_at < b.last_at ? 1 : -1)).slice(0, 50);
  useEffect(() => {
    if (!touser.value && followers.length) touser.value = followers[0]!.openid;
  }, [followers.length, account.value]);
  const message = messageOf(kind, touser.value, values.value);
  let going: RawCall | null = null;
  let broken = '';
  try {
    going = raw ? rawOf(call, values.value, method.value, simulated)
      : simulated ? { target: 'simulator', method: 'POST', path: wechat[call]!.slice(5), body: call === 'send' ? message : { touser: touser.value, command: on.value ? 'Typing' : 'CancelTyping' } } : null;
  } catch (e) {
    broken = t('xp.json.bad', { why: e instanceof Error ? e.message : '' });
  }
  const codes = going ? rawCodes(going, account.value, file.value?.name ?? '') : broken ? { curl: broken } : codeOf(call, account.value, touser.value, message, on.value);
  const tab = codes[lang.value] === undefined ? 'curl' : lang.value;

  async function run(e?: Event) {
    e?.preventDefault();
    if (busy.value) return;
    trouble.value = broken;
    if (broken) return;
    busy.value = true;
    answer.value = null;
    const mine = ++round.current;
    const began = performance.now();
    const take = (a: Answer) => void (mine === round.current && (answer.value = a));
    const done = (status: number, body: any) => take({ call, status, body, took: Math.round(performance.now() - began) });
    const at = `/v1/conversations/${encodeURIComponent(account.value)}/${encodeURIComponent(touser.value)}`;
    try {
      if (going) {
        let picture: string | undefined;
        if (raws[call]?.file) {
          if (!file.value) return void (trouble.value = t('xp.file.none'));
          const q = query({ account: account.value });
          const a = await api<any>(`/v1/assets${q}`, { raw: file.value, headers: { 'Content-Type': 'application/octet-stream' } });
          going.asset = a.id;
          if (['jpg', 'png', 'gif'].includes(a.format)) picture = `/v1/assets/${encodeURIComponent(a.id)}${q}`;
        }
        const a = await api<any>(`/v1/accounts/${encodeURIComponent(account.value)}/wechat`, { body: going });
        if (!picture && a.data && /^image\/(jpeg|png|gif|bmp|webp)/.test(a.content_type)) picture = URL.createObjectURL(new Blob([Uint8Array.from(atob(a.data), (c) => c.charCodeAt(0))], { type: a.content_type.split(';')[0] }));
        take({ call, status: a.status, body: a, picture: a.errcode ? undefined : picture, took: a.took_ms, raw: true, simulated: !!going.target });
        return;
      }
      switch (call) {
        case 'send':
          done(200, await api('/v1/messages?wait=10s', { body: { account: account.value, message }, headers: { 'Idempotency-Key': idempotencyKey(), 'Kefu-Source': 'console' } }));
          break;
        case 'typing':
          await api(`${at}/typing`, { body: { on: on.value } });
          done(204, null);
          break;
        case 'window': done(200, await api(`${at}/window`)); break;
        case 'token': done(200, await api(`/v1/accounts/${encodeURIComponent(account.value)}/token`)); break;
      }
    } catch (err) {
      if (err instanceof Problem) done(err.status, err.body);
      else if (mine === round.current) trouble.value = err instanceof Error ? err.message : String(err);
    } finally {
      if (mine === round.current) busy.value = false;
    }
  }
  /** A file tells its kind; a person may say otherwise. */
  function pickFile(f: File | null) {
    file.value = f;
    if (call === 'media' && f) values.value = { ...values.value, type: f.type.startsWith('video/') ? 'video' : f.type.startsWith('audio/') || /\.amr$/i.test(f.name) ? 'voice' : 'image' };
  }
  const withFollower = call === 'send' || call === 'typing' || call === 'window';
  return (
    <OpsFrame title={t('nav.explorer')} tools={<><span class="seg" role="group" aria-label={t('xp.target')}>{['', 'simulator'].map((to) => <button key={to} type="button" aria-pressed={(to === 'simulator') === simulated} aria-disabled={own} onClick={() => !own && setQuery({ to })}>{t(to ? 'xp.to.simulator' : 'xp.to.wechat')}</button>)}</span><AccountPick all={false} value={account.value} onPick={(v) => ((account.value = v), (touser.value = ''))} /></>}>
      <div class="xp">
        <nav class="tree" aria-label={t('xp.calls')}>{groups.map(([g, of]) => of.some(may) && <div key={g} class="tgrp"><h2>{t(g)}</h2>{of.filter(may).map((c) => <a key={c} href={`/console/explorer${query({ call: c, to: inQuery('to') })}`} aria-current={c === call ? 'true' : undefined}>{t(`xp.call.${c}` as Key)}</a>)}</div>)}</nav>
        <form class="form" onSubmit={(e) => void run(e)} onKeyDown={(e) => e.key === 'Enter' && (e.ctrlKey || e.metaKey) && void run(e)}>
          <div><h2>{t(`xp.call.${call}` as Key)}</h2><p class="mono mut">{call === 'any' ? t('xp.any.why') : raws[call] ? `${raws[call]!.method} ${raws[call]!.path}` : wechat[call] || t('xp.own')}</p></div>
          {call === 'send' && <div class="types" role="group" aria-label={t('kinds.label')}>{Object.keys(kinds).map((k) => <button key={k} type="button" aria-pressed={k === kind} onClick={() => setQuery({ call: 'send', kind: k })}>{kindName(k)}</button>)}</div>}
          {withFollower && (
            <div class="f"><label for="x-touser"><code>touser</code><span class="req" aria-hidden="true"> *</span></label>
              <span class="in"><input id="x-touser" list="x-followers" required maxLength={128} class="mono" value={touser.value} onInput={(e) => (touser.value = e.currentTarget.value.trim())} /></span>
              <datalist id="x-followers">{followers.map((c) => <option key={c.openid} value={c.openid}>{c.remark || shortId(c.openid)}</option>)}</datalist>
            </div>
          )}
          {call === 'any' && <div class="f"><span class="l"><code>method</code></span><span class="seg">{(['GET', 'POST'] as const).map((m) => <button key={m} type="button" aria-pressed={method.value === m} onClick={() => (method.value = m)}>{m}</button>)}</span></div>}
          {raw && !fieldsOf(call).length && !raws[call]?.file && <p class="sub">{t('xp.nothing')}</p>}
          {(call === 'send' ? kinds[kind]! : fieldsOf(call)).map((f) => {
            const v = values.value[f.name] ?? '';
            const set = (e: { currentTarget: { value: string } }) => (values.value = { ...values.value, [f.name]: e.currentTarget.value });
            return (
              <div class="f" key={call + kind + f.name}><label for={`x-${f.name}`}><code>{f.name}</code>{f.required && <span class="req" aria-hidden="true"> *</span>}</label>
                {f.name === 'type' && call === 'media' ? <span class="seg">{['image', 'voice', 'video', 'thumb'].map((k) => <button key={k} type="button" aria-pressed={v === k} onClick={() => set({ currentTarget: { value: k } })}>{k}</button>)}</span>
                  : f.long ? <span class="in area"><textarea id={`x-${f.name}`} rows={3} required={f.required} placeholder={f.example} value={v} onInput={set} aria-describedby={f.hint && `h-${f.name}`} /></span>
                  : <span class="in"><input id={`x-${f.name}`} required={f.required} placeholder={f.example} value={v} onInput={set} aria-describedby={f.hint && `h-${f.name}`} /></span>}
                {(f.hint || f.most) && <p class="hint" id={`h-${f.name}`}><span>{f.hint && t(f.hint)}</span>{f.most && <span class={`num ${new Blob([v]).size > f.most ? 'ch' : ''}`}>{t('xp.bytes', { n: new Blob([v]).size, of: f.most })}</span>}</p>}
              </div>
            );
          })}
          {call === 'typing' && <div class="f"><span class="l"><code>command</code></span><span class="seg"><button type="button" aria-pressed={on.value} onClick={() => (on.value = true)}>Typing</button><button type="button" aria-pressed={!on.value} onClick={() => (on.value = false)}>CancelTyping</button></span></div>}
          {raws[call]?.file && (
            <div class="f" key={call}><label for="x-file"><code>media</code><span class="req" aria-hidden="true"> *</span></label>
              <span class="in file"><input id="x-file" type="file" required accept={raws[call]!.file} onChange={(e) => pickFile(e.currentTarget.files?.[0] ?? null)} aria-describedby="h-file" /></span>
              <p class="hint" id="h-file"><span>{t(call === 'uploadimg' ? 'xp.hint.uploadimg' : 'xp.hint.upload')}</span>{file.value && <span class="num">{size(file.value.size)}</span>}</p></div>
          )}
          {call === 'token' && <p class="sub">{t('xp.token.why')}</p>}
          {call === 'send' && <div class="f"><span class="l">{t('preview')}</span><div class="kp"><Body m={message} account={account.value} /></div></div>}
          <div class="sendbar"><span class="lbl nomob">{t(simulated ? 'xp.through.simulator' : raw ? 'xp.through.token' : 'xp.through')}</span><span class="grow" /><span class="nomob keys2"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span><button class="btn pri lg" type="submit" aria-disabled={busy.value}><Icon name="send" size="s" />{t(busy.value ? 'state.sending' : simulated ? 'xp.try' : call === 'send' || call === 'typing' ? 'xp.send' : raws[call]?.file ? 'upload' : 'xp.ask')}</button></div>
        </form>
        <div class="out2">
          <section class="sec"><div class="row"><span class="seg" role="group" aria-label={t('xp.as')}>{Object.keys(codes).map((l) => <button key={l} type="button" aria-pressed={tab === l} onClick={() => (lang.value = l)}>{l === 'WeChat' ? t('xp.wechat') : l}</button>)}</span><span class="grow" /><Copy text={codes[tab]!} /></div>
            <pre class="wrap" tabIndex={0} role="group" aria-label={tab}>{codes[tab]}</pre></section>
          <section class="sec" aria-live="polite"><h2><span>{t('xp.answer')}</span>{answer.value && <span class="num mut">HTTP {answer.value.status} · {answer.value.took || '<1'} ms</span>}</h2>
            {trouble.value && <p class="advice ref" role="alert"><Icon name="cross" size="s" /><span>{trouble.value}</span></p>}
            {!answer.value && !trouble.value && <p class="mut">{t(busy.value ? 'state.sending' : 'xp.answer.none')}</p>}
            {answer.value && <Explained a={answer.value} />}
          </section>
        </div>
      </div>
    </OpsFrame>
  );
}

/** What a raw call was answered, in words, and what one goes on with: ids and addresses. */
function RawExplained({ a }: { a: Answer }) {
  const b = a.body;
  const said = b.body ?? {};
  const keep = ['media_id', 'thumb_media_id', 'url', 'video_url'].filter((k) => typeof said[k] === 'string' && said[k]);
  return (
    <>
      {b.errcode ? <div class="advice ref"><Icon name="cross" size="s" /><div><b class="num">{b.errcode}{b.meaning && ` · ${b.meaning}`}</b><p>{b.advice || said.errmsg}</p></div></div>
        : a.status >= 400 ? <p class="advice ref"><Icon name="cross" size="s" /><span>HTTP {a.status}</span></p>
          : <p class="advice ok"><Icon name="check" size="s" /><span>{t(a.simulated ? 'xp.raw.ok.simulator' : 'xp.raw.ok')}</span></p>}
      {a.picture && <p class="shown"><img src={a.picture} alt={t('kind.image')} /></p>}
      {keep.map((k) => <p key={k} class="row wrapr"><code class="mut">{k}</code><code class="mono">{said[k]}</code><Copy text={said[k]} /></p>)}
      {b.cut ? <p class="mut">{t('xp.cut')}</p> : b.body !== undefined ? <Json value={b.body} label={t('xp.answer')} /> : !a.picture && <p class="mut">{t('xp.bytes.other', { type: b.content_type || '?', s: size(Math.floor((b.data?.length ?? 0) * 0.75)) })}</p>}
    </>
  );
}

function Explained({ a }: { a: Answer }) {
  if (a.raw) return <RawExplained a={a} />;
  const { call, body: b } = a;
  const problem = a.status >= 400;
  const code: number | undefined = b?.outcome?.errcode ?? b?.errcode;
  const detail = problem ? [b?.detail, ...(b?.errors ?? []).map((f: any) => [f.field ?? f.location, f.message].filter(Boolean).join(' · '))].filter(Boolean) : [];
  return (
    <>
      {problem && <div class="advice ref"><Icon name="cross" size="s" /><div><b>{b?.title ?? `HTTP ${a.status}`}{code ? ` ${code}` : ''}</b>{detail.map((d: string) => <p key={d}>{d}</p>)}{(explain(code) ? [explain(code)] : [b?.help, b?.advice].filter(Boolean)).map((s: string) => <p key={s}>{s}</p>)}</div></div>}
      {!problem && call === 'send' && <div class={`advice ${b.state === 'sent' ? 'ok' : b.state === 'failed' ? 'ref' : 'unk'}`}><Icon name={b.state === 'sent' ? 'check' : 'info'} size="s" /><div><b><StateMark state={b.state} />{code ? ` ${code}` : ''}</b><p>{explain(code) || b.outcome?.advice || (b.state === 'parked' && t('plan.park')) || b.outcome?.errmsg}</p><p class="row"><a href={`/console/messages?m=${encodeURIComponent(b.id)}`}>{t('xp.message')}</a></p></div></div>}
      {!problem && call === 'typing' && <p class="advice ok"><Icon name="check" size="s" /><span>{t('xp.typing.ok')}</span></p>}
      {!problem && call === 'token' && <TokenLines token={b} />}
      {b && <Json value={b} label={t('xp.answer')} />}
    </>
  );
}
