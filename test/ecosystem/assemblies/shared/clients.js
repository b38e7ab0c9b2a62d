/** Ways of asking, for checks: `ended` is a promise of what the client has in the end, `leave()` cuts the connection. */
import { request } from 'node:http'
import { WebSocket } from 'ws'

/** A request over a connection of its own. Ends with status and body; if the connection is cut before the end, with the error's code. */
export function http (url, { method = 'GET', headers, body } = {}) {
  const sent = request(url, { method, headers, agent: false })
  const ended = new Promise((resolve) => {
    const failed = ({ code }) => resolve(code)
    sent.on('error', failed).on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => { text += part }).on('error', failed)
        .on('end', () => resolve(`${response.statusCode} ${text}`))
    })
  })
  sent.end(body)
  return { ended, leave: () => sent.destroy() }
}

/** A WebSocket. Ends with the code that it is closed with. */
export function socket (url) {
  const client = new WebSocket(url.replace('http', 'ws'))
  const ended = new Promise((resolve) => { client.on('close', resolve).on('error', () => {}) })
  return { ended, leave: () => client.terminate(), client }
}
