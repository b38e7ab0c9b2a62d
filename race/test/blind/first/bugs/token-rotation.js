// F3-Nation/f3-nation#375: each request that finds the access token expired redeems the same refresh token, which is good for one use.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const build = (isFixed) => () => {
  const app = Fastify()
  const valid = new Set(['r0'])
  const jar = { access: undefined, refresh: 'r0' }
  let issued = 0
  let refreshing

  async function redeem (token) {
    await sleep(2)
    if (!valid.has(token)) throw Object.assign(new Error('invalid_grant'), { statusCode: 401 })
    valid.delete(token)
    const refresh = `r${++issued}`
    valid.add(refresh)
    return { access: `a${issued}`, refresh }
  }

  async function refresh () {
    const tokens = await redeem(jar.refresh)
    jar.access = tokens.access
    jar.refresh = tokens.refresh
  }

  app.get('/me', async () => {
    if (jar.access === undefined) {
      if (isFixed) {
        refreshing ??= refresh().finally(() => { refreshing = undefined })
        await refreshing
      } else await refresh()
    }
    return { user: 'ada' }
  })
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/me', '/me']
