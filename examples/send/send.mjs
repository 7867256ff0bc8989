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
  signal: AbortSignal.timeout(30_000),
})
const message = await answer.json()
if (!answer.ok) { // nothing was kept; why is in detail and advice
  console.error(JSON.stringify(message))
  process.exit(1)
}
console.log(message.id, message.state)
