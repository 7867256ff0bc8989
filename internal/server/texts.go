package server

import (
	"strconv"
	"strings"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// A text is the same in English and in Chinese.
type text struct{ en, zh string }

// in is the text in "zh" or "en", with its verbs filled in.
func (t text) in(lang string, args ...any) string {
	return bilingual.In(lang, t.en, t.zh, args...)
}

// statuses is every code of a problem and the status that goes with it.
var statuses = map[string]int{
	gateway.InvalidJSON:         400,
	gateway.Unauthorized:        401,
	gateway.Forbidden:           403,
	gateway.NotFound:            404,
	gateway.UnknownAccount:      404,
	gateway.MethodNotAllowed:    405,
	gateway.AccountExists:       409,
	gateway.AllowanceSpent:      409,
	gateway.NotCancelable:       409,
	gateway.NotResolvable:       409,
	gateway.NotRetryable:        409,
	gateway.Refused:             409,
	gateway.WindowIsClosed:      409,
	gateway.NoToken:             409,
	gateway.AssetNeeded:         409,
	gateway.CursorGone:          410,
	gateway.PreconditionFailed:  412,
	gateway.TooLarge:            413,
	gateway.UnsupportedMedia:    415,
	gateway.IdempotencyMismatch: 422,
	gateway.InvalidAsset:        422,
	gateway.InvalidMessage:      422,
	gateway.InvalidRequest:      422,
	gateway.NotYetSupported:     422,
	gateway.LoginFailed:         401,
	gateway.CodeRequired:        401,
	gateway.LinkUsed:            401,
	gateway.Conflict:            409,
	gateway.LoginLimited:        429,
	gateway.Internal:            500,
	gateway.Unreachable:         502,
	gateway.Overloaded:          503,
	gateway.StorageFull:         507,
}

// titles says what each code means.
var titles = map[string]text{
	gateway.InvalidJSON:         {"The body is not JSON", "请求体不是 JSON"},
	gateway.Unauthorized:        {"No valid key", "没有有效的密钥"},
	gateway.Forbidden:           {"The key may not do this", "密钥无权做这件事"},
	gateway.NotFound:            {"Not found", "不存在"},
	gateway.UnknownAccount:      {"Unknown account", "未知的公众号"},
	gateway.MethodNotAllowed:    {"Method not allowed", "不支持的请求方法"},
	gateway.AccountExists:       {"The account exists already", "公众号已存在"},
	gateway.AllowanceSpent:      {"The follower's allowance is used up", "可向该用户下发的条数已用完"},
	gateway.NotCancelable:       {"The message can't be canceled any more", "消息已不能取消"},
	gateway.NotResolvable:       {"The message is not unknown", "消息不是“结果未知”"},
	gateway.NotRetryable:        {"The message can't be repeated in its state", "消息在当前状态下不能重发"},
	gateway.Refused:             {"WeChat refused", "微信拒绝了请求"},
	gateway.WindowIsClosed:      {"The follower's window is closed", "不在可下发的时间窗口内"},
	gateway.NoToken:             {"There is no access token", "没有可用的 access_token"},
	gateway.AssetNeeded:         {"Messages that wait need the asset", "还有等待中的消息要用这个素材"},
	gateway.CursorGone:          {"The cursor is older than the feed", "游标早于现存的事件"},
	gateway.PreconditionFailed:  {"Somebody has changed it meanwhile", "内容已被别人修改"},
	gateway.TooLarge:            {"The body is too large", "请求体太大"},
	gateway.UnsupportedMedia:    {"The body is of another media type", "请求体的类型不对"},
	gateway.IdempotencyMismatch: {"The idempotency key belongs to another request", "幂等键已用于另一个请求"},
	gateway.InvalidAsset:        {"WeChat would not take the file", "微信不会收下这个文件"},
	gateway.InvalidMessage:      {"WeChat would refuse the message", "微信会拒绝这条消息"},
	gateway.InvalidRequest:      {"The request is not valid", "请求无效"},
	gateway.NotYetSupported:     {"This does not work yet", "尚不支持"},
	gateway.LoginFailed:         {"The name, the password or the code is wrong", "账号、口令或验证码不对"},
	gateway.CodeRequired:        {"The 6-digit code is asked for", "需要 6 位动态验证码"},
	gateway.LinkUsed:            {"The link was used or is too old", "登录链接已用过或已过期"},
	gateway.Conflict:            {"Somebody else was faster", "已被别人抢先"},
	gateway.LoginLimited:        {"Too many wrong tries", "错误次数太多"},
	gateway.Internal:            {"The gateway failed", "网关出错"},
	gateway.Unreachable:         {"No answer from WeChat", "没有得到微信的答复"},
	gateway.Overloaded:          {"Nothing can be kept now", "暂时无法保存"},
	gateway.StorageFull:         {"The account's room for assets is used up", "公众号的素材空间已用完"},
}

// details says what happened and what to do next: by code, or by the name that
// because gives.
var details = map[string]text{
	gateway.InvalidJSON:         {"At line %d, column %d: %s. Correct the text and send it again.", "第 %d 行第 %d 列：%s。请改正后再发。"},
	gateway.Unauthorized:        {"Send the header Authorization: Bearer kf_… with a key that was not revoked; kefu key create makes one.", "请带上请求头 Authorization: Bearer kf_…，密钥须未被吊销；kefu key create 可新建。"},
	gateway.Forbidden:           {"A key with the role %s may not call %s. Use one with the role %s.", "角色为 %s 的密钥不能调用 %s，请改用角色 %s。"},
	gateway.NotFound:            {"There is none with this name, or it belongs to an account that the key is not for.", "没有这个对象，或它属于该密钥无权访问的公众号。"},
	gateway.UnknownAccount:      {"There is no account with this appid, or the key is not for it. GET /v1/accounts lists those it is for.", "没有这个 appid 的公众号，或密钥无权访问。GET /v1/accounts 可列出有权访问的。"},
	gateway.MethodNotAllowed:    {"%s does not work here; %s do.", "此处不支持 %s，支持 %s。"},
	gateway.AccountExists:       {"PUT /v1/accounts/{appid} changes it.", "用 PUT /v1/accounts/{appid} 修改。"},
	gateway.AllowanceSpent:      {"Nothing was kept. Wait until the follower acts, or leave when_closed at park.", "未保存。请等用户再次互动，或让 when_closed 保持 park。"},
	gateway.NotCancelable:       {"It is %s; only what is queued or parked can be canceled.", "它的状态是 %s；只有 queued 或 parked 的消息能取消。"},
	gateway.NotResolvable:       {"It is %s; only what is unknown can be resolved.", "它的状态是 %s；只有 unknown 的消息能裁定。"},
	gateway.NotRetryable:        {"It is %s; what failed, expired, was canceled or is unknown can be repeated.", "它的状态是 %s；只有 failed、expired、canceled 或 unknown 的消息能重发。"},
	gateway.Refused:             {"It answered errcode %d: %s", "微信答复 errcode %d：%s"},
	gateway.WindowIsClosed:      {"Nothing was kept. Wait until the follower acts, or leave when_closed at park.", "未保存。请等用户再次互动，或让 when_closed 保持 park。"},
	gateway.NoToken:             {"None is fetched now; GET /v1/accounts/{appid}/token says why and until when. One from outside can be handed over with PUT.", "现在不会去获取；GET /v1/accounts/{appid}/token 说明原因和时间。可用 PUT 提供一个。"},
	gateway.AssetNeeded:         {"Nothing was deleted. Cancel them first, or wait until they are sent: %s", "未删除。请先取消这些消息，或等它们发完：%s"},
	gateway.CursorGone:          {"Read the lists anew and begin without a cursor.", "请重新读取列表，并从无游标开始。"},
	gateway.PreconditionFailed:  {"Nothing was saved: it is no longer as it was when it was read (If-Match). Read it anew, then make the change again.", "未保存：它已不是读取时的样子（If-Match）。请重新读取，再做修改。"},
	gateway.TooLarge:            {"It may have up to %d bytes.", "最多 %d 字节。"},
	gateway.UnsupportedMedia:    {"Send the header Content-Type: application/json.", "请带上请求头 Content-Type: application/json。"},
	gateway.IdempotencyMismatch: {"The same key came with another body within 7 days. Repeat the first body, or take a new key for a new message.", "7 天内同一个键用于了不同的请求体。请重复原来的请求体，或为新消息换一个键。"},
	gateway.InvalidAsset:        {"Nothing was kept: %s", "未保存：%s"},
	gateway.InvalidMessage:      {"Nothing was kept. Correct what errors names.", "未保存。请改正 errors 所列各项。"},
	gateway.InvalidRequest:      {"Nothing was done. Correct what errors names.", "未执行。请改正 errors 所列各项。"},
	gateway.NotYetSupported:     {"Nothing was kept. Leave out what errors names.", "未保存。请去掉 errors 所列各项。"},
	gateway.LoginFailed:         {"After five wrong tries the name waits until 15 minutes after the first.", "错 5 次后，这个账号要等到第一次出错的 15 分钟之后。"},
	gateway.CodeRequired:        {"Enter what your authenticator shows.", "请输入验证器上显示的数字。"},
	gateway.LinkUsed:            {"Ask an admin for another; a link signs in once, within ten minutes.", "请管理员再发一个；链接只能用一次，十分钟内有效。"},
	gateway.Conflict:            {"Look at it as it is now, then decide.", "请先看一下现在的情况再决定。"},
	gateway.LoginLimited:        {"Wait up to 15 minutes, or ask an admin for a one-time link.", "请等最多 15 分钟，或请管理员发一次性登录链接。"},
	gateway.Internal:            {"This is a bug of the gateway; its log has more.", "这是网关的缺陷，日志中有更多信息。"},
	gateway.Unreachable:         {"Whether WeChat did it is not known. Try again in a while.", "不知道微信是否已执行，请稍后再试。"},
	gateway.Overloaded:          {"Nothing was kept or changed. Repeat the same call after the time in Retry-After, with the same Idempotency-Key.", "未保存也未改动。请在 Retry-After 之后以相同的 Idempotency-Key 重试。"},
	gateway.StorageFull:         {"Nothing was kept. Let old assets be forgotten, or give assets more room (kefu serve --asset-room).", "未保存。请清理旧素材，或增大素材空间（kefu serve --asset-room）。"},

	"no-route":      {"There is no such path. GET /openapi.json lists them.", "没有这个路径。GET /openapi.json 列出全部路径。"},
	"broken-off":    {"The body broke off or came too slowly. Send it again.", "请求体中断或传输太慢，请重发。"},
	"not-utf8":      {"the text is not UTF-8", "文本不是 UTF-8"},
	"too-deep":      {"objects and arrays are nested more than %d deep", "对象与数组嵌套超过 %d 层"},
	"not-a-double":  {"a number is beyond what a double can hold", "有数字超出双精度浮点的范围"},
	"too-many":      {"A batch has up to %d messages, this one %d. Send it in parts.", "一批最多 %d 条，此批 %d 条。请分批发送。"},
	"not-a-file":    {"Send the bytes of the file, or a form (multipart/form-data) with it.", "请直接发送文件内容，或用 multipart/form-data 表单。"},
	"all-streams":   {"%d streams of the feed are open. Close some, or read pages.", "已有 %d 个事件流。请关闭一些，或改为分页读取。"},
	"unread-key":    {"the key can't be looked up in the database; the gateway's log says why", "无法在数据库中核对密钥，原因见网关日志"},
	"own-streams":   {"%d streams of the feed are open with this key or by this agent. Close some, or read pages.", "这个密钥（或客服）已打开 %d 个事件流。请关闭一些，或改为分页读取。"},
	"foreign-scope": {"A key for some accounts can't do this for others.", "只属于部分公众号的密钥不能对其他公众号做这件事。"},

	"all-webhooks": {"There are %d webhooks already. Delete some.", "已有 %d 个 webhook，请先删除一些。"},

	"webhook-url":    {"is no address that the gateway calls: %v", "网关不能调用这个地址：%v"},
	"webhook-type":   {"must be a type of the feed such as follower.message, or message.*, or *", "应为事件类型，例如 follower.message、message.* 或 *"},
	"replay-which":   {"must have cursor, or from (and to), or since", "应给出 cursor，或 from（和 to），或 since"},
	"kf-only":        {"goes with the handler kf alone", "只能与 handler 为 kf 一起使用"},
	"unknown-member": {"is not known here", "这里没有这个成员"},
	"must-object":    {"must be an object", "应为对象"},
	"must-array":     {"must be an array", "应为数组"},
	"must-string":    {"must be a text", "应为字符串"},
	"must-number":    {"must be a number", "应为数字"},
	"must-false":     {"can only be false: an agent turns their second factor on by themselves", "只能为 false：两步验证由客服本人开启"},
	"own-totp":       {"is one's own: turn it off by a code (DELETE /v1/session/totp), or have another admin or an admin's key take it off", "是自己的两步验证：请用验证码关闭（DELETE /v1/session/totp），或请其他管理员、用管理员密钥取消"},
	"tab":            {"must be up to 32 letters, digits, - or _", "最多 32 个字母、数字、- 或 _"},
	"must-bool":      {"must be true or false", "应为 true 或 false"},
	"must-time":      {"must be a time of RFC 3339, such as 2026-11-23T20:00:00Z", "应为 RFC 3339 时间，例如 2026-11-23T20:00:00Z"},
	"must-duration":  {"must be a time from 0s to 60s, such as 10s", "应为 0s 到 60s 的时长，例如 10s"},
	"raw-path":       {"is no path of WeChat's that may be called so; messages and typing have calls of their own", "不是可以这样调用的微信接口；发消息和输入状态有各自的接口"},
	"raw-token":      {"is put in by the gateway", "由网关自己填入"},
	"raw-body":       {"does not go with an asset", "不能与 asset 一起给出"},
	"door-alone":     {"is for keys of the role door alone", "仅用于 door 角色的密钥"},
	"must-one-of":    {"must be one of %s", "应为以下之一：%s"},
	"must-range":     {"must be from %v to %v", "应在 %v 到 %v 之间"},
	"required":       {"is missing", "缺少"},
	"max-bytes":      {"has %d bytes, at most %d go", "有 %d 字节，最多 %d"},
	"which-account":  {"is missing, and the key is for %d accounts", "缺少，而该密钥对应 %d 个公众号"},
	"same-account":   {"must be the appid of the path, %s", "应与路径中的 appid %s 相同"},
	"after-before":   {"must be after not_before", "应晚于 not_before"},
	"too-far-ahead":  {"is more than 60 s ahead of the gateway's clock", "比网关时钟超前 60 秒以上"},
	"two-keys":       {"differs from the header Idempotency-Key", "与请求头 Idempotency-Key 不同"},
	"max-runes":      {"has %d characters, at most %d go", "有 %d 个字符，最多 %d 个"},
	"min-runes":      {"has %d characters, at least %d are needed", "有 %d 个字符，至少要 %d 个"},
	"max-items":      {"has %d items, at most %d go", "有 %d 项，最多 %d 项"},
	"cross-site":     {"The request came from another site's page. Open the console at this address.", "请求来自其他网站的页面，请从本地址打开工作台。"},
	"control":        {"has control characters", "含有控制字符"},
	"appid":          {"must be 1 to 64 letters, digits, - or _", "应为 1 到 64 个字母、数字、- 或 _"},
	"aes-key":        {"is not an EncodingAESKey: 43 letters and digits", "不是 EncodingAESKey：应为 43 个字母或数字"},
	"mode-key":       {"needs aes_key", "需要 aes_key"},
	"mode-token":     {"needs token", "需要 token"},
	"no-account":     {"is not the appid of an account", "不是任何公众号的 appid"},
	"selects-all":    {"The selection would choose every message. Name at least one of ids, account, openid, state, errcode, since, until and metadata.", "这样会选中所有消息。请至少给出 ids、account、openid、state、errcode、since、until、metadata 之一。"},
	"ids-alone":      {"choose by themselves: leave the rest out", "已指明消息，请去掉其他条件"},
	"too-many-ids":   {"are %d, at most %d go", "有 %d 个，最多 %d"},
	"must-say-state": {"must be said, so that nothing is sent by mistake: one of %s", "必须写明，以免误发：%s 之一"},
	"unsplittable":   {"has %d bytes and can't be split into parts of %d: a link is longer than a part, or there would be more than %d", "有 %d 字节，无法拆成每段不超过 %d 字节：有链接比一段还长，或超过 %d 段"},
	"too-many-parts": {"needs %d messages, and no allowance of this account's followers holds more than %d", "需要 %d 条消息，而该公众号的用户任何一次互动最多只放行 %d 条"},
	"access-token":   {"must be 1 to 2048 visible characters", "应为 1 到 2048 个可见字符"},
	"supplied":       {"This account's access tokens come from outside (token_source: supplied): get a new one there, and hand it over with PUT.", "该公众号的 access_token 由外部提供（token_source: supplied）：请在外部更新，再用 PUT 提供。"},
	"no-file":        {"has no file: send its bytes, or a form with one", "没有文件：请直接发送文件内容，或用表单上传"},
	"no-picture":     {"The message names no such picture by URL.", "这条消息没有以 URL 给出这张图片。"},
	"unfit-picture":  {"There is no picture to show: %s. Ask again in a minute, or open the message's URL elsewhere.", "没有可显示的图片：%s。请一分钟后再试，或另行打开消息里的 URL。"},
	"many-pictures":  {"Too many pictures are on their way. Ask again after the time in Retry-After.", "正在获取的图片太多。请在 Retry-After 之后再试。"},
	"no-asset":       {"is no asset of this account; POST /v1/assets makes one", "不是该公众号的素材；POST /v1/assets 可上传"},
	"later-media":    {"must be a media id: this gateway keeps no assets", "应为 media_id：此网关不保存素材"},
	"cursor":         {"was not given out by this list", "不是本列表给出的游标"},
}

// language is "zh" or "en", as Accept-Language asks; en if it asks for neither.
func language(header string) string {
	best, weight := "en", 0.0
	for item := range strings.SplitSeq(header, ",") {
		tag, param, _ := strings.Cut(strings.TrimSpace(item), ";")
		lang, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if lang != "zh" && lang != "en" {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		if q > weight {
			best, weight = lang, q
		}
	}
	return best
}
