import { createTransport, type Transporter } from 'nodemailer'

/** Sends over a few connections, which are kept. */
export class Mailer {
  #transport: Transporter | undefined

  open (url: string): void {
    this.#transport = createTransport({ url, pool: true, maxConnections: 4 } as never)
  }

  /** Rejects if the server refuses. A mail that is being sent when `signal` aborts is sent all the same: SMTP can't take it back. */
  async send (to: string, subject: string, text: string, signal: AbortSignal): Promise<void> {
    if (this.#transport === undefined) throw new Error('The mailer is not open')
    signal.throwIfAborted()
    await this.#transport.sendMail({ from: 'Example <example@localhost>', to, subject, text })
  }

  close (): void {
    this.#transport?.close()
  }
}
