// The calls of WeChat's API that the explorer knows, beside messages: what each takes.
import type { Key } from '../core/words';

export interface Field { name: string; example: string; required?: boolean; hint?: Key; most?: number; long?: boolean }

/** A call that goes as it is. Where a field stands tells its place: the query, the body,
 * or the body as a whole. */
export interface Raw { method: 'GET' | 'POST'; path: string; query?: Field[]; body?: Field[]; json?: Field; file?: string; admin?: boolean }

const account: Field = { name: 'kf_account', example: 'xiaoman@shanyu', required: true };

export const raws: Record<string, Raw> = {
  media: { method: 'POST', path: '/cgi-bin/media/upload', query: [{ name: 'type', example: 'image', required: true, hint: 'xp.hint.type' }], file: 'image/*,audio/*,.amr,video/mp4' },
  uploadimg: { method: 'POST', path: '/cgi-bin/media/uploadimg', file: 'image/jpeg,image/png' },
  mediaget: { method: 'GET', path: '/cgi-bin/media/get', query: [{ name: 'media_id', example: 'MEDIA_ID', required: true, hint: 'xp.hint.three' }] },
  kflist: { method: 'GET', path: '/cgi-bin/customservice/getkflist' },
  kfonline: { method: 'GET', path: '/cgi-bin/customservice/getonlinekflist' },
  kfadd: { method: 'POST', path: '/customservice/kfaccount/add', body: [account, { name: 'nickname', example: '小满', required: true, hint: 'xp.hint.nickname' }] },
  kfinvite: { method: 'POST', path: '/customservice/kfaccount/inviteworker', body: [account, { name: 'invite_wx', example: 'weixin_id', required: true }] },
  menuget: { method: 'GET', path: '/cgi-bin/menu/get', admin: true },
  menucreate: { method: 'POST', path: '/cgi-bin/menu/create', admin: true, json: { name: 'body', example: '{"button":[{"type":"click","name":"联系客服","key":"HELP"}]}', required: true, long: true, hint: 'xp.hint.menus' } },
  quota: { method: 'POST', path: '/cgi-bin/openapi/quota/get', admin: true, body: [{ name: 'cgi_path', example: '/cgi-bin/message/custom/send', required: true }] },
  rid: { method: 'POST', path: '/cgi-bin/openapi/rid/get', admin: true, body: [{ name: 'rid', example: '61725984-6126f6f9-040f19c4', required: true, hint: 'xp.hint.rid' }] },
};

/** The tree: a group's name, and its calls. any is one that a person names. */
export const groups: [Key, string[]][] = [
  ['xp.group.messages', ['send', 'typing', 'window']],
  ['xp.group.media', ['uploadimg', 'media', 'mediaget']],
  ['xp.group.workers', ['kflist', 'kfonline', 'kfadd', 'kfinvite']],
  ['xp.group.account', ['token', 'menuget', 'menucreate', 'quota', 'rid']],
  ['xp.group.any', ['any']],
];
