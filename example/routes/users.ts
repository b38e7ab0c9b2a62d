import createError from '@fastify/error'
import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Mailbox } from '../mail/mailbox.ts'
import { Mailer } from '../mail/mailer.ts'

const TooManyUsersError = createError('TOO_MANY_USERS', 'This example keeps %d users, and is full', 507)

/** Kept in memory, as an example may. */
const MAX_USERS = 10_000

const User = Type.Object({ id: Type.Integer(), name: Type.String(), email: Type.String() })
const Mail = Type.Object({ to: Type.String(), subject: Type.String(), text: Type.String() })

export interface UsersOptions {
  /** Where mails are sent; by default a server of its own takes them, for the page to show. */
  smtpUrl?: string | undefined
}

const users: FastifyPluginAsyncTypebox<UsersOptions> = async (app, { smtpUrl }) => {
  const mailbox = smtpUrl === undefined ? new Mailbox() : undefined
  const mailer = new Mailer()
  mailer.open(smtpUrl ?? await mailbox!.listen())
  // Tasks drain before any onClose hook runs, so both are open while the last mail is sent.
  app.addHook('onClose', async () => {
    mailer.close()
    await mailbox?.close()
  })
  let users = 0

  app.post('/users', {
    bodyLimit: 4 * 1024,
    schema: {
      body: Type.Object({
        name: Type.String({ minLength: 1, maxLength: 64, pattern: '^[^\\r\\n]+$' }),
        email: Type.String({ format: 'email', maxLength: 128 })
      }, { additionalProperties: false }),
      response: { 201: User }
    }
  }, async ({ body: { name, email } }, reply) => {
    // First the place, then the user: were there none, the client hears 503 and nothing has been written.
    using place = app.tasks.reserve()
    if (users === MAX_USERS) throw new TooManyUsersError(MAX_USERS)
    const user = { id: ++users, name, email }
    place.submit(`welcome-email:${user.id}`, async ({ signal }) => {
      // The mail server has a limit of its own; we keep to it, whatever our clients do.
      await app.limiter.wait('outbound', undefined, { signal })
      await mailer.send(email, `Welcome, ${name}`, 'It is good to have you here.', signal)
    }, { retries: 5 })
    return reply.code(201).send(user)
  })

  app.get('/mails', { schema: { response: { 200: Type.Array(Mail) } } }, async () => mailbox?.mails ?? [])
}

export default users
