/**
 * A real SMTP server for development: it takes whatever it is sent and keeps the last mails, so that the page can show them.
 * In production SMTP_URL names the real one, and this isn't started.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer } from 'smtp-server'

export interface Mail {
  to: string
  subject: string
  text: string
}

/** The page shows no more, and memory is bounded. */
const KEPT = 20

export class Mailbox {
  readonly mails: Mail[] = []
  readonly #server: SMTPServer

  constructor () {
    this.#server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      size: 64 * 1024,
      onData: (stream, session, done) => {
        text(stream).then((raw) => {
          this.mails.push(parse(raw, session.envelope.rcptTo.map(({ address }) => address).join(', ')))
          if (this.mails.length > KEPT) this.mails.shift()
          done()
        }, done)
      }
    })
    // Clients that hang up, above all: nothing that the service need know.
    this.#server.on('error', () => {})
  }

  /** Resolves to its URL. */
  async listen (): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server.server, 'listening')
    return `smtp://127.0.0.1:${(this.#server.server.address() as AddressInfo).port}`
  }

  close (): Promise<void> {
    return new Promise((resolve) => this.#server.close(resolve))
  }
}

/** Enough for plain text that we have written ourselves. */
function parse (raw: string, to: string): Mail {
  const [head = '', ...body] = raw.split('\r\n\r\n')
  const subject = /^subject: (.*)$/im.exec(head)?.[1] ?? ''
  return { to, subject, text: body.join('\n\n').trim() }
}
