// The simulator's phone page. All it shows comes from the control plane (/_sim/…)
// and is foreign: it only ever becomes text, a fixed set of attributes, and
// addresses that webLink or mediaLink let through. Data flows one way: load()
// fetches into sim, draw() shows sim, what a person does goes out by act() and
// comes back as an event.

// ---------- words: every string of the page, [中文, English] ----------

const words = {
  title: ["模拟微信", "Simulated WeChat"],
  not_real: ["不是真的微信，数据只在本机", "Not the real WeChat; data stays here"],
  account: ["公众号", "Account"],
  other_lang: ["English", "中文"],
  cut: ["与模拟器的连接断了，正在重连。", "The connection to the simulator is cut; reconnecting."],
  failed: ["没有成功：{why}", "That failed: {why}"],

  followers: ["粉丝", "Followers"],
  new_follower: ["新粉丝", "New follower"],
  no_followers: ["还没有粉丝。点上面的按钮造一位，关注事件会推给公众号。", "No followers yet. The button above makes one; the account gets the follow event."],
  not_following: ["未关注", "Not following"],
  closed: ["窗口已关闭", "Window closed"],

  windows: ["窗口与额度", "Windows"],
  no_window: ["没有窗口：公众号现在不能主动发消息。等这位粉丝发消息、点菜单、扫码或关注。", "No window: the account can't write now. It opens when this follower writes, taps a menu, scans or follows."],
  user_message: ["发了消息", "Wrote a message"],
  menu: ["点了菜单", "Tapped a menu"],
  follow: ["关注", "Followed"],
  scan: ["扫了码", "Scanned"],
  payment: ["支付成功", "Paid"],
  rights: ["维权", "Consumer rights"],
  of: ["剩 {n}/{max}", "{n}/{max} left"],
  beside: ["另有 {n}", "{n} more beside"],
  unlimited: ["不限条数", "No limit"],
  closes: ["{at} 关闭", "closes {at}"],
  hours: ["{h} 时 {m} 分", "{h} h {m} m"],
  days: ["{d} 天 {h} 时", "{d} d {h} h"],
  profile: ["规则 {name}", "Rules {name}"],

  acts: ["以这位粉丝的身份", "As this follower"],
  do_follow: ["关注", "Follow"],
  do_unfollow: ["取消关注", "Unfollow"],
  do_scan: ["扫码", "Scan"],
  do_menu: ["点菜单", "Tap menu"],
  do_pay: ["支付成功", "Pay"],
  do_rights: ["维权", "Rights"],
  do_scan_menu: ["菜单扫码", "Menu scan"],
  with: ["场景值或菜单 key（可空）", "Scene or menu key (optional)"],
  waiting: ["已推给公众号，等它应答…", "Pushed to the account, waiting for its answer…"],
  no_callback: ["没有设回调地址，事件没有推给谁", "No callback URL is set; the event went nowhere"],
  callback_set: ["回调 · {mode}", "Callback · {mode}"],
  callback_unset: ["没有设回调", "No callback"],
  plain: ["明文", "plain"],
  compat: ["兼容", "compat"],
  secure: ["加密", "secure"],
  callback_was: ["回调 {status} · {took}", "Callback {status} · {took}"],
  callback_none: ["回调没有应答，推了 {n} 次", "Callback unanswered, {n} tries"],

  phone: ["手机", "Phone"],
  log: ["手机上的消息", "Messages on the phone"],
  typing: ["对方正在输入…", "Typing…"],
  write: ["以粉丝身份写消息", "Write as the follower"],
  write_hint: ["说点什么", "Say something"],
  send: ["发送", "Send"],
  more: ["图片、语音等", "Picture, voice and more"],
  account_menu: ["公众号菜单", "Account menu"],
  keyboard: ["切换到键盘", "Switch to the keyboard"],
  follow_account: ["关注公众号", "Follow the account"],
  picture: ["图片", "Picture"],
  voice: ["语音", "Voice"],
  video: ["视频", "Video"],
  place: ["位置", "Location"],
  link: ["链接", "Link"],
  cancel: ["取消", "Cancel"],
  choose_file: ["选择文件", "Choose a file"],
  other_file: ["换一个", "Another one"],
  drop_hint: ["也可以粘贴或拖进来", "or paste it, or drop it here"],
  sample: ["发一个示例", "Send a sample"],
  no_file: ["先选一个文件", "Choose a file first"],
  takes_image: ["JPG、PNG、GIF 或 BMP，最大 10 MB", "JPG, PNG, GIF or BMP, up to 10 MB"],
  takes_voice: ["AMR 或 MP3，最长 60 秒、2 MB", "AMR or MP3, up to 60 s and 2 MB"],
  takes_video: ["MP4，最大 10 MB", "MP4, up to 10 MB"],
  sending: ["发送中…", "Sending…"],
  place_label: ["地点", "Place"],
  place_default: ["广州市海珠区新港中路397号", "397 Xingang Middle Road, Guangzhou"],
  latitude: ["纬度", "Latitude"],
  longitude: ["经度", "Longitude"],
  link_title: ["标题", "Title"],
  link_text: ["说明", "Text"],
  link_url: ["地址", "Address"],
  link_default: ["三分钟看懂白毫银针", "White tea in three minutes"],
  code_says: ["码的内容", "What the code says"],
  scan_now: ["扫码", "Scan"],
  opens_other: ["微信会打开“{type}”；模拟器里没有", "WeChat opens its {type} here; the simulator has none"],
  nothing_yet: ["还没有消息", "No messages yet"],
  nothing_hint: ["写一句、点菜单或扫码，就打开了窗口。", "Write, tap the menu or scan, and a window opens."],
  choose: ["先在粉丝里选一位", "Choose a follower first"],
  earlier: ["更早的 {n} 条没有显示", "{n} earlier ones are not shown"],

  said_by_ai: ["内容由第三方 AI 生成", "Made by third-party AI"],
  passive: ["被动回复", "passive reply"],
  music: ["音乐", "Music"],
  article: ["图文", "Article"],
  mini: ["小程序", "Mini program"],
  card: ["卡券", "Card"],
  take_card: ["点击领取", "Tap to take it"],
  opens_card: ["会在微信里打开卡券“{card}”的领取页", "WeChat opens the page of the card “{card}” here"],
  opens_mini: ["会打开小程序 {appid} 的 {path}", "Opens {path} of mini program {appid}"],
  lost: ["没有这个素材的内容", "No bytes for this media"],
  cant_play: ["浏览器不能播放", "The browser can't play this"],
  cant_play_amr: ["浏览器不能播放这种语音（AMR）", "The browser can't play this voice (AMR)"],
  play: ["播放", "Play"],
  unknown_kind: ["不认识的类型", "Unknown kind"],
  a_picture: ["一张图片", "A picture"],
  no_title: ["（没有标题）", "(no title)"],

  ev_subscribe: ["已关注公众号", "Followed the account"],
  ev_subscribe_scene: ["扫码关注 · 场景 {key}", "Followed by a code · scene {key}"],
  ev_unsubscribe: ["已取消关注", "Unfollowed"],
  ev_SCAN: ["扫了二维码 · 场景 {key}", "Scanned a code · scene {key}"],
  ev_CLICK: ["点了菜单 · {key}", "Tapped the menu · {key}"],
  ev_VIEW: ["点了菜单链接 · {key}", "Opened a menu link · {key}"],
  ev_scancode: ["菜单扫码 · {key} · {result}", "Scanned from the menu · {key} · {result}"],
  ev_pay: ["支付成功（微信不推送）", "Paid (WeChat pushes nothing)"],
  ev_rights: ["发起维权（微信不推送）", "Claimed rights (WeChat pushes nothing)"],
  ev_transfer: ["转给微信客服", "Handed to WeChat's own desk"],
  ev_transfer_to: ["转给客服 {kf}", "Handed to {kf}"],
  ev_other: ["事件 {kind}", "Event {kind}"],
  fault_line: ["该公众号提供的服务出现故障，请稍后再试", "The service of this account is faulty, please try again later"],

  clock: ["时钟", "Clock"],
  ahead: ["快 {t}", "{t} ahead"],
  behind: ["慢 {t}", "{t} behind"],
  plus_1m: ["+1 分", "+1 min"],
  plus_1h: ["+1 时", "+1 h"],
  plus_48h: ["+48 时", "+48 h"],
  plus_3d: ["+3 天", "+3 d"],
  to_end: ["拨到窗口关闭前 10 秒", "Go to 10 s before the window closes"],

  faults: ["故障", "Faults"],
  no_faults: ["没有故障，照常应答。", "None; every call is answered as usual."],
  clear_faults: ["全部清除", "Clear all"],
  clear_fault: ["清除这条", "Clear this one"],
  add: ["加", "Add"],
  fault_what: ["故障", "Fault"],
  fault_when: ["何时", "When"],
  f_45015: ["45015 窗口已关闭", "45015 window closed"],
  f_45047: ["45047 条数用完", "45047 allowance spent"],
  f_busy: ["−1 系统繁忙", "−1 busy"],
  f_40001: ["40001 凭据失效", "40001 dead token"],
  f_after: ["收下但不答复", "Accept, lose the answer"],
  f_before: ["不收也不答复", "Drop it, no answer"],
  f_delay: ["慢 6 秒", "6 s late"],
  w_next: ["下一次发送", "Next send"],
  w_to: ["下一次发给这位", "Next to this one"],
  w_every: ["每 3 次", "Every 3rd"],
  w_always: ["每次", "Every send"],
  says_next: ["下 {n} 次", "Next {n}×"],
  says_every: ["每 {n} 次", "Every {n}"],
  says_chance: ["{n}% 概率", "{n}% of calls"],
  says_always: ["每次", "Every call"],
  hit: ["已触发 {n} 次", "hit {n} times"],
  any_call: ["全部接口", "all calls"],

  requests: ["请求", "Requests"],
  no_requests: ["还没有请求。把 SDK 或网关的地址指到这里就会出现。", "No requests yet. Point an SDK or gateway here."],
  filter: ["筛选请求", "Filter requests"],
  all: ["全部", "All"],
  sends: ["发送", "Sends"],
  refused: ["出错", "Errors"],
  col_time: ["时间", "Time"],
  col_call: ["接口", "Call"],
  col_to: ["给谁", "To"],
  col_result: ["结果", "Result"],
  col_took: ["用时", "Took"],
  ms: ["{n} 毫秒", "{n} ms"],
  lost_answer: ["收下未答", "No answer"],
  details: ["看请求", "Show the request"],
  answer: ["应答", "Answer"],
  replay: ["重放", "Replay"],
  edit: ["改了再发", "Edit and send"],
  body: ["请求体", "Body"],
  replayed: ["已重放：{result}", "Replayed: {result}"],
  not_whole: ["没有存下完整的内容（文件、超过 16 KB 或含密钥），不能原样重放", "Its body is not kept whole (a file, over 16 KB or with a secret), so it can't be repeated as it was"],
  not_token: ["取凭据的请求不能重放：密钥没有留下，正在用的凭据也可能失效", "A call for a token is not repeated: its secret is not kept, and the token in use might die"],
};

