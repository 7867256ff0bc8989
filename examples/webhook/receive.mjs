// A bot behind a Kefu webhook, with Node alone: checks the signature, answers in the response.
//
//	kefu webhook add http://127.0.0.1:3000/ --type follower.message     # with kefu serve --allow-private
//	WEBHOOK_SECRET=whsec_… node receive.mjs 3000
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ''), 'base64')

function verified(headers, body) {
  const id = headers['webhook-id'], at = headers['webhook-timestamp'] ?? ''
  if (!/^\d+$/.test(at) || Math.abs(Date.now() / 1000 - Number(at)) > 300) return false
  const want = createHmac('sha256', key).update(`${id}.${at}.`).update(body).digest()
  return (headers['webhook-signature'] ?? '').split(' ').some((s) => {
    const given = s.startsWith('v1,') ? Buffer.from(s.slice(3), 'base64') : Buffer.alloc(0)
    return given.length === want.length && timingSafeEqual(given, want)
  })
}

createServer(async (req, res) => {
  const parts = []
  for await (const part of req) parts.push(part)
  const body = Buffer.concat(parts)
  if (!verified(req.headers, body)) return res.writeHead(401).end()
  const text = JSON.parse(body).data.data.push?.Content
  const answer = text ? { messages: [{ msgtype: 'text', text: { content: '你说：' + text } }] } : {}
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer))
}).listen(Number(process.argv[2]), '127.0.0.1')
