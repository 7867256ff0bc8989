// What the API answers to a path, for a part of a page.
import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { api, wordsOf } from '../core/api';
import { t } from '../core/words';
import { Icon } from './icon';

export interface Got<T> { now: Signal<T | undefined>; why: Signal<string>; load: () => Promise<void> }

/** What the API answers to a path, asked for anew when that or what else is given changes.
 * Only the answer to what was asked for last counts. */
export function useGot<T>(path: string, when: unknown = ''): Got<T> {
  const now = useSignal<T | undefined>(undefined);
  const why = useSignal('');
  const round = useRef(0);
  async function load() {
    const mine = ++round.current;
    try {
      const got = await api<T>(path);
      if (mine !== round.current) return;
      now.value = got;
      why.value = '';
    } catch (e) {
      if (mine === round.current) why.value = wordsOf(e);
    }
  }
  useLayoutEffect(() => void (now.value = undefined), [path]);
  useEffect(() => void load(), [path, when]);
  return { now, why, load };
}

/** Says that something could not be had. */
export const Missed = ({ of }: { of: Got<unknown> }) =>
  of.why.value ? <p class="advice ref" role="alert"><Icon name="warn" size="s" /><span class="grow">{t('load.failed')}{t('ops.colon')}{of.why.value}</span><button type="button" class="btn sm" onClick={() => void of.load()}>{t('retry')}</button></p> : null;
