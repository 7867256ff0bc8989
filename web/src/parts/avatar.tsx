/** A follower's drawn picture: a colour by the openid, a sign of the name. WeChat
 * gives no pictures any more. */
export function Avatar({ id, name, size = '', dim = false }: { id: string; name: string; size?: '' | 'xs' | 'sm' | 'lg'; dim?: boolean }) {
  let h = 0;
  for (const c of id) h = (h * 31 + c.codePointAt(0)!) >>> 0;
  const sign = [...name.replace(/[^\p{L}\p{N}]/gu, '')].at(-1)?.toUpperCase() ?? '·';
  return <span class={`av ${size} c${(h % 8) + 1} ${dim ? 'dim' : ''}`} aria-hidden="true">{sign}</span>;
}

/** A name that can be read for somebody of whom only the openid is known. */
export const shortName = (openid: string) => openid.slice(-4).toUpperCase();

/** "oShanY…kQ2Lw" */
export const shortId = (id: string) => (id.length > 14 ? `${id.slice(0, 7)}…${id.slice(-5)}` : id);
