// nodejs/help#3151: a user asks whether another one can change the variables of a handler across its awaits.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

export function build () {
  const app = Fastify()
  const issued = new Map()
  const post = async (code) => { await sleep(2); return { access_token: `at-${code}`, expires_in: 60 } }

  app.get('/oauth-callback/:code', async ({ params: { code } }) => {
    const responseBody = await post(code)
    const userData = await post(`${code}-user`)
    const accessToken = responseBody.access_token
    issued.set(code, { accessToken, user: userData.access_token })
    return issued.get(code)
  })
  return app
}

export const requests = ['/oauth-callback/a', '/oauth-callback/b']
