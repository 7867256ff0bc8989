// Hand a message to the gateway and wait for its end, with Node alone. The key makes
// repeats safe: run it twice with the same one, and the follower gets one message.
//
//	KEFU_URL=http://127.0.0.1:7600 KEFU_API_KEY=kf_… node send.mjs oUser1 "您的订单已发货" order-7
const [openid, text, key] = process.argv.slice(2)
if (!key || !process.env.KEFU_API_KEY) {
  console.error('KEFU_API_KEY=kf_… node send.mjs OPENID TEXT KEY')
  process.exit(2)
}
const answer = await fetch((process.env.KEFU_URL ?? 'http://127.0.0.1:7600') + '/v1/messages?wait=10s', {
  method: 'POST',
  headers: {
    Authorization: 'Bearer ' + process.env.KEFU_API_KEY,
    'Content-Type': 'application/json',
    'Idempotency-Key': key,
  },
  body: JSON.stringify({ message: { touser: openid, msgtype: 'text', text: { content: text } } }),
  redirect: 'error', // a POST that is redirected becomes a GET, and its answer looks like success
  signal: AbortSignal.timeout(30_000),
})
const said = await answer.text()
if (!answer.ok) { // 4xx: nothing was kept; why is in detail and advice. 5xx: send it again with the same key
  console.error(said)
  process.exit(1)
}
const message = JSON.parse(said)
console.log(message.id, message.state)
