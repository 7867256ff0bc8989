// What WeChat pushed: what followers wrote and did, the latest first.
import { query } from '../core/api';
import { conversations, keyOf } from '../core/desk';
import { conversationLink } from '../core/route';
import { t } from '../core/words';
import type { Push } from '../core/types';
import { kindName, sayPush, triggerName } from '../desk/kinds';
import { shortId } from '../parts/avatar';
import { Icon } from '../parts/icon';
import { accountName, AccountPick, Copy, Drawer, Foot, inQuery, Json, OpsFrame, setQuery, useList, When } from './frame';

interface Heard { cursor: string; at: string; account: string; openid?: string /* none: WeChat told of the account */; type: string; data: Push }

export function Callbacks() {
  const account = inQuery('account'), openid = inQuery('openid'), shown = inQuery('c');
  const list = useList<Heard>('/v1/callbacks' + query({ account, openid }));
  const one = list.items.value.find((e) => e.cursor === shown);
  const name = (e: Heard) => (e.openid ? conversations.get(keyOf(e.account, e.openid))?.value.remark || shortId(e.openid) : t('by.wechat'));
  return (
    <OpsFrame title={t('nav.callbacks')} tools={<button type="button" class="btn" onClick={() => void list.load()}><Icon name="refresh" size="s" />{t('ops.refresh')}</button>}>
      <div class="filt" role="group" aria-label={t('ops.filters')}>
        <span class="lbl nomob">{t('ops.callbacks.why')}</span><span class="grow" />
        <AccountPick value={account} onPick={(v) => setQuery({ account: v })} />
        <input class="in fin" type="search" aria-label={t('ops.openid')} placeholder={t('ops.openid')} value={openid} maxLength={128} onChange={(e) => setQuery({ openid: e.currentTarget.value.trim() })} />
      </div>
      <div class="split">
        <div class="tblw" tabIndex={0} role="region" aria-label={t('nav.callbacks')}>
          {list.items.value.length > 0 && (
            <table class="cbt"><thead><tr><th>{t('ops.col.time')}</th><th>{t('ops.col.who')}</th><th>{t('ops.col.type')}</th><th>{t('ops.col.what')}</th><th class="hide-s">{t('ops.col.opens')}</th></tr></thead>
              <tbody>{list.items.value.map((e) => (
                <tr key={e.cursor} class={e.cursor === shown ? 'on' : ''}>
                  <td class="mut"><When at={e.at} /></td><td class="nm2"><span class="el">{name(e)}</span></td><td class="sub">{e.data.event || kindName(e.data.msgtype)}</td>
                  <td class="wide"><button type="button" class="open el" aria-expanded={e.cursor === shown} onClick={() => setQuery({ c: e.cursor === shown ? '' : e.cursor })}>{sayPush(e.data) || e.type}</button></td>
                  <td class="hide-s">{e.data.trigger ? <span class="tagc a">{triggerName(e.data.trigger)}</span> : <span class="mut">–</span>}</td>
                </tr>
              ))}</tbody></table>
          )}
          <Foot list={list} none={t('ops.callbacks.none')} note={t('ops.callbacks.none.why')} />
        </div>
        {one && (
          <Drawer title={sayPush(one.data) || one.type} sub={<p class="lbl"><When at={one.at} exact /> · {accountName(one.account)}</p>} onClose={() => setQuery({ c: '' })}>
            <section><dl class="kv wide2">{one.openid && <><dt>openid</dt><dd class="mono"><a href={conversationLink(one.account, one.openid)}>{one.openid}</a></dd></>}<dt>{t('ops.col.type')}</dt><dd class="mono">{one.type}</dd>
              <dt>{t('ops.col.opens')}</dt><dd>{one.data.trigger ? triggerName(one.data.trigger) : '–'}</dd><dt>cursor</dt><dd class="mono">{one.cursor}</dd></dl></section>
            <section><h3><span>{t('ops.push')}</span><Copy text={JSON.stringify(one.data.push)} /></h3><Json value={one.data.push} label={t('ops.push')} /></section>
          </Drawer>
        )}
      </div>
    </OpsFrame>
  );
}
