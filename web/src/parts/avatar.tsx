import { t } from '../core/words';

/** The sign of a name: "林小鱼（老客）" is 鱼, "Grace Chen" is G. */
export function signOf(name: string): string {
  const signs = [...name.replace(/[（(【[].*$/, '').replace(/[^\p{L}\p{N}]/gu, '')];
  return (/\p{Script=Han}/u.test(signs[0] ?? '') ? signs.at(-1)! : signs[0])?.toUpperCase() ?? '·';
}

/** Somebody's drawn picture: a colour by the id, a sign of the name, of a follower
 * without one the sign by which shortName begins. WeChat gives no pictures any more. */
export function Avatar({ id, name, size = '', dim = false }: { id: string; name?: string; size?: '' | 'xs' | 'sm' | 'lg'; dim?: boolean }) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.codePointAt(0)!) >>> 0;
  const sign = signOf(name || id.slice(-4));
  return <span class={`av ${size} c${(h % 8) + 1} ${dim ? 'dim' : ''}`} aria-hidden="true">{sign}</span>;
}

/** A name that can be read for somebody of whom only the openid is known: its end, as
 * it is written, by which the follower is found again. One that is shorter than WeChat's
 * 28 signs, as the simulator has them, can be read itself. */
export const shortName = (openid: string) => (openid.length < 20 ? openid : t('name.short', { end: openid.slice(-4) }));

/** "oShanY…kQ2Lw" */
export const shortId = (id: string) => (id.length > 14 ? `${id.slice(0, 7)}…${id.slice(-5)}` : id);
