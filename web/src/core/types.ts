// The API's shapes, as far as the pages look into them. CONTRACT: gateway package.
import type { Window } from './window';

export type State = 'queued' | 'parked' | 'sending' | 'sent' | 'failed' | 'unknown' | 'expired' | 'canceled';
export type Role = 'agent' | 'lead' | 'admin' | 'viewer';

export interface Outcome { class?: string; errcode?: number; errmsg?: string; rid?: string; reason?: string; advice?: string }
export interface By { kind: string; id?: string; name?: string }

export interface Message {
  id: string; account: string; openid: string; msgtype: string; message: any; state: State; priority: string;
  accepted_at: string; not_before?: string; expires_at: string; retry_at?: string; attempts: number; outcome?: Outcome;
  possible_duplicate: boolean; retry_of?: string; parts?: number; parts_sent?: number; source: string; by?: By; metadata?: any;
  warnings?: { field: string; message: string }[]; window?: Window; on_unknown?: string; when_closed?: string;
}

export interface Attempt { n: number; at: string; took_ms: number; outcome: string; errcode?: number; errmsg?: string; rid?: string; possible_duplicate: boolean; part?: number; allowance?: { trigger: string; left: number; max: number } }

/** What a follower sent or did, as callbacks tell it. */
export interface Push { msgtype: string; event?: string; trigger?: string; push: any }

export interface Line { cursor: string; at: string; type: string; message?: Message; data?: any; asset?: string; thumb_asset?: string }

export interface Note { id: string; at: string; by: string; by_name?: string; text: string }

export interface Conversation {
  account: string; openid: string; last_at: string; last?: { at: string; type: string; data: any; message?: Message }; window: Window;
  remark?: string; unread: number; waiting_since?: string; assigned_to?: string; handler?: string; tags: string[]; parked: number; unknown: number; closed?: boolean;
  notes?: Note[]; first_seen?: string; followed_at?: string; scene?: string;
}

export interface Agent { id: string; display: string; role: Role; online: boolean; name?: string; accounts?: string[]; totp?: boolean; disabled?: boolean }

export interface Session {
  agent: Agent & { settings: Record<string, any> };
  now: number;
  accounts: { appid: string; name?: string; mode: string; state: string; because?: string; profile: string }[];
  agents: Agent[];
}

export interface QuickReply { id: string; scope: 'team' | 'mine'; title: string; text: string; uses?: number }

export interface Page<T> { items: T[]; next: string }