const here = new URL(location.href).searchParams; // lang, account, openid, key
const zh = /^zh/i.test(here.get("lang") ?? navigator.language);

// t is the string of key in the page's language, {names} filled in.
function t(key, vars = {}) {
  return words[key][zh ? 0 : 1].replace(/\{(\w+)\}/g, (_, name) => vars[name] ?? "");
}

// ---------- nodes ----------

// el makes an element. Strings become text nodes and nothing else: no foreign
// string is ever parsed as HTML.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(9).filter((child) => child != null && child !== false && child !== ""));
  return node;
}

const byId = (id) => document.getElementById(id);

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const icon = (name, size = "") => svg("svg", { class: `i ${size}`, "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

// foreign isolates a string of others, so that it can't turn the text around it.
const foreign = (text) => el("bdi", {}, String(text));

// list shows items in parent, one node each, and redraws only what changed, so
// that focus, scroll position and a playing voice stay where they are. What draw
// shows must therefore all stand in its item.
function list(parent, items, key, draw) {
  const before = parent.shown ?? new Map();
  parent.shown = new Map();
  items.forEach((item, i) => {
    const id = key(item, i), text = JSON.stringify(item);
    let entry = before.get(id);
    if (entry?.text !== text) {
      const node = draw(item, i), old = entry?.node;
      if (old?.parentNode === parent) {
        const focus = old.contains(document.activeElement);
        old.replaceWith(node);
        if (focus) (node.matches("button,a,input") ? node : node.querySelector("button,a,input"))?.focus();
      }
      entry = { text, node };
    }
    parent.shown.set(id, entry);
    if (parent.children[i] !== entry.node) parent.insertBefore(entry.node, parent.children[i] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
}

// ---------- time ----------

const locale = zh ? "zh-CN" : "en-GB";
const format = (options) => { const f = new Intl.DateTimeFormat(locale, options); return (ms) => f.format(ms); };
const hm = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const hms = format({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = format({ month: "short", day: "numeric" });
const date = format({ year: "numeric", month: "long", day: "numeric" });
const weekday = format({ weekday: "short" });
const dayHM = (ms) => (date(ms) === date(simNow()) ? hm(ms) : `${day(ms)} ${hm(ms)}`);

const second = 1000, minute = 60 * second, hour = 60 * minute;

// simNow is the simulator's time in ms; its clock runs as fast as ours.
const simNow = () => Date.now() + sim.ahead;

const took = (ms) => t("ms", { n: ms < 1 ? "<1" : Math.round(ms) });

// left is a time that is left: "47 h 52 m", below an hour "18:24".
function left(ms) {
  const s = Math.max(0, Math.ceil(ms / second));
  if (s >= 72 * 3600) return t("days", { d: Math.floor(s / 86400), h: Math.floor((s % 86400) / 3600) });
  if (s >= 3600) return t("hours", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

const phases = ["open", "warn", "hot", "spent", "shut"]; // the calmest first

// phase is how a bucket of a window looks at now.
function phase(b, now) {
  const ms = Date.parse(b.closes_at) - now;
  if (!(ms > 0)) return "shut";
  if (b.remaining === 0) return "spent";
  if (ms <= 5 * minute) return "hot";
  return ms <= hour || b.remaining === 1 ? "warn" : "open";
}

// windowOf is what a follower's window comes to at now: its open buckets, the one that
// the next message is taken from, what the others have left (null: no limit), and how all
// of it looks: as its calmest bucket, since nothing is lost while another stays open.
function windowOf(f, now) {
  const open = f?.following ? f.window.buckets.filter((b) => phase(b, now) !== "shut") : [];
  const full = open.filter((b) => b.remaining !== 0), ends = (b) => Date.parse(b.closes_at);
  const next = full.length ? full.reduce((a, b) => (ends(b) < ends(a) ? b : a)) : open.reduce((a, b) => (a && ends(a) > ends(b) ? a : b), null);
  const others = full.filter((b) => b !== next);
  return { open, next, beside: others.some((b) => b.max == null) ? null : others.reduce((sum, b) => sum + b.remaining, 0),
    is: phases.find((is) => open.some((b) => phase(b, now) === is)) ?? "shut" };
}

// ---------- the control plane ----------

const sim = {
  ahead: 0, // of our clock, ms
  accounts: [], followers: [], chat: [], faults: [], requests: [],
  appid: here.get("account") ?? "",
  openid: here.get("openid") ?? "",
  filter: "all",
  request: "", // the one whose details are shown
  delivery: null, // the last push that this page caused
  warned: false, // that there is nobody to push to
  typed: new Map(), // what stands in the box, per follower
};

const path = (p, query = {}) => {
  const q = new URLSearchParams(query);
  if (sim.appid) q.set("account", sim.appid);
  if (here.get("key")) q.set("key", here.get("key"));
  return `/_sim/${p}?${q}`;
};

// ask calls the control plane, with a body of JSON or a file.
async function ask(method, p, body, query) {
  const init = { method, headers: {} }, isFile = body instanceof Blob;
  if (body !== undefined) {
    init.headers["Content-Type"] = isFile ? "application/octet-stream" : "application/json";
    init.body = isFile ? body : JSON.stringify(body);
  }
  const answer = await fetch(path(p, query), init);
  const text = await answer.text();
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    if (answer.ok && text) throw new Error(text.slice(0, 200));
  }
  if (!answer.ok) throw new Error(value?.detail ?? (text.slice(0, 200) || answer.statusText));
  return value;
}

// ---------- what a message looks like ----------

// asObject is v, if it has the shape that a message needs; else the message is drawn
// as unknown.
function asObject(v) {
  if (v && typeof v === "object") return v;
  throw new TypeError("not an object");
}

const str = (v) => (typeof v === "string" ? v : typeof v === "number" ? String(v) : "");

// webLink is an address that may be followed or shown, or "": http and https only.
// With a base it may be a path there.
function webLink(address, base) {
  try {
    const url = new URL(address, base);
    return /^https?:$/.test(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
}

// pathLink is a webLink of what the simulator names by its path; of nothing it is "".
const pathLink = (p) => p && webLink(p, location.href);

const mediaLink = (id) => path(`media/${encodeURIComponent(id)}`);

// outside makes a link that leaves the page, or without an address the children alone.
const outside = (address, attributes, ...children) =>
  webLink(address)
    ? el("a", { href: webLink(address), target: "_blank", rel: "noopener noreferrer", ...attributes }, children)
    : el("div", attributes, children);

// attributesOf reads what stands inside <a …>.
function attributesOf(inside) {
  const found = {};
  for (const [, name, double, single, bare] of inside.matchAll(/(?:^|\s)([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))/g))
    found[name.toLowerCase()] = double ?? single ?? bare;
  return found;
}

// linked is text as WeChat shows it: <a …>…</a> and bare addresses become links,
// all other markup stays what it is, text.
function linked(text) {
  const nodes = [], ends = /<\/a>/gi;
  let at = 0;
  for (const open of text.matchAll(/<a\s([^<>]*)>/gi)) {
    if (open.index < at) continue;
    ends.lastIndex = open.index;
    const start = open.index + open[0].length, end = ends.exec(text);
    if (!end) break;
    nodes.push(...bare(text.slice(at, open.index)), anchor(attributesOf(open[1]), text.slice(start, end.index)));
    at = ends.lastIndex;
  }
  return [...nodes, ...bare(text.slice(at))];
}

function bare(text) {
  return text.split(/(https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+)/g).map((part, i) => (i % 2 ? anchor({ href: part }, part) : part));
}

// anchor is a link in a text: to a mini program, to a menu choice, to the web, or,
// with any other address, nowhere.
function anchor(a, label) {
  const tap = (name, onTap) => el("a", { href: "#", click: (event) => { event.preventDefault(); onTap(); } }, name);
  if (a["data-miniprogram-appid"])
    return tap([miniIcon(), label], () => opensMini(a["data-miniprogram-appid"], a["data-miniprogram-path"]));
  const choice = /^weixin:\/\/bizmsgmenu\?(.*)$/is.exec(a.href ?? "");
  if (choice) {
    const q = new URLSearchParams(choice[1]);
    return tap(label, () => act("menu-tap", { id: q.get("msgmenuid") ?? "", content: q.get("msgmenucontent") ?? "" }));
  }
  const href = webLink(a.href ?? "");
  return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }, label) : label;
}

function miniIcon() {
  const i = icon("mini", "xs");
  i.classList.add("mini");
  return i;
}

const opensMini = (appid, page) => toast(t("opens_mini", { appid, path: page ?? "" }));

const bubble = (...children) => el("div", { class: "pb" }, children);
const card = (...children) => el("div", { class: "pb card" }, children);
const foot = (name, word) => el("p", { class: "foot" }, icon(name, "xs"), el("span", { class: "el" }, word));
const title = (text) => el("b", { class: "ttl" }, foreign(text || t("no_title")));

// lost stands in for media whose bytes the simulator does not have.
const lost = (name, word = t("lost")) => el("span", { class: "lost" }, icon(name), word);

// thumb is a cover, or a drawing in its place.
function thumb(src, more = "") {
  const drawn = () => svg("svg", { class: `th ${more}`, viewBox: "0 0 56 56", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("path", { class: "art-2", d: "M0 40c12-8 20-5 28-1s18 4 28-3v20H0Z" }),
    svg("path", { class: "art-3", d: "M0 47c14-5 30 4 56-4v13H0Z" }),
    svg("circle", { class: "art-2", cx: "40", cy: "17", r: "6" }));
  return src ? el("img", { class: `th ${more}`, src, alt: "", loading: "lazy", error: (e) => e.target.replaceWith(drawn()) }) : drawn();
}

const cover = (id, more) => thumb(id && mediaLink(id), more);

// whyNot says why media do not play: there are no bytes, or none for this browser.
async function whyNot(src, word) {
  const there = await fetch(src, { method: "HEAD" }).then((answer) => answer.ok, () => false);
  return t(there ? word : "lost");
}

function picture(id) {
  const href = mediaLink(id);
  const link = el("a", { class: "pic", href, target: "_blank", rel: "noopener" },
    el("img", { src: href, alt: t("a_picture"), load: stick, error: () => link.replaceWith(lost("picture")) }));
  return link;
}

function voice(id) {
  const length = el("span", {}, t("voice"));
  const lasts = (s) => Number.isFinite(s) && s > 0 && length.replaceChildren(`${Math.max(1, Math.round(s))}″`);
  let audio = null, loading = false;
  const play = el("button", { type: "button", class: "vo", "aria-label": `${t("play")} · ${t("voice")}`, click: async () => {
    if (audio && !audio.paused) return audio.pause();
    if (loading) return;
    if (!audio) {
      loading = true;
      const src = await playable(mediaLink(id));
      loading = false;
      if (!src) return toast(await whyNot(mediaLink(id), "cant_play_amr"));
      audio = el("audio", { src,
        durationchange: () => lasts(audio.duration),
        ended: () => lasts(audio.currentTime),
        play: () => play.classList.add("playing"),
        pause: () => play.classList.remove("playing"),
        error: async () => toast(await whyNot(mediaLink(id), "cant_play_amr")) });
    }
    audio.play().catch(() => {}); // the error event says it
  } }, icon("voice"), length);
  return bubble(play);
}

// playable is where a browser can play the voice from: WeChat's own format, AMR, is
// decoded first, by what is loaded for the first of them. "" if it can't be had.
async function playable(href) {
  try {
    const answer = await fetch(href);
    if (!answer.ok) return "";
    const bytes = new Uint8Array(await answer.arrayBuffer());
    if (!String.fromCharCode(...bytes.subarray(0, 5)).startsWith("#!AMR")) return href;
    const { toWAV } = await import("./amr.js");
    return URL.createObjectURL(await toWAV(bytes));
  } catch {
    return "";
  }
}

function video(b) {
  const play = el("button", { type: "button", class: "go", "aria-label": `${t("play")} · ${str(b.title) || t("video")}`, click: () => {
    const film = el("video", { src: mediaLink(str(b.media_id)), controls: true, autoplay: true, playsinline: true,
      error: async () => film.replaceWith(lost("video", await whyNot(film.src, "cant_play"))) });
    still.replaceWith(film);
    play.remove();
    film.focus();
  } }, el("span", {}, icon("play")));
  const still = cover(str(b.thumb_media_id));
  return el("div", { class: "vid" }, still, play, (b.title || b.description) && el("p", {}, foreign(str(b.title) || str(b.description))));
}

// news is a card of one article, or a large one above small ones; of names the cover.
function news(articles, of) {
  const [first, ...rest] = articles.map(asObject);
  asObject(first);
  if (!rest.length)
    return card(outside(str(first.url), { class: "nb" }, title(str(first.title)), el("p", {}, foreign(str(first.description))),
      thumb(of(first))));
  return card(
    outside(str(first.url), { class: "hero" }, thumb(of(first)), el("b", {}, foreign(str(first.title)))),
    rest.map((a) => outside(str(a.url), { class: "more" }, el("b", {}, foreign(str(a.title))), thumb(of(a)))));
}

function menuOf(b) {
  return el("div", { class: "pb menu" }, b.head_content && el("div", {}, linked(str(b.head_content))),
    b.list.map(asObject).map((i) => el("button", { type: "button", class: "tap", click: () => act("menu-tap", { id: str(i.id), content: str(i.content) }) },
      foreign(str(i.content)))),
    b.tail_content && el("div", {}, linked(str(b.tail_content))));
}

function unknown(kind, raw) {
  return el("div", { class: "pb odd" }, t("unknown_kind"), " ", foreign(kind),
    el("details", {}, el("summary", {}, "JSON"), el("pre", {}, raw)));
}

// bodies draws each kind that an account sends, from WeChat's own JSON.
const bodies = {
  __proto__: null,
  text: (b) => bubble(linked(str(b.content))),
  image: (b) => picture(str(b.media_id)),
  voice: (b) => voice(str(b.media_id)),
  video,
  music: (b) => card(outside(str(b.hqmusicurl) || str(b.musicurl), { class: "music" }, cover(str(b.thumb_media_id)),
    el("span", {}, title(str(b.title)), el("span", { class: "src" }, el("span", { class: "el" }, foreign(str(b.description))))),
    icon("play")), foot("music", t("music"))),
  news: (b) => news(b.articles, (a) => webLink(str(a.picurl))),
  mpnews: (b, line) => published(line, str(b.media_id)),
  mpnewsarticle: (b, line) => published(line, str(b.article_id)),
  msgmenu: menuOf,
  wxcard: (b, line) => {
    const name = str(line.preview?.title) || str(b.card_id); // its page is WeChat's own: a tap pushes nothing
    return card(el("button", { type: "button", class: "ticket", click: () => toast(t("opens_card", { card: name })) },
      el("span", { class: "disc" }, icon("ticket")), el("span", {}, title(name), el("small", {}, t("take_card")))), foot("ticket", t("card")));
  },
  miniprogrampage: (b) => card(el("button", { type: "button", class: "mp", click: () => opensMini(str(b.appid), str(b.pagepath)) },
    el("span", { class: "src" }, icon("mini", "xs"), el("span", { class: "el" }, foreign(str(b.appid)))), title(str(b.title)),
    cover(str(b.thumb_media_id), "wide")), foot("mini", t("mini"))),
  link: (b) => news([{ ...b, picurl: b.thumb_url }], (a) => webLink(str(a.picurl))),
};

// published draws an article of the account; the simulator says what is on it.
function published(line, id) {
  const p = line.preview ?? { title: id, description: "", picture: "", url: "" };
  return card(outside(pathLink(p.url), { class: "nb" }, title(p.title), el("p", {}, foreign(p.description)),
    thumb(pathLink(p.picture))), foot("article", t("article")));
}

// said draws each kind that a follower writes, from the push.
const said = {
  __proto__: null,
  text: (m) => bubble(foreign(str(m.Content))),
  image: (m) => picture(str(m.MediaId)),
  voice: (m) => voice(str(m.MediaId)),
  video: (m) => video({ media_id: m.MediaId, thumb_media_id: m.ThumbMediaId }),
  location: (m) => el("div", { class: "pb place" },
    el("p", {}, el("b", {}, foreign(str(m.Label))), el("span", { class: "cap" }, `${str(m.Location_X)}, ${str(m.Location_Y)}`)),
    svg("svg", { viewBox: "0 0 216 92", "aria-hidden": "true" },
      svg("rect", { class: "art-1", width: "216", height: "92" }),
      svg("path", { class: "road", d: "M0 64 70 52 132 76 216 58M52 0 74 92M150 0 138 92M0 22 216 30" }),
      svg("path", { class: "pin", d: "M108 58s13-12 13-23a13 13 0 0 0-26 0c0 11 13 23 13 23Z" }),
      svg("circle", { class: "hole", cx: "108", cy: "35", r: "5" }))),
  link: (m) => news([{ title: m.Title, description: m.Description, url: m.Url }], () => ""),
};
said.shortvideo = said.video;

// happened tells each event in one line.
function happened(line) {
  const m = line.message ?? {}, key = str(m.EventKey);
  switch (line.kind) {
    case "subscribe": return key ? t("ev_subscribe_scene", { key: key.replace(/^qrscene_/, "") }) : t("ev_subscribe");
    case "unsubscribe": case "SCAN": case "CLICK": case "VIEW": return t(`ev_${line.kind}`, { key });
    case "scancode_push": case "scancode_waitmsg": return t("ev_scancode", { key, result: str(m.ScanCodeInfo?.ScanResult) });
    case "pay": case "rights": return t(`ev_${line.kind}`);
    case "transfer_customer_service": return m.kf_account ? t("ev_transfer_to", { kf: str(m.kf_account) }) : t("ev_transfer");
    case "out_of_service": return t("fault_line");
    default: return t("ev_other", { kind: line.kind });
  }
}

// ---------- the chat ----------

const short = (openid) => (openid.length > 14 ? `${openid.slice(0, 7)}…${openid.slice(-5)}` : openid);

function avatar(name, { key = name, src = "", dim = false } = {}) {
  const hash = [...key].reduce((h, c) => (h * 31 + c.codePointAt(0)) >>> 0, 7);
  const letter = [...name][0] ?? "?";
  const node = el("span", { class: `av c${hash % 9}${dim ? " dim" : ""}`, "aria-hidden": "true" }, letter);
  if (src) node.replaceChildren(el("img", { src, alt: "", error: () => node.replaceChildren(letter) }));
  return node;
}

// face is the letter on a follower's avatar: openids all begin with "o".
const face = (openid) => (openid.replace(/^o[_-]*/, "") || openid).slice(0, 1).toUpperCase();

function drawLine(line) {
  if (line.gap) return el("li", { class: "sys" }, el("time", { datetime: new Date(line.gap).toISOString() }, line.says));
  const m = line.message && typeof line.message === "object" ? line.message : {};
  const mine = line.dir === "in";
  if (line.dir === "system" || (mine && (m.MsgType ?? "event") === "event"))
    return el("li", { class: line.kind === "out_of_service" ? "sys bad" : "sys", title: str(m.because) || null }, foreign(happened(line)));
  const name = mine ? face(sim.openid) : line.kf?.nickname || line.kf?.account || accountName();
  let drawn;
  try {
    drawn = mine ? said[m.MsgType](m) : bodies[line.kind](asObject(m[line.kind]), line);
  } catch { // no such kind, or of another shape
    drawn = unknown(line.kind, JSON.stringify(line.message, null, 1));
  }
  return el("li", { class: mine ? "pm me" : "pm" }, avatar(name, { key: mine ? sim.openid : name, src: pathLink(line.kf?.avatar) }),
    el("div", { class: "pc" },
      el("span", { class: "sr" }, `${mine ? short(sim.openid) : name} ${hm(Date.parse(line.at))}`),
      line.kf && el("span", { class: "kf el" }, foreign(name)),
      drawn,
      Number(m.aimsgcontext?.is_ai_msg) === 1 && el("span", { class: "cap" }, t("said_by_ai")),
      line.dir === "passive" && el("span", { class: "cap" }, t("passive"))));
}

const accountName = () => {
  const a = sim.accounts.find((a) => a.appid === sim.appid);
  return a?.name || a?.appid || t("account");
};
const chosen = () => sim.followers.find((f) => f.openid === sim.openid);

const mostShown = 300;

// withGaps puts the time before the first line and after each pause of 5 minutes.
function withGaps(lines) {
  let last = -Infinity;
  return lines.flatMap((line) => {
    const at = Date.parse(line.at), gap = Math.abs(at - last) > 5 * minute;
    last = at;
    return gap ? [{ id: `gap ${line.id}`, gap: at, says: dayHM(at) }, line] : [line];
  });
}

// stick keeps the log at its end if it was there.
let atEnd = true;
function stick() {
  const log = byId("log");
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function drawChat() {
  const chat = byId("chat");
  if (chat.dataset.of !== sim.openid) {
    chat.dataset.of = sim.openid;
    chat.shown = undefined;
    chat.replaceChildren();
    atEnd = true;
  }
  const lines = sim.chat.slice(-mostShown), older = sim.chat.length - lines.length;
  const items = [...(older ? [{ id: "older", older }] : []), ...withGaps(lines)];
  if (!items.length) items.push({ id: "none", none: !!sim.openid });
  list(chat, items, (l) => l.id, (l) => {
    if (l.older) return el("li", { class: "sys" }, t("earlier", { n: l.older }));
    if ("none" in l) return el("li", { class: "none" }, l.none ? [el("b", {}, t("nothing_yet")), el("span", {}, t("nothing_hint"))] : t("choose"));
    return drawLine(l);
  });
  stick();
}

// ---------- followers and what they may be told ----------

const frame = "M24 2H34A12 12 0 0 1 46 14V34A12 12 0 0 1 34 46H14A12 12 0 0 1 2 34V14A12 12 0 0 1 14 2Z";

// part is how much of a window is left, 0 to 100. A long one is drawn by the square
// root, so that its last hour is still seen; one of minutes is linear.
function part(opened, closes, now) {
  const whole = closes - opened, p = Math.min(1, Math.max(0, (closes - now) / whole));
  return `${(100 * (whole > hour ? Math.sqrt(p) : p)).toFixed(1)} 100`;
}

// ring is the frame around an avatar, which runs out as the next bucket does.
function ring(next) {
  const drawn = svg("svg", { class: "ring", viewBox: "0 0 48 48", "aria-hidden": "true" }, svg("path", { class: "trk", d: frame }));
  if (next) {
    const opened = Date.parse(next.opened_at), closes = Date.parse(next.closes_at);
    drawn.append(svg("path", { class: "val", pathLength: "100", "data-opened": opened, "data-closes": closes,
      "stroke-dasharray": part(opened, closes, simNow()), d: frame }));
  }
  return drawn;
}

// countdown is the time until closes; tick keeps it true.
const countdown = (closes) => el("span", { class: "left", "data-ends": closes }, left(closes - simNow()));

// dots show an allowance: full for what is left, hollow for what is used; none for
// one too large to be counted at a glance.
function dots(remaining, max) {
  if (max == null || max > 8) return null;
  return el("span", { class: "dots", "aria-hidden": "true" }, Array.from({ length: max }, (_, i) => el("i", { class: i < remaining ? "on" : "" })));
}

function drawFollower(f) {
  const { is, next, beside } = f.window, open = is !== "shut";
  return el("li", {}, el("button", { type: "button", class: `fl ${is}`, "aria-current": f.chosen ? "true" : null, title: f.openid,
    click: () => choose(f.openid) },
    el("span", { class: "avr" }, ring(next), avatar(face(f.openid), { key: f.openid, dim: !open })),
    el("span", {}, el("b", { class: "el" }, short(f.openid)), el("small", {}, open
      ? [countdown(Date.parse(next.closes_at)), dots(next.remaining, next.max) ?? (next.max == null ? "∞" : `${next.remaining}`),
        el("span", { class: "sr" }, next.max == null ? t("unlimited") : t("of", { n: next.remaining, max: next.max })),
        beside !== 0 && el("span", { title: t("beside", { n: beside ?? "∞" }) }, `+${beside ?? "∞"}`)]
      : t(f.following ? "closed" : "not_following")))));
}

function drawFollowers() {
  const now = simNow();
  const shown = sim.followers.slice(0, mostShown).map((f) => ({ openid: f.openid, following: f.following,
    window: windowOf(f, now), chosen: f.openid === sim.openid }));
  list(byId("followers"), shown.length ? shown : [{ openid: "" }], (f) => f.openid,
    (f) => (f.openid ? drawFollower(f) : el("li", { class: "small" }, t("no_followers"))));

  const f = chosen();
  byId("window-sec").hidden = byId("acts-sec").hidden = !f;
  byId("profile").textContent = t("profile", { name: sim.accounts.find((a) => a.appid === sim.appid)?.profile ?? "" });
  const w = windowOf(f, now);
  const buckets = w.open.map((b) => ({ ...b, is: b.remaining === 0 ? "spent" : w.is, says: t("closes", { at: dayHM(Date.parse(b.closes_at)) }) }));
  list(byId("window"), buckets.length ? buckets : [{ trigger: "", why: !f || f.following ? "no_window" : "not_following" }], (b) => b.trigger, (b) => !b.trigger
    ? el("p", { class: "small" }, t(b.why))
    : el("div", { class: `bk ${b.is}` }, el("span", {}, words[b.trigger] ? t(b.trigger) : b.trigger),
      el("span", {}, dots(b.remaining, b.max), b.max == null ? t("unlimited") : t("of", { n: b.remaining, max: b.max })),
      el("span", { class: "small" }, b.says, " · ", countdown(Date.parse(b.closes_at)))));
  drawPhone(f, w.next ? Date.parse(w.next.closes_at) : 0);
}

function drawPhone(f, ends) {
  const name = f?.typing ? t("typing") : accountName(), heading = byId("phone-title");
  if (heading.textContent !== name) heading.textContent = name;
  heading.classList.toggle("typing", !!f?.typing);
  byId("bar").hidden = !f;
  byId("bar-follow").hidden = !f || f.following;
  byId("bar-write").hidden = !f?.following;
  if (!f?.following) byId("plus").hidden = true;
  byId("to-end").hidden = ends - simNow() <= 20 * second;
  list(byId("acts"), f ? acts(f.following) : [], (a) => a.label, (a) =>
    el("button", { type: "button", class: "tile", click: () => act(a.action, a.with ? { [a.with]: byId("with").value.trim() || undefined } : {}) },
      icon(a.icon), t(a.label)));
}

// acts are what the tiles do; with names the detail that the field below them gives.
const acts = (following) => [
  following ? { label: "do_unfollow", action: "unsubscribe", icon: "user" } : { label: "do_follow", action: "subscribe", with: "scene", icon: "user" },
  { label: "do_scan", action: "scan", with: "scene", icon: "qr" },
  { label: "do_menu", action: "click", with: "key", icon: "tap" },
  { label: "do_scan_menu", action: "scancode_waitmsg", with: "key", icon: "menu" },
  { label: "do_pay", action: "pay", icon: "pay" },
  { label: "do_rights", action: "rights", icon: "flag" },
];

// ---------- clock, faults, requests ----------

function drawClock() {
  const now = simNow(), ahead = Math.round(sim.ahead / second) * second;
  byId("clock-time").textContent = hms(now);
  byId("phone-time").textContent = hm(now);
  byId("clock-date").textContent = `${date(now)} · ${weekday(now)}`;
  byId("clock-ahead").hidden = Math.abs(ahead) < 2 * second;
  byId("clock-ahead").textContent = t(ahead > 0 ? "ahead" : "behind", { t: left(Math.abs(ahead)) });
}

// What can go wrong, and when: parts of the control plane's fault.
const faultWhats = { f_45015: { errcode: 45015 }, f_45047: { errcode: 45047 }, f_busy: { errcode: -1 }, f_40001: { errcode: 40001 },
  f_after: { drop: "after" }, f_before: { drop: "before" }, f_delay: { delay: "6s" } };
const faultWhens = { w_next: { next: 1 }, w_to: { next: 1, to: true }, w_every: { every: 3 }, w_always: { every: 1 } };

function faultDoes(f) {
  const what = f.errcode ? [code(f.errcode)] : f.status ? [`HTTP ${f.status}`] : f.drop ? [t(`f_${f.drop}`)] : [];
  return [...what, ...(f.delay ? [`+${f.delay}`] : [])].join(" ");
}

function faultSays(f) {
  const when = f.next ? t("says_next", { n: f.next - f.hits }) : f.every > 1 ? t("says_every", { n: f.every })
    : f.probability ? t("says_chance", { n: f.probability * 100 }) : t("says_always");
  return `${when} → ${faultDoes(f)}`;
}

const code = (errcode) => String(errcode).replace("-", "−");
const call = (p) => p.replace(/^\/(cgi-bin|customservice)\/(message\/)?/, "");

function drawFaults() {
  byId("clear-faults").hidden = !sim.faults.length;
  list(byId("faults"), sim.faults.length ? sim.faults : [{ id: "" }], (f) => f.id, (f) => !f.id ? el("li", { class: "small" }, t("no_faults"))
    : el("li", { class: "flt" }, el("span", {}, faultSays(f), el("span", { class: "small el" },
      `${f.path === "/*" || f.path === "*" ? t("any_call") : call(f.path)}${f.to ? ` → ${short(f.to)}` : ""} · ${t("hit", { n: f.hits })}`)),
      el("button", { type: "button", class: "ib", "aria-label": `${t("clear_fault")}: ${faultSays(f)}`, title: t("clear_fault"),
        click: () => tell(ask("DELETE", `faults/${f.id}`)) }, icon("close", "s"))));
}

// outcome is how a request ended: [class, icon, words].
function outcome(r) {
  if (!r.status) return ["unk", "unknown", t("lost_answer")];
  if (r.errcode) return ["ref", "cross", code(r.errcode)];
  if (r.status >= 400) return ["ref", "cross", `HTTP ${r.status}`];
  return ["ok", "check", "0"];
}

const filters = { all: () => true, sends: (r) => /\/message\/custom\//.test(r.path), refused: (r) => r.errcode || !r.status || r.status >= 400 };
const mostRows = 200;

function kindOf(r) {
  return /"msgtype"\s*:\s*"([\w-]{1,32})"/.exec(r.body)?.[1] ?? "";
}

function drawRequests() {
  const rows = sim.requests.filter(filters[sim.filter]).slice(-mostRows).reverse();
  byId("requests-count").textContent = sim.requests.length || "";
  list(byId("requests"), rows.length ? rows.map((r) => ({ ...r, on: r.key === sim.request })) : [{ key: "" }], (r) => r.key, (r) => {
    if (!r.key) return el("tr", {}, el("td", { colspan: 5, class: "mut empty" }, t("no_requests")));
    const [cls, name, word] = outcome(r), kind = kindOf(r);
    return el("tr", { class: r.on ? "on" : "" }, el("td", { class: "mut" }, hms(Date.parse(r.at))),
      el("td", { class: "mono" }, el("button", { type: "button", title: t("details"), "aria-expanded": String(r.on), "aria-controls": "request",
        click: () => { sim.request = sim.request === r.key ? "" : r.key; drawRequests(); } }, call(r.path) + (kind && ` · ${kind}`))),
      el("td", {}, r.openid ? short(r.openid) : "—"), el("td", {}, el("span", { class: `st ${cls}` }, icon(name, "s"), word)),
      el("td", { class: "r nomob" }, r.status ? took(r.took_ms) : "—"));
  });
  const r = sim.requests.find((r) => r.key === sim.request);
  byId("request").hidden = !r;
  list(byId("request"), r ? [r] : [], (r) => r.key, drawRequest);
}

// drawRequest shows one in full: what came, what was answered, and ways to have it again.
function drawRequest(r) {
  const whole = new Blob([r.body]).size === r.size, fetches = /^\/cgi-bin\/(stable_)?token$/.test(r.path), posts = r.method === "POST";
  const shown = el("pre", {}, pretty(r.body) || foreign(r.query));
  const again = async (body) => {
    const done = await tell(ask("POST", `requests/${r.key}/replay`, body === undefined ? {} : { body }));
    if (!done) return;
    sim.request = done.id;
    toast(t("replayed", { result: outcome(done)[2] }));
    refresh("requests");
  };
  const edit = el("button", { type: "button", class: "btn sm", click: () => {
    const box = el("textarea", { class: "in mono", rows: "8", maxlength: "500000", spellcheck: "false", "aria-label": t("body") });
    box.value = whole ? pretty(r.body) : "";
    shown.replaceWith(el("div", { class: "edit" }, box,
      el("button", { type: "button", class: "btn pri", click: () => again(box.value) }, icon("redo", "xs"), t("send"))));
    edit.remove();
    box.focus();
  } }, icon("code", "xs"), t("edit"));
  return el("div", {},
    el("div", {}, el("div", { class: "hd" }, el("h3", { class: "el", title: r.path }, `${r.method} `, foreign(call(r.path))), !fetches && el("span", { class: "row" },
      whole && el("button", { type: "button", class: "btn sm", click: () => again() }, icon("redo", "xs"), t("replay")), posts && edit)),
    shown, (fetches || !whole) && el("p", { class: "small" }, t(fetches ? "not_token" : "not_whole"))),
    el("div", {}, el("h3", {}, t("answer"), r.status ? ` · ${took(r.took_ms)}` : "", r.fault && ` · ${t("fault_what")}: ${faultDoes(r.fault)}`),
      el("pre", {}, pretty(r.answer) || "—"), r.explained && el("p", { class: "why" }, icon("info", "s"), el("span", {}, r.explained[zh ? 0 : 1]))));
}

// pretty indents JSON, unless that would spoil a number of more digits than we hold.
function pretty(text) {
  try {
    return /\d{16}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text;
  }
}

// ---------- what a person does ----------

let toastEnds = 0;
function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => byId("toast").replaceChildren(), 5000);
}

// tell says so if something did not work.
async function tell(promise) {
  try {
    return await promise;
  } catch (err) {
    toast(t("failed", { why: err.message }));
    return null;
  }
}

// act does something as the chosen follower and says what the account answered.
async function act(action, details = {}, openid = sim.openid) {
  if (!openid) return null;
  const slow = setTimeout(() => toast(t("waiting")), 600);
  const done = await tell(ask("POST", `followers/${encodeURIComponent(openid)}/${action}`, details));
  clearTimeout(slow);
  const last = done?.deliveries.at(-1);
  if (last) {
    sim.delivery = { ...last, tries: done.deliveries.length };
    drawCallback();
    if (byId("toast").textContent === t("waiting")) toast("");
  } else if (done?.event && !sim.warned) {
    sim.warned = true;
    toast(t("no_callback"));
  }
  return done;
}

// drawCallback shows how the last push went, or before the first that there is
// somebody to push to.
function drawCallback() {
  const tag = byId("callback"), account = sim.accounts.find((a) => a.appid === sim.appid), last = sim.delivery;
  const good = last ? last.status >= 200 && last.status < 300 : account.callback;
  tag.className = `tag nomob ${good ? "ok" : last ? "h" : ""}`;
  tag.replaceChildren(icon(good ? "check" : last ? "cross" : "info", "xs"), el("span", {},
    !last ? (account.callback ? t("callback_set", { mode: t(account.mode) }) : t("callback_unset"))
      : last.status ? t("callback_was", { status: last.status, took: took(last.took_ms) }) : t("callback_none", { n: last.tries })));
}

function choose(openid) {
  const box = byId("text");
  if (!byId("sheet").hidden) closeSheet();
  sim.typed.set(sim.openid, box.value);
  sim.openid = openid;
  sim.chat = [];
  box.value = sim.typed.get(openid) ?? "";
  here.set("openid", openid);
  history.replaceState(null, "", `?${here}`);
  drawFollowers();
  drawChat();
  refresh("chat");
}

async function newFollower() {
  const bytes = crypto.getRandomValues(new Uint8Array(27));
  const openid = "o" + Array.from(bytes, (b) => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[b & 63]).join("");
  choose(openid);
  await act("subscribe", {}, openid);
}

async function write(event) {
  event.preventDefault();
  const box = byId("text"), content = box.value, openid = sim.openid;
  if (!content.trim()) return;
  box.value = "";
  grow();
  atEnd = true;
  if (!(await act("text", { content }, openid)) && !box.value && openid === sim.openid) box.value = content;
}

// grow fits the box to its text.
function grow() {
  const box = byId("text");
  box.style.height = "";
  if (box.scrollHeight > box.clientHeight) box.style.height = `${box.scrollHeight + 2}px`;
}

// onEnter sends, but not while an input method is composing: its Enter takes a word.
// (Safari ends the composition first and tells by keyCode 229.)
function onEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  byId("bar").requestSubmit();
}

// ---------- the sheet: what is asked before something is sent ----------

let opener = null;
function closeSheet() {
  const sheet = byId("sheet"), had = sheet.contains(document.activeElement);
  for (const node of sheet.querySelectorAll("img")) URL.revokeObjectURL(node.src);
  sheet.hidden = true;
  sheet.replaceChildren();
  if (had) (opener?.offsetParent ? opener : byId("more")).focus();
}

// openSheet asks for fields, [name, label, value, type], above some content, and
// calls does with what they hold; if it fails, the sheet stays and says why.
function openSheet({ heading, content, fields = [], go = t("send"), does, beside }) {
  if (!chosen()?.following) return toast(t("not_following"));
  if (byId("sheet").hidden) opener = document.activeElement;
  const inputs = fields.map(([name, label, value, type = "text"]) => [name, label,
    el("input", { class: "in", id: `sheet-${name}`, value, type, step: type === "number" ? "any" : null, maxlength: "1024", required: true })]);
  const trouble = el("p", { class: "trouble", role: "alert" });
  const send = el("button", { type: "submit", class: "btn pri" }, go);
  const sheet = byId("sheet"), openid = sim.openid;
  sheet.onsubmit = async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    send.disabled = true;
    send.textContent = t("sending");
    trouble.textContent = "";
    try {
      await does(Object.fromEntries(inputs.map(([name, , input]) => [name, input.value.trim()])), openid);
      closeSheet();
    } catch (err) {
      trouble.textContent = err.message;
    }
    send.disabled = false;
    send.textContent = go;
  };
  sheet.replaceChildren(...[el("h3", { id: "sheet-title" }, heading), content,
    ...inputs.map(([name, label, input]) => el("p", { class: "with" }, el("label", { class: "small", for: `sheet-${name}` }, label), input)),
    trouble, el("div", { class: "row" }, beside, el("span", { class: "grow" }),
      el("button", { type: "button", class: "btn", click: closeSheet }, t("cancel")), send)].filter(Boolean));
  sheet.hidden = false;
  const first = sheet.querySelector("input:not([type=file]),button");
  first.focus();
  first.select?.();
}

const takes = { image: "image/jpeg,image/png,image/gif,image/bmp", voice: ".amr,.mp3,audio/amr,audio/mpeg", video: "video/mp4" };

// sendFile opens the sheet for a picture, voice or video of one's own.
function sendFile(kind, given = null) {
  let file = given;
  const label = kind === "image" ? t("picture") : t(kind);
  const input = el("input", { type: "file", class: "sr", id: "sheet-file", accept: takes[kind], tabindex: "-1",
    change: () => { file = input.files[0] ?? file; draw(); } });
  const about = el("div", { class: "file" });
  function draw() {
    for (const node of about.querySelectorAll("img")) URL.revokeObjectURL(node.src);
    about.replaceChildren(...[file && kind === "image" && el("img", { src: URL.createObjectURL(file), alt: t("a_picture") }),
      file ? el("p", { class: "el" }, foreign(file.name || label)) : el("p", { class: "small" }, t(`takes_${kind}`)),
      file && el("p", { class: "small" }, file.size < 1e6 ? `${Math.ceil(file.size / 1000)} kB` : `${(file.size / 1e6).toFixed(1)} MB`),
      el("button", { type: "button", class: "btn", click: () => input.click() }, icon("upload", "xs"), t(file ? "other_file" : "choose_file")),
      !file && el("p", { class: "small" }, t("drop_hint"))].filter(Boolean));
  }
  draw();
  const sample = el("button", { type: "button", class: "lk", click: () => { closeSheet(); act(kind); } }, t("sample"));
  openSheet({ heading: label, content: [input, about].reduce((box, node) => (box.append(node), box), el("div")), beside: sample, does: async (_, openid) => {
    if (!file) throw new Error(t("no_file"));
    const { media_id } = await ask("POST", "media", file, { type: kind });
    atEnd = true;
    act(kind, { media_id }, openid);
  } });
}

const kindOfFile = (file) => (/^image\//.test(file.type) ? "image" : /^audio\//.test(file.type) || /\.amr$/i.test(file.name) ? "voice" : /^video\//.test(file.type) ? "video" : "");

// takeFiles takes the first of pasted or dropped files that a follower can send.
function takeFiles(files) {
  const file = [...files].find(kindOfFile);
  if (file) sendFile(kindOfFile(file), file);
  return !!file;
}

// sheets open what the buttons under the plus ask for.
const sheets = {
  image: () => sendFile("image"), voice: () => sendFile("voice"), video: () => sendFile("video"),
  location: () => openSheet({ heading: t("place"), fields: [["label", t("place_label"), t("place_default")], ["lat", t("latitude"), "23.0972", "number"],
    ["lon", t("longitude"), "113.3245", "number"]], does: (d, openid) => { act("location", d, openid); } }),
  link: () => openSheet({ heading: t("link"), fields: [["title", t("link_title"), t("link_default")], ["description", t("link_text"), t("nothing_hint")],
    ["url", t("link_url"), "https://example.com/tea", "url"]], does: (d, openid) => { act("link", d, openid); } }),
};

// ---------- the account's menu ----------

// drawMenu draws the menu that the account has made, as WeChat does: three buttons at
// most, each of which acts or opens up to five.
function drawMenu() {
  const menu = sim.accounts.find((a) => a.appid === sim.appid)?.menu ?? [];
  byId("toggle").hidden = !menu.length;
  if (!menu.length && !byId("menu").hidden) toggleMenu();
  list(byId("menu"), menu, (b, i) => `${i} ${b.name}`, (b) => {
    if (!b.sub_button?.length) return el("div", {}, menuButton(b));
    const subs = el("div", { class: "psub", role: "group", "aria-label": b.name, hidden: true }, b.sub_button.map(menuButton));
    const open = el("button", { type: "button", "aria-expanded": "false", click: () => {
      const opens = subs.hidden;
      closeSubmenus();
      subs.hidden = !opens;
      open.setAttribute("aria-expanded", String(opens));
    } }, icon("menu", "xs"), el("span", { class: "el" }, foreign(b.name)));
    return el("div", {}, open, subs);
  });
}

function closeSubmenus(focus = false) {
  for (const subs of byId("menu").querySelectorAll(".psub:not([hidden])")) {
    subs.hidden = true;
    subs.previousElementSibling.setAttribute("aria-expanded", "false");
    if (focus) subs.previousElementSibling.focus();
  }
}

function menuButton(b) {
  const name = el("span", { class: "el" }, foreign(b.name));
  const tap = (does) => () => { closeSubmenus(); does(); };
  const href = b.type === "view" && webLink(b.url);
  if (href) return el("a", { href, target: "_blank", rel: "noopener noreferrer", click: tap(() => act("view", { key: b.url })) }, name);
  const does = {
    click: () => act("click", { key: b.key }),
    scancode_push: () => scanFor(b), scancode_waitmsg: () => scanFor(b),
    miniprogram: () => opensMini(b.appid, b.pagepath),
  }[b.type] ?? (() => toast(t("opens_other", { type: b.type })));
  return el("button", { type: "button", click: tap(does) }, name);
}

// scanFor asks what the camera sees.
function scanFor(b) {
  openSheet({ heading: b.name, fields: [["result", t("code_says"), "https://example.com/tin/42"]], go: t("scan_now"),
    does: ({ result }, openid) => { act(b.type, { key: b.key, result }, openid); } });
}

function toggleMenu() {
  const toMenu = byId("menu").hidden;
  byId("menu").hidden = !toMenu;
  for (const id of ["text", "more", "send"]) byId(id).hidden = toMenu;
  showMore(false);
  byId("toggle").replaceChildren(icon(toMenu ? "keyboard" : "menu"));
  byId("toggle").setAttribute("aria-label", t(toMenu ? "keyboard" : "account_menu"));
}

function showMore(open) {
  byId("plus").hidden = !open;
  byId("more").setAttribute("aria-expanded", String(open));
  stick();
}

function addFault(event) {
  event.preventDefault();
  const when = { ...faultWhens[byId("fault-when").value] };
  if (when.to) when.to = sim.openid || undefined;
  tell(ask("POST", "faults", { ...faultWhats[byId("fault-what").value], ...when }));
}

const jumps = { plus_1m: "1m", plus_1h: "1h", plus_48h: "48h", plus_3d: "72h" };
const advance = (by) => tell(ask("POST", "clock", { advance: by }));

// ---------- the flow ----------

// loads fetch each part of sim and draw what hangs on it.
const loads = {
  async accounts() {
    sim.accounts = (await ask("GET", "accounts")).items;
    if (!sim.accounts.some((a) => a.appid === sim.appid)) {
      sim.appid = sim.accounts[0].appid;
      refresh("chat");
    }
    const select = byId("account");
    select.replaceChildren(...sim.accounts.map((a) => el("option", { value: a.appid, selected: a.appid === sim.appid }, a.name === a.appid ? a.appid : `${a.name} · ${short(a.appid)}`)));
    select.hidden = sim.accounts.length < 2;
    byId("appid").hidden = !select.hidden;
    byId("appid").textContent = sim.appid;
    drawCallback();
    drawMenu();
  },
  async clock() {
    const asked = Date.now(), { now } = await ask("GET", "clock"), answered = Date.now();
    sim.ahead = Date.parse(now) - (asked + answered) / 2;
    if (Math.abs(sim.ahead) < second) sim.ahead = 0; // only the way here took time
    drawClock();
  },
  async followers() {
    sim.followers = (await ask("GET", "followers")).items;
    if (!sim.openid && sim.followers.length) choose(sim.followers[0].openid);
    drawFollowers();
    clearTimeout(typingEnds);
    if (sim.followers.some((f) => f.typing)) typingEnds = setTimeout(() => refresh("followers"), 2 * second);
  },
  async chat() {
    const { openid, appid } = sim;
    const lines = openid && appid ? (await ask("GET", "chat", undefined, { to: openid })).items : [];
    if (openid !== sim.openid || appid !== sim.appid) return;
    sim.chat = lines;
    drawChat();
  },
  async faults() {
    sim.faults = (await ask("GET", "faults")).items;
    drawFaults();
  },
  async requests() {
    sim.requests = (await ask("GET", "requests")).items.map((r) => ({ ...r, key: r.id }));
    drawRequests();
  },
};
let typingEnds = 0;

// changes says which parts an event of the simulator may have changed.
const changes = {
  chat: ["followers", "chat"], follower: ["followers"], clock: ["clock", "followers", "chat"],
  request: ["requests", "followers"], fault: ["faults"], account: ["accounts"], state: Object.keys(loads),
};

// rounds makes a function that loads parts again, one round at a time, however many
// events ask for it, and leaves pauses that grow with the work.
function rounds(least, share) {
  const stale = new Set();
  let loading = false;
  return async (parts) => {
    parts.forEach((p) => stale.add(p));
    if (loading || !stale.size) return;
    loading = true;
    try {
      while (stale.size) {
        const round = Object.keys(loads).filter((p) => stale.has(p));
        stale.clear();
        const began = performance.now();
        for (const p of round) await loads[p]();
        await new Promise((go) => setTimeout(go, Math.max(least, share * (performance.now() - began))));
      }
      cut("");
    } catch (err) {
      cut(t("failed", { why: err.message }));
      setTimeout(() => refresh(...Object.keys(loads)), 2 * second);
    }
    loading = false;
  };
}

// What is said does not wait for the rest.
const refreshChat = rounds(0, 0.5), refreshRest = rounds(80, 2);

function refresh(...parts) {
  refreshChat(parts.filter((p) => p === "chat"));
  refreshRest(parts.filter((p) => p !== "chat"));
}

function cut(why) {
  const banner = byId("banner");
  if (banner.hidden !== !why || banner.dataset.why !== why) banner.replaceChildren(icon("info", "s"), why);
  banner.dataset.why = why;
  banner.hidden = !why;
}

function listen() {
  const events = new EventSource(path("events"));
  events.onopen = () => refresh(...Object.keys(loads));
  events.onerror = () => cut(t("cut"));
  events.onmessage = ({ data }) => {
    const e = JSON.parse(data);
    if (e.account && e.account !== sim.appid) return;
    const parts = changes[e.type] ?? Object.keys(loads);
    refresh(...parts.filter((p) => p !== "chat" || !e.openid || e.openid === sim.openid));
  };
}

// tick keeps every shown time true, at each full second of the simulator's clock.
function tick() {
  const now = simNow();
  drawClock();
  drawFollowers();
  for (const node of document.querySelectorAll("[data-ends]")) {
    const text = left(node.dataset.ends - now);
    if (node.textContent !== text) node.textContent = text;
  }
  for (const node of document.querySelectorAll("[data-closes]"))
    node.setAttribute("stroke-dasharray", part(node.dataset.opened, node.dataset.closes, now));
}

function start() {
  document.documentElement.lang = zh ? "zh-CN" : "en";
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-hint]")) node.placeholder = t(node.dataset.tHint);

  const other = new URLSearchParams(here);
  other.set("lang", zh ? "en" : "zh");
  const lang = byId("lang");
  lang.textContent = t("other_lang");
  lang.lang = zh ? "en" : "zh-CN";
  lang.addEventListener("click", () => { other.set("openid", sim.openid); lang.href = `?${other}`; });
  lang.href = `?${other}`;

  byId("account").addEventListener("change", (event) => {
    here.set("account", event.target.value);
    here.delete("openid");
    location.search = here;
  });
  byId("new-follower").addEventListener("click", newFollower);
  byId("follow").addEventListener("click", () => act("subscribe"));
  byId("bar").addEventListener("submit", write);
  byId("text").addEventListener("input", grow);
  byId("text").addEventListener("keydown", onEnter);
  byId("toggle").setAttribute("aria-label", t("account_menu"));
  byId("toggle").addEventListener("click", toggleMenu);
  byId("more").addEventListener("click", () => showMore(byId("plus").hidden));
  byId("plus").append(...[["picture", "image"], ["voice", "voice"], ["video", "video"], ["pin", "location", "place"], ["link", "link"]]
    .map(([name, action, word = name]) => el("button", { type: "button", click: () => { showMore(false); sheets[action](); } }, icon(name), t(word))));
  byId("sheet").addEventListener("keydown", (event) => { if (event.key === "Escape") closeSheet(); });
  byId("menu").addEventListener("keydown", (event) => { if (event.key === "Escape") closeSubmenus(true); });
  document.addEventListener("click", ({ target }) => { if (!byId("menu").contains(target)) closeSubmenus(); });
  byId("text").addEventListener("paste", (event) => { if (takeFiles(event.clipboardData.files)) event.preventDefault(); });
  const screen = document.querySelector(".scr");
  screen.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  screen.addEventListener("drop", (event) => { if (takeFiles(event.dataTransfer.files)) event.preventDefault(); });
  // Only who scrolls up leaves the end: what is drawn late, a picture, only makes more of it.
  let before = 0;
  byId("log").addEventListener("scroll", ({ target: log }) => {
    const near = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (near || log.scrollTop < before) atEnd = near;
    before = log.scrollTop;
  });
  const grows = new ResizeObserver(stick);
  for (const id of ["log", "chat"]) grows.observe(byId(id));
  byId("jumps").append(...Object.entries(jumps).map(([name, by]) =>
    el("button", { type: "button", class: "btn", click: () => advance(by) }, t(name))));
  byId("to-end").textContent = t("to_end");
  byId("to-end").addEventListener("click", () => {
    const { next } = windowOf(chosen(), simNow());
    if (next) tell(ask("POST", "clock", { set: new Date(Date.parse(next.closes_at) - 10 * second).toISOString() }));
  });
  byId("fault-what").append(...Object.keys(faultWhats).map((name) => el("option", { value: name }, t(name))));
  byId("fault-when").append(...Object.keys(faultWhens).map((name) => el("option", { value: name }, t(name))));
  byId("add-fault").addEventListener("submit", addFault);
  byId("clear-faults").addEventListener("click", () => tell(ask("DELETE", "faults")));
  byId("filter").append(...Object.keys(filters).map((name) => el("button", { type: "button", "aria-pressed": String(name === sim.filter),
    click: ({ currentTarget }) => {
      sim.filter = name;
      for (const b of byId("filter").children) b.setAttribute("aria-pressed", String(b === currentTarget));
      drawRequests();
    } }, t(name))));

  (function everySecond() {
    setTimeout(everySecond, second - (((simNow() % second) + second) % second) + 5);
    tick();
  })();
  document.addEventListener("visibilitychange", tick);
  drawChat();
  listen();
}

start();
